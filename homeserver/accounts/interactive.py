"""User-interactive authentication across requests, processes and restarts.

What a session stands at is in the database; which stages there are, and how each is checked, comes
from the caller. The rules are in `homeserver.accounts.stages`.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from federation.errors import CanonicalJSONError
from homeserver.accounts.stages import (
    DUMMY,
    Challenge,
    Flow,
    Refusal,
    Standing,
    binding,
    is_complete,
    standing,
)
from homeserver.accounts.tokens import hash_of
from homeserver.errors import BadJson, Forbidden, InvalidParam, NotFound
from homeserver.storage import uia_sessions
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import DAY, Process
from homeserver.storage.uia_sessions import Session

VALIDITY = DAY
"""Milliseconds for which a session can be gone on with."""


class AuthData(NamedTuple):
    """The `auth` of a request."""

    session: str | None
    stage: str | None
    given: Mapping[str, Any]
    """All of it."""


class Operation(NamedTuple):
    """A request that needs authentication."""

    name: str
    """`operationId` of the endpoint."""
    asked: Mapping[str, Any]
    """The body without `auth`, and what the path names: a session is good for nothing else."""
    user: UserNid | None = None
    """Who asks by access token."""
    may_change: bool = False
    """Whether it may become another request until the stages are completed."""


class Attempt(NamedTuple):
    """A try at a stage."""

    auth: AuthData
    session_hash: bytes
    user: UserNid | None
    """Who must be the one, if that is known."""
    operation: str
    """`operationId` of the endpoint."""


class Passed(NamedTuple):
    """The stage is completed."""

    user: UserNid | None = None
    """Who it was shown to be."""


Check = Callable[[Attempt], Awaitable[Passed | Refusal]]
"""Checks what was given for a stage."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """All stages of a flow are completed."""

    session_hash: bytes
    user: UserNid | None
    """Who asks; `None` if no stage shows it."""


def auth_data_in(body: Mapping[str, Any]) -> AuthData | None:
    """The `auth` of a request's body, if it has one."""
    auth = body.get("auth")
    if auth is None:
        return None
    if not isinstance(auth, dict):
        raise BadJson("auth must be an object")
    session, stage = auth.get("session"), auth.get("type")
    if not isinstance(session, str | None) or not isinstance(stage, str | None):
        raise InvalidParam("session and type of auth must be strings")
    # COMPAT(matrix-js-sdk): the first request of some flows has an empty `auth`.
    return AuthData(session, stage, auth) if session or stage else None


async def check_dummy(_attempt: Attempt) -> Passed | Refusal:
    """https://spec.matrix.org/v1.19/client-server-api/#dummy-auth"""
    return Passed()


