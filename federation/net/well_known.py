"""Delegation: what `https://<hostname>/.well-known/matrix/server` says, and said.

Step 3 of server discovery up to the name delegated to; what follows from it is `discovery`'s.
Answers are remembered, bad ones too, and a server that merely does not answer for a while keeps
the delegation it had.

https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from federation import canonical_json
from federation.errors import (
    CanonicalJSONError,
    IdentifierError,
    RequestError,
    ResponseFormatError,
    ResponseTooLargeError,
)
from federation.identifiers import ServerName, parse_server_name
from federation.net.fetch import fetch
from federation.net.freshness import lifetime
from federation.net.transport import Limits, Reply, Transport

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

# "or use a sensible default when headers are not present. The recommended sensible default is 24
# hours. Servers should additionally impose a maximum cache time for responses: 48 hours is
# recommended."
_DEFAULT_LIFETIME = 24 * _HOUR
_MAX_LIFETIME = 48 * _HOUR
_MIN_LIFETIME = 5 * _MINUTE  # also where the answer wants not to be kept at all

# "Errors are recommended to be cached for up to an hour, and servers are encouraged to
# exponentially back off for repeated failures."
_FIRST_PAUSE = _MINUTE
_MAX_PAUSE = _HOUR

_MAX_STALE = 72 * _HOUR
"""How long after it was last heard a delegation is used while nobody answers."""

_LIMITS = Limits(total=20.0, connect=10.0, idle=10.0, body=50 * 1024)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one look brought."""

    delegated: ServerName | None
    """`None` for anything but a valid delegation."""
    lifetime: float | None = None
    """Seconds that the answer's headers ask for."""
    is_temporary: bool = False
    """No answer, or one that says that there may be another soon."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of one host. Times are Unix times in seconds."""

    delegated: ServerName | None
    heard: float
    """When `delegated` was last said."""
    asked: float
    """When somebody last looked."""
    due: float
    """When to look again."""
    failures: int = 0
    """Looks since then that brought nothing."""


def remember(answer: Answer, before: Memory | None, now: float) -> Memory:
    """What is known after `answer`, with what was known before."""
    if answer.delegated is not None:
        wished = _DEFAULT_LIFETIME if answer.lifetime is None else answer.lifetime
        due = now + min(max(wished, _MIN_LIFETIME), _MAX_LIFETIME)
        return Memory(answer.delegated, heard=now, asked=now, due=due)
    failures = before.failures + 1 if before else 1
    backoff = _FIRST_PAUSE * 2.0 ** min(failures - 1, 16)
    due = now + min(max(backoff, answer.lifetime or 0.0), _MAX_PAUSE)
    if before and answer.is_temporary and now - before.heard < _MAX_STALE:
        return Memory(before.delegated, before.heard, asked=now, due=due, failures=failures)
    return Memory(None, heard=now, asked=now, due=due, failures=failures)


def read_answer(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
    """Judge one answer. "parsing the response should assume that the body is JSON regardless"."""
    kept = lifetime(headers, now)
    # "If the response is invalid (bad JSON, missing properties, non-200 response, etc), skip to
    # step 4."
    if status != 200:
        return Answer(None, kept, is_temporary=status == 429 or status >= 500)
    try:
        fields = canonical_json.decode_object(body, strict=False)
        delegated = fields.get("m.server")
        if not isinstance(delegated, str):
            return Answer(None, kept)
        return Answer(parse_server_name(delegated), kept)
    except (CanonicalJSONError, IdentifierError):
        return Answer(None, kept)


class WellKnown:
    """The delegations of other servers; close it before the transport.

    Args:
        transport: over which is asked.
        now: the Unix time in seconds.
        limits: for one look, redirects included.
        size: how many hosts are remembered; those asked for longest ago are forgotten first.

    """

    def __init__(
        self,
        transport: Transport,
        now: Callable[[], float],
        *,
        limits: Limits = _LIMITS,
        size: int = 20_000,
    ) -> None:
        self._transport = transport
        self._now = now
        self._limits = limits
        self._size = size
        self._known: OrderedDict[str, Memory] = OrderedDict()
        self._looks: dict[str, asyncio.Task[ServerName | None]] = {}

    async def find(self, host: str) -> ServerName | None:
        """The name that `host` delegates to, if it does."""
        host = host.lower()
        known = self._known.get(host)
        if known is None or known.due <= self._now():
            return await self._look(host)
        self._known.move_to_end(host)
        return known.delegated

    async def find_again(self, host: str, min_age: float) -> ServerName | None:
        """As `find`, but ask anew if nobody has for `min_age` seconds."""
        known = self._known.get(host.lower())
        if known is None or known.asked + min_age > self._now():
            return await self.find(host)
        return await self._look(host.lower())

    async def close(self) -> None:
        """Give up the looks under way."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _look(self, host: str) -> ServerName | None:
        """Ask once for all who want to know now; that one of them gives up stops nothing."""
        look = self._looks.get(host)
        if look is None:
            look = asyncio.create_task(self._learn(host))
            self._looks[host] = look
            look.add_done_callback(lambda _: self._looks.pop(host, None))
        return await asyncio.shield(look)

    async def _learn(self, host: str) -> ServerName | None:
        answer = await self._ask(host)
        memory = remember(answer, self._known.get(host), self._now())
        self._known[host] = memory
        self._known.move_to_end(host)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return memory.delegated

    async def _ask(self, host: str) -> Answer:
        url = f"https://{host}/.well-known/matrix/server"
        try:
            async with fetch(self._transport, url, self._limits) as reply:
                return await self._read(reply)
        except (ResponseFormatError, ResponseTooLargeError):
            return Answer(None)
        except RequestError:
            return Answer(None, is_temporary=True)

    async def _read(self, reply: Reply) -> Answer:
        body = await reply.read()
        return read_answer(reply.status, reply.headers, body, self._now())
