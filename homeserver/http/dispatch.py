"""One request from its first line to its answer, in the order that every endpoint shares.

Preflight; which row; who asks; how often; what was sent; the handler; its answer, or what it
raised. All that goes wrong becomes an answer here, and nowhere else: a `MatrixError` says itself
what, anything else is a fault of ours, told by an id that is in the log beside the traceback.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiohttp import web

from homeserver.errors import MatrixError, TimedOut
from homeserver.http.addresses import limit_key
from homeserver.http.authentication import Authenticator, authenticate
from homeserver.http.binding import Endpoint
from homeserver.http.connections import Connection
from homeserver.http.cors import PREFLIGHT
from homeserver.http.limits import Limits
from homeserver.http.matching import Match, Matcher
from homeserver.http.replies import Answer, Reply, Stream, refusal, response, send
from homeserver.http.requests import Request, Terms, target_of
from homeserver.http.routes import Auth
from homeserver.http.turns import Turns
from homeserver.logs import error_id, get_logger
from homeserver.storage.pool import DatabaseAwayError

log = get_logger(__name__)
_at_debug = logging.getLogger(__name__)

SERVER_AT_ONCE = 20
"""Requests of one other server that are worked on at the same time; none waits for another."""
SERVER_WAITING = 200
"""Those of it that wait for that; more are sent away."""

Observe = Callable[[str, int, float], None]
"""Told of each answer: the template of its path (or `-`), the status, and the seconds it took."""


class Rim(NamedTuple):
    """What all requests of a server meet."""

    authenticator: Authenticator
    limits: Limits
    terms: Terms
    stopping: asyncio.Event
    observe: Observe


class Dispatcher:
    """Answers what comes in at one door.

    Raises:
        ValueError: two rows for one path.
        TypeError: a row names a limit that there is not.

    """

    def __init__(self, endpoints: Iterable[Endpoint], rim: Rim) -> None:
        self._rim = rim
        self._turns = Turns(SERVER_AT_ONCE, SERVER_WAITING)
        self._matcher: Matcher[Endpoint] = Matcher()
        for endpoint in endpoints:
            endpoint.check_limits(rim.limits)
            route = endpoint.route
            for path in route.paths:
                for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                    self._matcher.add(method, path, endpoint)

    async def __call__(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        match: Match[Endpoint] | None = None
        try:
            # "the server MUST NOT perform any logic defined for the endpoints when approached
            # with an OPTIONS request."
            if incoming.method == "OPTIONS":
                sent: web.StreamResponse = web.Response(headers=PREFLIGHT)
            else:
                match = self._matcher.find(incoming.method, target_of(incoming).partition("?")[0])
                sent = await _sent(await self._answer(match, incoming), incoming)
        except MatrixError as error:
            sent = response(refusal(error))
            _break_off(incoming)
        except Exception as error:  # noqa: BLE001 - this is the place for all the others
            sent = response(_failure(match, error, is_gone=incoming.transport is None))
            _break_off(incoming)
        if self._rim.stopping.is_set():
            sent.force_close()
        self._rim.observe(_template(match), sent.status, loop.time() - began)
        return sent

    async def _answer(self, match: Match[Endpoint], incoming: web.BaseRequest) -> Answer:
        endpoint = match.target
        route = endpoint.route
        request = Request(incoming, route, match.values, self._rim.terms, self._rim.stopping)
        # Whoever only reads need not be answered once they are gone; others' wishes are fulfilled.
        if route.method == "GET" and isinstance(incoming.protocol, Connection):
            incoming.protocol.answered_by = asyncio.current_task()
        request.caller = await authenticate(self._rim.authenticator, request)
        self._check_limits(request)
        if route.auth is Auth.FEDERATION and not route.own_turns and request.caller is not None:
            async with self._turns.of(request.caller.key):
                return await self._in_time(endpoint, request)
        return await self._in_time(endpoint, request)

    async def _in_time(self, endpoint: Endpoint, request: Request) -> Answer:
        route = request.route
        if route.deadline is None:
            return await endpoint(request)
        try:
            async with asyncio.timeout(route.deadline):
                return await endpoint(request)
        except TimeoutError:
            raise TimedOut from None

    def _check_limits(self, request: Request) -> None:
        caller = request.caller
        if caller is not None and not caller.is_limited:
            return
        for name, by in request.route.limits:
            if by == "caller" and caller is not None:
                key = caller.key
            elif by in {"caller", "address"}:
                key = limit_key(request.address)
            else:
                key = request.match_info[by]
            self._rim.limits.check(name, key)


def log_answer(template: str, status: int, seconds: float) -> None:
    """Note an answer in the log, without what would tell who asked for what."""
    # At level info a line per request would cost as much as the request.
    if _at_debug.isEnabledFor(logging.DEBUG):
        log.debug("answered", route=template, status=status, ms=round(seconds * 1000, 1))


def _failure(match: Match[Endpoint] | None, error: Exception, *, is_gone: bool) -> Reply:
    if isinstance(error, DatabaseAwayError):
        log.warning("a request has no database", route=_template(match), reason=str(error))
        return Reply(503, {"errcode": "M_UNKNOWN", "error": "the database is away; try again"})
    name = error_id()
    # Reading from, or writing to, somebody who went away: nobody's fault.
    if not (is_gone and isinstance(error, ConnectionError)):
        log.error("a request failed", error_id=name, route=_template(match), exc_info=error)
    return Reply(500, {"errcode": "M_UNKNOWN", "error": f"internal error {name}"})


async def _sent(answer: Answer, incoming: web.BaseRequest) -> web.StreamResponse:
    if isinstance(answer, Stream):
        return await send(answer, incoming)
    return response(answer)


def _template(match: Match[Endpoint] | None) -> str:
    return match.target.route.path if match else "-"


def _break_off(incoming: web.BaseRequest) -> None:
    """If some of an answer is out already, nobody must take it for the whole."""
    if incoming.writer.output_size and incoming.transport is not None:
        incoming.transport.abort()