class InteractiveAuth:
    """Asks for stages until a flow is complete.

    Args:
        process: the one that this is part of.
        checks: how each stage is checked that may occur in a flow.
        params: what clients need to know for a stage.

    """

    def __init__(
        self,
        process: Process,
        checks: Mapping[str, Check],
        params: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._process = process
        self._checks = {DUMMY: check_dummy, **checks}
        self._params = params or {}

    async def confirm(
        self, operation: Operation, flows: Sequence[Flow], auth: AuthData | None
    ) -> Authenticated | Challenge:
        """Go on with a session, and use it up when all is done; then it is good for one request."""
        found = await self.proceed(operation, flows, auth)
        if isinstance(found, Challenge):
            return found
        async with self._process.database.reader() as conn:
            won = await uia_sessions.delete(conn, found.session_hash)
        return found if won else await self._begin(operation, flows)

    async def proceed(
        self, operation: Operation, flows: Sequence[Flow], auth: AuthData | None
    ) -> Authenticated | Challenge:
        """Go on with a session, or begin one.

        Raises:
            Forbidden: the session was begun for another request.

        """
        if auth is None:
            return await self._begin(operation, flows)
        if auth.session is None:
            begun = await self._begin(operation, flows)
            auth = auth._replace(session=begun.session)
        session = await self._find(operation, auth.session or "")
        if session is None:
            refusal = Refusal("M_UNKNOWN", "the authentication session is over: begin anew")
            return await self._begin(operation, flows, refusal)
        return await self._go_on(session, flows, auth)

    async def find_finished(
        self, operation: Operation, auth: AuthData | None
    ) -> tuple[bytes, UserNid] | None:
        """The session's hash and the account that came of this very request before."""
        if auth is None or auth.session is None:
            return None
        async with self._process.database.reader() as conn:
            session = await uia_sessions.find(conn, hash_of(auth.session))
        if session is None or session.expires_ts <= self._process.now():
            return None
        if session.made_user is None or session.binding != _bound(auth.session, operation):
            return None
        return session.session_hash, session.made_user

    async def is_going_on(self, text: str, name: str) -> bool:
        """Whether there is a session, of this operation, in which something is still to be done."""
        return await self._open(text, name) is not None

    async def complete_first(
        self, text: str, name: str, stage: str, given: Mapping[str, Any]
    ) -> Refusal | None:
        """Complete the first stage of a session beside its request, in a browser; or why not.

        Raises:
            NotFound: there is no such session, of this operation.

        """
        session = await self._open(text, name)
        if session is None:
            raise NotFound("there is no such authentication session")
        if session.completed:
            return None
        return (await self._try(session, stage, AuthData(text, stage, given)))[1]

    async def _open(self, text: str, name: str) -> Session | None:
        async with self._process.database.reader() as conn:
            session = await uia_sessions.find(conn, hash_of(text))
        if session is None or session.expires_ts <= self._process.now():
            return None
        is_it = session.operation == name and session.made_user is None
        return session if is_it else None

    async def _begin(
        self, operation: Operation, flows: Sequence[Flow], refusal: Refusal | None = None
    ) -> Challenge:
        session = secrets.token_urlsafe(24)
        expires = self._process.now() + VALIDITY
        bound = _bound(session, operation)
        new = Session(hash_of(session), operation.name, operation.user, bound, (), None, expires)
        async with self._process.database.reader() as conn:
            await uia_sessions.add(conn, new)
        return Challenge(session, flows, (), self._params, refusal)

    async def _find(self, operation: Operation, text: str) -> Session | None:
        async with self._process.database.reader() as conn:
            session = await uia_sessions.find(conn, hash_of(text))
            if session is None or session.expires_ts <= self._process.now():
                return None
            bound = _bound(text, operation)
            if session.binding == bound and session.made_user is None:
                return session
            if session.operation == operation.name and operation.may_change:
                is_open = await uia_sessions.bind(conn, session.session_hash, bound)
                return session if is_open else None
            raise Forbidden("the authentication session was begun for another request")

    async def _go_on(
        self, session: Session, flows: Sequence[Flow], auth: AuthData
    ) -> Authenticated | Challenge:
        refusal = None
        if auth.stage is not None:
            match standing(flows, session.completed, auth.stage):
                case Standing.NEXT:
                    session, refusal = await self._try(session, auth.stage, auth)
                case Standing.OUT_OF_ORDER:
                    refusal = Refusal("M_FORBIDDEN", "this stage is not among the next ones")
        if refusal is None and is_complete(flows, session.completed):
            return Authenticated(session.session_hash, session.user)
        return Challenge(auth.session or "", flows, session.completed, self._params, refusal)

    async def _try(
        self, session: Session, stage: str, auth: AuthData
    ) -> tuple[Session, Refusal | None]:
        found = await self._checks[stage](
            Attempt(auth, session.session_hash, session.user, session.operation)
        )
        if isinstance(found, Refusal):
            return session, found
        async with self._process.database.reader() as conn:
            completed = await uia_sessions.complete(
                conn, session.session_hash, session.completed, stage, found.user
            )
        user = found.user or session.user
        return session._replace(completed=completed or (), user=user), None


def _bound(session: str, operation: Operation) -> bytes:
    try:
        return binding(session, operation.name, operation.user, operation.asked)
    except CanonicalJSONError as error:
        raise BadJson("the request cannot be written as JSON") from error
