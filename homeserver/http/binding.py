"""A row of the table and the house it serves, checked once and ready to be called.

What a handler wants beside `request` and `house` is read from its parameters: `body` (a
`msgspec.Struct`, `JsonObject`, either of them `| None`, `bytes`, or a `BodyStream`), `query` (a
`msgspec.Struct`), `who` (what the authenticator found), `origin` (the server that asks).
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from homeserver.http.bodies import BodyStream
from homeserver.http.decoding import QueryShape, Shape
from homeserver.http.limits import Limits
from homeserver.http.replies import Answer
from homeserver.http.requests import Request
from homeserver.http.routes import Auth, Route

ReadBody = Callable[[Request], Awaitable[Any]]

WANTED = frozenset({"body", "query", "who", "origin"})
"""The parameters that a handler may have after `request` and `house`."""


class Endpoint:
    """What a row leads to.

    Raises:
        TypeError: the handler wants what its row cannot give.

    """

    def __init__(self, route: Route, house: object) -> None:
        self.route = route
        self._house = house
        wanted = _parameters(route)
        self._body = _body_reader(wanted["body"]) if "body" in wanted else None
        self._query = QueryShape(wanted["query"]) if "query" in wanted else None
        self._caller = next((name for name in ("who", "origin") if name in wanted), None)

    async def __call__(self, request: Request) -> Answer:
        """Bring in what the handler wants, and let it answer."""
        wanted: dict[str, Any] = {}
        if self._query is not None:
            wanted["query"] = self._query.decode(request.query)
        if self._body is not None:
            wanted["body"] = await self._body(request)
        if self._caller is not None:
            wanted[self._caller] = request.caller.who if request.caller else None
        answer: Answer = await self.route.handler(request, self._house, **wanted)
        return answer

    def check_limits(self, limits: Limits) -> None:
        """Raise `TypeError` if the row names a limit that cannot be counted."""
        for name, by in self.route.limits:
            known = {"caller", "address", *_names_in(self.route.path)}
            if not limits.has(name) or by not in known:
                raise TypeError(f"{self.route.operation}: no such limit: {name} by {by}")


def bound(tables: Iterable[Iterable[Route]], house: object) -> list[Endpoint]:
    """The endpoints of some tables, which are all given the same house."""
    return [Endpoint(route, house) for table in tables for route in table]


def _parameters(route: Route) -> dict[str, Any]:
    """What the handler wants, by name, with the kind that it wants it as."""
    signature = inspect.signature(route.handler, eval_str=True)
    given, wanted = list(signature.parameters)[:2], list(signature.parameters)[2:]
    if len(given) != 2 or not WANTED.issuperset(wanted):
        raise TypeError(f"{route.operation} wants other than request, house, {sorted(WANTED)}")
    who = route.auth not in {Auth.NONE, Auth.FEDERATION}
    if ("who" in wanted and not who) or ("origin" in wanted and route.auth is not Auth.FEDERATION):
        raise TypeError(f"{route.operation} wants to know of somebody who is not asked for")
    kinds = {name: signature.parameters[name].annotation for name in wanted}
    if inspect.Parameter.empty in kinds.values():
        raise TypeError(f"{route.operation} does not say as what it wants {sorted(kinds)}")
    return kinds


def _body_reader(kind: Any) -> ReadBody:
    if kind is bytes:
        return Request.read
    if kind is BodyStream:
        return _stream
    shape = Shape(kind)

    async def read(request: Request) -> Any:
        return shape.decode(await request.read())

    return read


async def _stream(request: Request) -> BodyStream:
    return request.stream()


def _names_in(path: str) -> set[str]:
    return {part[1:-1].rstrip("?*") for part in path.split("/") if part[:1] == "{"}
