"""Tables that cannot be meant stop the start."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from homeserver.config.settings import RateLimits
from homeserver.http import Auth, Json, Limit, Request, Routes
from homeserver.http.binding import Endpoint, bound
from homeserver.http.limits import Limits


class Query(msgspec.Struct):
    limit: int = 1


async def plain(request: Request, house: object) -> Json:
    return {}


async def of_somebody(request: Request, house: object, who: str) -> Json:
    return {}


async def of_a_server(request: Request, house: object, origin: str) -> Json:
    return {}


async def undeclared(request: Request, house: object, body) -> Json:  # type: ignore[no-untyped-def]
    return {}


async def greedy(request: Request, house: object, everything: str) -> Json:
    return {}


async def short(request: Request) -> Json:
    return {}


async def query_of_text(request: Request, house: object, query: str) -> Json:
    return {}


def row(handler: Callable[..., Any], **options: Any) -> Routes:
    routes = Routes("client")
    routes.add("GET", "/a/{b}", handler, **{"auth": False, **options})
    return routes


@pytest.mark.parametrize(
    ("handler", "auth"),
    [
        (of_somebody, False),
        (of_somebody, Auth.FEDERATION),
        (of_a_server, True),
        (of_a_server, False),
        (undeclared, False),
        (greedy, True),
        (short, False),
        (query_of_text, False),
    ],
)
def test_handlers_that_want_what_there_is_not(
    handler: Callable[..., Any], auth: Auth | bool
) -> None:
    with pytest.raises(TypeError):
        bound([row(handler, auth=auth)], None)


def test_nothing_is_open_by_accident() -> None:
    routes = Routes("client")
    with pytest.raises(TypeError):
        routes.get("/a")  # type: ignore[call-arg]
    with pytest.raises(ValueError):
        row(plain, auth=None)


@pytest.mark.parametrize(
    ("limit", "good"),
    [
        (None, True),
        ("messages", True),
        (Limit("messages", by="b"), True),
        ([Limit("messages", by="address"), Limit("joins")], True),
        ("mesages", False),
        ("enabled", False),
        (Limit("messages", by="roomId"), False),
        ([Limit("messages"), Limit("nothing")], False),
    ],
)
def test_limits_must_be_settings(limit: Any, good: bool) -> None:
    limits = Limits(RateLimits(enabled=False), 1, lambda: 0)
    (endpoint,) = bound([row(plain, limit=limit)], None)
    if good:
        endpoint.check_limits(limits)
    else:
        with pytest.raises(TypeError):
            endpoint.check_limits(limits)


@pytest.mark.parametrize(
    ("path", "also", "paths"),
    [
        ("/_matrix/client/v1/a", (), []),
        ("/_matrix/client/v3/a", (), ["/_matrix/client/r0/a"]),
        ("/_matrix/media/v3/a", (), ["/_matrix/media/r0/a", "/_matrix/media/v1/a"]),
        (
            "/_matrix/client/v3/v1/a",
            ("unstable/org.x", "api/v1"),
            [
                "/_matrix/client/unstable/org.x/v1/a",
                "/_matrix/client/api/v1/v1/a",
                "/_matrix/client/r0/v1/a",
            ],
        ),
        ("/_matrix/federation/v1/a", ("/_matrix/x",), ["/_matrix/x"]),
    ],
)
def test_other_paths(path: str, also: tuple[str, ...], paths: list[str]) -> None:
    routes = Routes("client")
    routes.get(path, auth=False, also=also)(plain)
    (route,) = routes
    assert list(route.paths) == [path, *paths]
    assert route.operation == "plain"


def test_a_table_keeps_its_order_and_nothing_else() -> None:
    routes = Routes("client", limit="messages")
    for method in (routes.get, routes.put, routes.post, routes.delete):
        assert method("/a", auth=True, allows=["guest"])(plain) is plain
    assert [route.method for route in routes] == ["GET", "PUT", "POST", "DELETE"]
    assert all(route.limits == (Limit("messages"),) for route in routes)
    assert all(route.auth is Auth.ACCESS_TOKEN for route in routes)
    assert list(Routes("client")) == []


@pytest.mark.parametrize(("serves", "kind"), [("client", "client"), ("federation", "federation")])
def test_bodies_are_bounded_by_their_api(serves: Any, kind: str) -> None:
    routes = Routes(serves)
    routes.get("/a", auth=False)(plain)
    (route,) = routes
    assert route.body_kind == kind
    assert Endpoint(route, None).route is route
