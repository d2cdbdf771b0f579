"""What holds for every endpoint alike: who is let in, and what becomes of bad input.

The rows come from the tables that are served, so a new endpoint is tested without a line here.
"""

import json
import re

import pytest

from homeserver.app.tables import ADMIN, CLIENT, FEDERATION
from homeserver.http.routes import Auth, Route
from tests.servers import Client, Hearth

ROUTES = [route for table in (*CLIENT, *ADMIN) for route in table]
FEDERATION_ROUTES = [route for table in FEDERATION for route in table]

KNOWN = {
    "roomId": "!nowhere:one.test",
    "roomIdOrAlias": "!nowhere:one.test",
    "roomAlias": "#nothing:one.test",
    "userId": "@nobody:one.test",
    "eventId": "$nothing",
    "eventType": "m.room.name",
    "serverName": "elsewhere.test",
}
"""Well-formed names of what there is not."""

MALFORMED = ("%00", "%F0%9F%92%A9", "!", "x" * 600, "%2F%2F", "@:", "-1", "{}")
BODIES: tuple[bytes, ...] = (
    b"",
    b"not json",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"NaN",
    b'{"a": NaN}',
    b'"text"',
    b"{" * 3000,
    b'{"a":' * 600 + b"1" + b"}" * 600,
    b'{"a": 1e999, "limit": 1e400}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\u0000"}',
    b'{"room_id": 5, "user_id": [], "messages": 1, "device_keys": 1, "one_time_keys": 1,'
    b' "auth": 5, "type": {}, "password": [], "username": {}, "invite": {}, "preset": 1,'
    b' "rooms": 7, "content": 1, "events": 1, "sessions": 2, "timeout": "x", "typing": "y",'
    b' "displayname": {}, "avatar_url": 5, "reason": [], "membership": 3, "room_version": 9,'
    b' "initial_state": {}, "creation_content": [], "name": [], "topic": {}, "devices": 5,'
    b' "algorithm": 1, "auth_data": [], "master_key": 1, "edus": 1, "pdus": {}, "origin": 1}',
    json.dumps({"content": {"n": 2**70}, "n": 2**70, "limit": 2**70}).encode(),
    json.dumps({"user_id": "@\u0000:x", "room_id": "!\u0000", "type": "\u0000"}).encode(),
)


def names(path: str) -> list[str]:
    return re.findall(r"\{(\w+)[?*]?\}", path)


def filled(path: str, value: str | None = None) -> str:
    """The path with well-formed names, or with one value for all."""

    def fill(found: "re.Match[str]") -> str:
        return value if value is not None else KNOWN.get(found[1], "something").replace("#", "%23")

    return re.sub(r"\{(\w+)[?*]?\}", fill, path)


def label(route: Route) -> str:
    return f"{route.method} {route.operation}"


def is_open(route: Route) -> bool:
    return route.auth in {Auth.NONE, Auth.OPTIONAL, Auth.FEDERATION}


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def test_without_a_token_nobody_gets_in(hearth: Hearth) -> None:
    for route in ROUTES:
        if not is_open(route):
            answer = await hearth.anybody.ask(route.method, filled(route.path), {})
            if route.method != "HEAD":
                assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN"), label(route)


async def test_with_an_unknown_token_nobody_gets_in(hearth: Hearth) -> None:
    stranger = Client(hearth, "hth_none")
    for route in ROUTES:
        if not is_open(route) and route.auth is not Auth.APPSERVICE:
            answer = await stranger.ask(route.method, filled(route.path), {})
            assert (answer.status, answer.errcode) == (401, "M_UNKNOWN_TOKEN"), label(route)


async def test_no_server_gets_in_unsigned(hearth: Hearth) -> None:
    for route in FEDERATION_ROUTES:
        if route.auth is Auth.FEDERATION:
            answer = await hearth.anybody.ask(route.method, filled(route.path), {})
            assert answer.status in {401, 403}, label(route)
            assert answer.errcode in {"M_UNAUTHORIZED", "M_FORBIDDEN"}, label(route)


def unfit(route: Route) -> bool:
    """What waits, or ends the session that asks."""
    return route.operation in {"sync", "logout", "logout_all", "deactivate_account", "get_events"}


async def test_bad_bodies_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    for route in [r for r in ROUTES if r.method in {"POST", "PUT", "DELETE"} and not unfit(r)]:
        for body in BODIES:
            answer = await ann.ask(route.method, filled(route.path), raw=body)
            assert answer.status < 500, (label(route), body[:60], answer.json)
            # Pages for people say in words what is wrong.
            if answer.status >= 400 and answer.headers["Content-Type"] == "application/json":
                assert answer.errcode or answer.status == 401, (label(route), body[:60])


async def test_bad_names_in_paths_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    for route in [r for r in ROUTES if names(r.path) and not unfit(r)]:
        for value in MALFORMED:
            path = filled(route.path, value)
            answer = await ann.ask(route.method, path, raw=b"{}")
            assert answer.status < 500, (label(route), value, answer.json)


async def test_bad_queries_are_refused_with_an_error(hearth: Hearth, ann: Client) -> None:
    queries = (
        "limit=x&from=y&to=z&dir=q&filter=%7B&since=nonsense&at=1",
        "limit=-1&from=h1.99999999999.0.0&dir=b&since=h9.1.1.1&timeout=-5",
        "limit=99999999999999999999&from=h1.1.1.1.-999999999999999999&dir=f",
        "filter=%00&from=%00&since=%00&server_name=%00&via=%FF&version=%00",
        "&".join(f"a{n}=1" for n in range(2000)),
        "filter=[]&set_presence=never&full_state=perhaps",
    )
    for route in [r for r in ROUTES if r.method == "GET" and not unfit(r)]:
        for query in queries:
            answer = await ann.ask("GET", f"{filled(route.path)}?{query}")
            assert answer.status < 500, (label(route), query[:60], answer.json)


async def test_other_methods_are_refused(hearth: Hearth) -> None:
    known: dict[str, set[str]] = {}
    for route in [*ROUTES, *FEDERATION_ROUTES]:
        known.setdefault(filled(route.path), set()).add(route.method)
    for path, methods in known.items():
        if "PATCH" not in methods:
            answer = await hearth.anybody.ask("PATCH", path)
            assert (answer.status, answer.errcode) == (405, "M_UNRECOGNIZED"), path


async def test_every_answer_may_be_read_by_browsers(hearth: Hearth) -> None:
    for route in ROUTES:
        for method in ("OPTIONS", route.method):
            answer = await hearth.anybody.ask(method, filled(route.path), raw=b"{}")
            assert answer.headers["Access-Control-Allow-Origin"] == "*", label(route)
