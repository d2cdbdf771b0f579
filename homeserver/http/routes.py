"""The table of endpoints: one row per endpoint, declared above the function that answers it.

    route = Routes("client")

    @route.get("/_matrix/client/v3/directory/room/{alias}", auth=False)
    async def get_room_id_by_alias(request: Request, house: House) -> Json: ...

Segments in braces are parameters. A last `{stateKey?}` may be missing, with its slash or without,
and is empty then; a last `{rest*}` takes all that follows, not decoded. Importing a module
registers nothing anywhere: `app` collects the tables that it wants served.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar, Unpack

from homeserver.config.settings import Service

Handler = Callable[..., Awaitable[Any]]
"""`async def operation_id(request, house, *, body, query, who, origin) -> Answer`; the last four
only where they are wanted, see `binding`."""

H = TypeVar("H", bound=Handler)

Allowance = Literal["guest", "locked", "suspended"]
"""Whom an endpoint lets in although most others do not."""

BodyKind = Literal["client", "federation", "upload"]
"""Which setting bounds a request's body."""


class Auth(Enum):
    """What a caller has to show."""

    NONE = "none"
    OPTIONAL = "optional access token"
    ACCESS_TOKEN = "access token"  # noqa: S105 - the name of a kind
    ADMINISTRATOR = "access token of an administrator"
    APPSERVICE = "as_token"
    FEDERATION = "signed federation"


class Limit(NamedTuple):
    """How often an endpoint may be asked: a setting in `rate_limits`, and per what."""

    name: str
    by: str = "caller"
    """`caller` (the address where nobody is logged in), `address`, or a parameter of the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table."""

    method: str
    path: str
    """As the specification writes it, with the current version."""
    also: tuple[str, ...]
    """Further paths that mean the same."""
    handler: Handler
    serves: Service
    auth: Auth
    allows: frozenset[Allowance]
    limits: tuple[Limit, ...]
    body_kind: BodyKind
    deadline: float | None
    """Seconds after which the caller is told that it took too long."""
    own_turns: bool
    """Whether the handler itself sees to how many requests of one server are worked on at once."""

    @property
    def operation(self) -> str:
        """The `operationId` in snake case."""
        return getattr(self.handler, "__name__", "?")

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path under which this is served, the current one first."""
        written = [self.path, *(_other_path(self.path, other) for other in self.also)]
        old = [
            before + path.removeprefix(now)
            for path in written
            for now, before in OLD_PREFIXES
            if path.startswith(now)
        ]
        return tuple(dict.fromkeys([*written, *old]))


OLD_PREFIXES = (
    ("/_matrix/client/v3/", "/_matrix/client/r0/"),
    ("/_matrix/media/v3/", "/_matrix/media/r0/"),
    ("/_matrix/media/v3/", "/_matrix/media/v1/"),
)
"""Beginnings of paths, and what they were before v1.1, when each API got a version of its own."""

_VERSION = re.compile(r"(?<=/)v\d+(?=/)")


def _other_path(path: str, other: str) -> str:
    """`other` itself if it is a path, else `path` with `other` for its version."""
    return other if other.startswith("/") else _VERSION.sub(other, path, count=1)


class Options(TypedDict, total=False):
    """What a row may say beside its path and what a caller has to show."""

    also: Sequence[str]
    """Further paths, or what else may stand for the version: `unstable/org.matrix.msc3391`."""
    allows: Sequence[Allowance]
    limit: str | Limit | Sequence[Limit] | None
    body_kind: BodyKind
    deadline: float | None
    own_turns: bool


class Routes:
    """The rows of one module.

    Args:
        serves: which listeners answer them.
        limit: the rate limit of rows that name none.

    """

    def __init__(self, serves: Service, *, limit: str | Limit | None = None) -> None:
        self.serves = serves
        self._limit = limit
        self._rows: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._rows)

    def get(self, path: str, *, auth: Auth | bool, **options: Unpack[Options]) -> Callable[[H], H]:
        """Answer GET, and HEAD like it; see `add`."""
        return self._adding("GET", path, auth, options)

    def post(self, path: str, *, auth: Auth | bool, **options: Unpack[Options]) -> Callable[[H], H]:
        """Answer POST; see `add`."""
        return self._adding("POST", path, auth, options)

    def put(self, path: str, *, auth: Auth | bool, **options: Unpack[Options]) -> Callable[[H], H]:
        """Answer PUT; see `add`."""
        return self._adding("PUT", path, auth, options)

    def delete(
        self, path: str, *, auth: Auth | bool, **options: Unpack[Options]
    ) -> Callable[[H], H]:
        """Answer DELETE; see `add`."""
        return self._adding("DELETE", path, auth, options)

    def add(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        auth: Auth | bool,
        **options: Unpack[Options],
    ) -> None:
        """Put a row into the table.

        Args:
            method: in upper case.
            path: a template, see the module.
            handler: what answers.
            auth: what a caller has to show; `True` is an access token, `False` nothing. There is
                no default, so that nothing is open because somebody forgot.
            options: see `Options`.

        """
        row = Route(
            method=method,
            path=path,
            also=tuple(options.get("also", ())),
            handler=handler,
            serves=self.serves,
            auth=_kind(auth),
            allows=frozenset(options.get("allows", ())),
            limits=_limits(options.get("limit", self._limit)),
            body_kind=options.get("body_kind", _body_kind(self.serves)),
            deadline=options.get("deadline"),
            own_turns=options.get("own_turns", False),
        )
        self._rows.append(row)

    def _adding(
        self, method: str, path: str, auth: Auth | bool, options: Options
    ) -> Callable[[H], H]:
        def add(handler: H) -> H:
            self.add(method, path, handler, auth=auth, **options)
            return handler

        return add


def _kind(auth: Auth | bool) -> Auth:
    if isinstance(auth, bool):
        return Auth.ACCESS_TOKEN if auth else Auth.NONE
    return Auth(auth)


def _limits(limit: str | Limit | Sequence[Limit] | None) -> tuple[Limit, ...]:
    if limit is None:
        return ()
    if isinstance(limit, str):
        return (Limit(limit),)
    return (limit,) if isinstance(limit, Limit) else tuple(limit)


def _body_kind(serves: Service) -> BodyKind:
    return "federation" if serves == "federation" else "client"
