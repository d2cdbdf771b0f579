"""Many events of other servers: read and verified on all cores, while more of them come in.

https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import msgspec

from federation import events, signatures
from federation.decision import Denied
from federation.errors import CanonicalJSONError, EventFormatError
from federation.events import Event, Pdu
from federation.identifiers import EventID, KeyID, RoomID, ServerName
from federation.net.key_ring import NOTARY_BATCH, KeyRequest, KeyRing
from federation.room_versions import RoomVersion
from federation.server_keys import Keys, ServerKey
from homeserver.ending import end
from homeserver.logs import get_logger

log = get_logger(__name__)

KEYS_SECONDS = 30.0
"""How long it is waited for keys."""
_PIECE = 250
"""Events that a thread reads and verifies in one go: the event loop gets a word in between."""


class _Promise(msgspec.Struct, frozen=True):
    """What of a member's event names servers that have to sign it."""

    join_authorised_via_users_server: Any = None


class _Signed(msgspec.Struct):
    """What tells who signed an event, without the rest of it."""

    sender: str
    origin_server_ts: int
    signatures: dict[str, dict[str, str]]
    content: _Promise = _Promise()
    event_id: str = ""


class Inspectors(NamedTuple):
    """What events are inspected with."""

    pool: Executor
    parts: int
    """How many threads the pool has."""
    keys: KeyRing


class Inspection:
    """Some events of one room. `close` it.

    Keys are asked for as the events come that need them.

    Args:
        inspectors: who do it.
        version: of the room.
        room_id: of all of the events; others are left out. `None`: of whatever room.
        sources: servers that may have keys of those that cannot be reached.

    """

    def __init__(
        self,
        inspectors: Inspectors,
        version: RoomVersion,
        room_id: RoomID | None,
        sources: Iterable[ServerName],
    ) -> None:
        self._inspectors = inspectors
        self._version, self._room_id = version, room_id
        self._keys = _Keys(inspectors.keys, tuple(sources))
        self._turns = asyncio.Semaphore(2 * inspectors.parts)
        """In the pool, where others have work too."""
        self._waiting: dict[str, list[object]] = {}
        self._tasks: list[tuple[str, asyncio.Task[list[Event | Denied]]]] = []
        self._seen: dict[EventID, Event] = {}

    async def add(self, name: str, raw: Iterable[object]) -> None:
        """Take in events, as they came, of the list of that name; waits while there is much to do.

        What is no event at all is left out.
        """
        waiting = self._waiting.setdefault(name, [])
        waiting.extend(raw)
        while len(waiting) >= _PIECE:
            await self._begin(name, waiting[:_PIECE])
            del waiting[:_PIECE]

    async def events(self) -> dict[str, list[Event]]:
        """Those of each list that are well formed and signed by whom they must be, each once."""
        for name, raw in self._waiting.items():
            await self._begin(name, raw)
        self._keys.hurry()
        found: dict[str, list[Event | Denied]] = {name: [] for name in self._waiting}
        for name, task in self._tasks:
            found[name] += await task
        self._waiting, self._tasks = {}, []
        return {name: good(events) for name, events in found.items()}

    async def close(self) -> None:
        """Give up what is not done yet."""
        await end(*(task for _, task in self._tasks))
        await self._keys.close()

    async def _begin(self, name: str, raw: Sequence[object]) -> None:
        await self._turns.acquire()
        self._tasks.append((name, asyncio.create_task(self._inspect(raw))))

    async def _inspect(self, raw: Sequence[object]) -> list[Event | Denied]:
        run, pool = asyncio.get_running_loop().run_in_executor, self._inspectors.pool
        try:
            kept, wanted = await run(pool, _signers, raw)
        finally:
            self._turns.release()
        keys = await self._keys.get(wanted)
        async with self._turns:
            version, room_id = self._version, self._room_id
            return await run(pool, _believed, version, kept, room_id, keys, self._seen)


_Name = tuple[ServerName, KeyID]


class _Batch:
    """Keys that are asked for together."""

    def __init__(self) -> None:
        self.wanted: dict[_Name, int] = {}
        """With the latest time for which each is."""
        self.landed = asyncio.Event()


class _Keys:
    """The keys that are wanted for one inspection, asked for some at a time. `close` it.

    The first are asked for at once; others once they are many, or nothing else is under way, or
    hardly anything comes any more.
    """

    def __init__(self, ring: KeyRing, sources: Sequence[ServerName]) -> None:
        self._ring = ring
        self._sources = sources
        self._found: dict[ServerName, dict[KeyID, ServerKey]] = {}
        self._asked: dict[_Name, int] = {}
        self._under_way: dict[_Name, _Batch] = {}
        """Including those that are gathered."""
        self._gathered = _Batch()
        self._flights: set[asyncio.Task[None]] = set()
        self._is_late = False

    async def get(self, requests: Iterable[KeyRequest]) -> Keys:
        """All keys that are known by now; those asked for are, if they can be had."""
        missing = [request for request in requests if not self._is_settled(request)]
        while missing:
            batches = {self._batch_with(request) for request in missing}
            self._ask_if_due()
            for batch in batches:
                await batch.landed.wait()
            # One under way may have been for an earlier time.
            missing = [request for request in missing if not self._is_settled(request)]
        return self._found

    def hurry(self) -> None:
        """Nobody will want much more: what is wanted is asked for at once."""
        self._is_late = True
        self._ask_if_due()

    async def close(self) -> None:
        """Ask for nothing more."""
        await end(*self._flights)

    def _batch_with(self, request: KeyRequest) -> _Batch:
        """The batch in which a key is asked for."""
        server, key_id, ts = request
        batch = self._under_way.setdefault((server, key_id), self._gathered)
        if batch is self._gathered:
            batch.wanted[server, key_id] = max(ts, batch.wanted.get((server, key_id), ts))
        return batch

    def _ask_if_due(self) -> None:
        is_full = len(self._gathered.wanted) >= NOTARY_BATCH
        if self._gathered.wanted and (is_full or self._is_late or not self._flights):
            flight = asyncio.create_task(self._ask(self._gathered))
            self._gathered = _Batch()
            self._flights.add(flight)
            flight.add_done_callback(self._land)

    def _land(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if not flight.cancelled():
            self._ask_if_due()

    async def _ask(self, batch: _Batch) -> None:
        requests = [KeyRequest(*name, ts) for name, ts in batch.wanted.items()]
        beside = len(self._asked.keys() | self._under_way.keys()) - len(requests)
        try:
            found = await self._ring.get(
                requests, sources=self._sources, deadline=KEYS_SECONDS, beside=beside
            )
            for server, keys in found.items():
                self._found.setdefault(server, {}).update(keys)
        finally:
            self._asked.update(batch.wanted)
            for name in batch.wanted:
                del self._under_way[name]
            batch.landed.set()

    def _is_settled(self, request: KeyRequest) -> bool:
        """Whether the key is known, or was asked for to no avail."""
        server, key_id, ts = request
        asked = self._asked.get((server, key_id))
        if asked is None:
            return False
        key = self._found.get(server, {}).get(key_id)
        return key is None or ts <= asked or key.is_valid_at(ts)


def read(raw: object, version: RoomVersion) -> Pdu | None:
    """An event as it came, in JSON or read already; `None` if it is not well formed."""
    try:
        if isinstance(raw, dict):
            return events.parse_object(raw, version)
        return events.parse_any(raw, version) if isinstance(raw, bytes) else None
    except (CanonicalJSONError, EventFormatError):
        return None


def good(found: Sequence[Event | Denied]) -> list[Event]:
    """Those that are signed as they must be, each once."""
    kept: dict[EventID, Event] = {}
    for event in found:
        if isinstance(event, Event):
            kept.setdefault(event.event_id, event)
    refused = sum(isinstance(one, Denied) for one in found)
    if refused:
        log.info("events that are not signed as they must be", count=refused)
    return list(kept.values())


def _signers(raw: Iterable[object]) -> tuple[list[object], list[KeyRequest]]:
    """What may be events, and the keys that they may be signed with; some more than needed."""
    kept: list[object] = []
    times: dict[tuple[ServerName, KeyID], int] = {}
    for one in raw:
        try:
            signed = _signed(one)
        except (msgspec.MsgspecError, RecursionError):
            continue  # whatever it is, it is no event
        kept.append(one)
        promise = signed.content.join_authorised_via_users_server
        named = {signed.sender, signed.event_id, promise if isinstance(promise, str) else ""}
        for server in {ServerName(name.partition(":")[2]) for name in named}:
            for key_id in filter(signatures.is_event_key, signed.signatures.get(server, ())):
                name = (server, KeyID(key_id))
                times[name] = max(times.get(name, 0), signed.origin_server_ts)
    return kept, [KeyRequest(*name, ts) for name, ts in times.items()]


def _signed(raw: object) -> _Signed:
    if isinstance(raw, bytes):
        return msgspec.json.decode(raw, type=_Signed)
    return msgspec.convert(raw, _Signed)


def _believed(
    version: RoomVersion,
    raw: Iterable[object],
    room_id: RoomID | None,
    keys: Keys,
    seen: dict[EventID, Event],
) -> list[Event | Denied]:
    """Read and verify events; those that were seen to be good are not verified again."""
    found: list[Event | Denied] = []
    for one in raw:
        pdu = read(one, version)
        if pdu is None or room_id not in {None, pdu.event.room_id}:
            continue
        event: Event | Denied | None = seen.get(pdu.event.event_id)
        if event is None:
            event = signatures.verified(pdu, keys)
            if isinstance(event, Event):
                event = seen.setdefault(event.event_id, event)
        found.append(event)
    return found
