"""Events as other servers send them: asked for, read, and their signatures checked.

https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import msgspec

from federation import events, signatures
from federation.canonical_json import JsonObject
from federation.decision import Denied
from federation.errors import CanonicalJSONError, EventFormatError, ResponseFormatError
from federation.events import Event, Pdu
from federation.identifiers import EventID, KeyID, RoomID, ServerName
from federation.net.client import Response
from federation.net.key_ring import KeyRequest
from federation.net.target import encode_target
from federation.net.transport import Limits
from federation.room_versions import RoomVersion
from federation.server_keys import Keys
from homeserver.logs import get_logger
from homeserver.peers.peers import Peers
from homeserver.rooms.stripped import as_stripped, few, stripped

log = get_logger(__name__)

_V1 = ("_matrix", "federation", "v1")
_LARGE = Limits(total=300.0, body=256 * 1024 * 1024)
_LARGE_AT_ONCE = 2
"""Large answers of one server that are taken at the same time."""
_KEYS_SECONDS = 30.0
_PREVIEW_SECONDS = 10.0
"""How long whoever invites waits for the keys of those whose events show the room."""
_FEW = 20
"""Events that are read and verified at once, without a thread."""
_PIECE = 250
"""Events that a thread reads and verifies in one go: the event loop gets a word in between."""

_MOST_SHOWN = 50
"""Events of a room that are looked at of those that it is shown by."""

RawEvents = list[msgspec.Raw]
"""Events as they came, each of which is decoded by itself: an answer may have thousands."""


class JoinAnswer(msgspec.Struct):
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid"""

    state: RawEvents
    auth_chain: RawEvents
    event: msgspec.Raw = msgspec.Raw(b"null")
    """The event that was sent, perhaps with one more signature."""
    members_omitted: bool = False
    servers_in_room: list[str] = []
    """Where members are omitted: of which servers they are."""


class _State(msgspec.Struct):
    pdus: RawEvents
    auth_chain: RawEvents


class _Chain(msgspec.Struct):
    auth_chain: RawEvents


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


_Answer = TypeVar("_Answer")


class Preview(NamedTuple):
    """What a server shows of a room."""

    shown: list[JsonObject]
    """Stripped state."""
    is_whole: bool
    """Whether all that was shown are events of the room, well signed."""


class RemoteEvents:
    """Asks other servers for events, and says which of what they send can be believed."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._parts = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._parts, thread_name_prefix="signatures")
        self._large: WeakValueDictionary[ServerName, asyncio.Semaphore] = WeakValueDictionary()

    async def verified(
        self,
        version: RoomVersion,
        raw: Iterable[object],
        room_id: RoomID | None,
        sources: Iterable[ServerName] = (),
        *,
        but: Collection[EventID] = frozenset(),
    ) -> list[Event]:
        """Those of the events that are well formed and signed by whom they must be.

        Many are read and verified in pieces on all cores, so that no more than the events
        themselves is ever held.

        Args:
            version: of the room.
            raw: as they came, in JSON.
            room_id: of all of them; others are left out. `None`: of whatever room.
            sources: servers that may have keys of those that cannot be reached.
            but: events that are left out, because they were verified before.

        """
        listed = list(raw)
        if len(listed) <= _FEW:
            pdus = _read_all(version, listed, room_id)
            return await self.checked([p for p in pdus if p.event.event_id not in but], sources)
        wanted = await asyncio.to_thread(_signers, listed)
        keys = await self._peers.keys.get(wanted, sources=sources, deadline=_KEYS_SECONDS)
        seen = set(but)
        loop = asyncio.get_running_loop()
        pieces = [
            loop.run_in_executor(self._pool, _believed, version, piece, room_id, keys, seen)
            for piece in (listed[at : at + _PIECE] for at in range(0, len(listed), _PIECE))
        ]
        found = [one for piece in await asyncio.gather(*pieces) for one in piece]
        return _good(found)

    async def read(
        self, version: RoomVersion, raw: Iterable[object], room_id: RoomID | None
    ) -> list[Pdu]:
        """Those of the events that are well formed and of the room; as `verified`.

        One that came more than once is there as often: only some may be well signed.
        """
        listed = list(raw)
        if len(listed) <= _FEW:
            return _read_all(version, listed, room_id)
        return await asyncio.to_thread(_read_all, version, listed, room_id)

    async def checked(
        self,
        pdus: Sequence[Pdu],
        sources: Iterable[ServerName] = (),
        deadline: float = _KEYS_SECONDS,
    ) -> list[Event]:
        """Those of the events that are signed by whom they must be; each once, the first good one.

        Args:
            pdus: as `read` answers them.
            sources: servers that may have keys of those that cannot be reached.
            deadline: seconds that the keys may take to come.

        """
        wanted = _wanted_keys(pdus)
        keys = await self._peers.keys.get(wanted, sources=sources, deadline=deadline)
        if len(pdus) <= _FEW:
            found = [signatures.verified(pdu, keys) for pdu in pdus]
        else:
            # As many threads wait as work: one more, not of the pool, waits for all.
            found = await asyncio.to_thread(
                signatures.verified_all, pdus, keys, self._pool, self._parts
            )
        return _good(found)

    async def preview(
        self, version: RoomVersion, shown: Sequence[object], room_id: RoomID, source: ServerName
    ) -> Preview:
        """What a server shows of a room to whom it invites, or who knocks, as stripped state.

        What is no event of the room is left out. In versions that servers had before they sent
        whole events, stripped state is taken as it is.

        https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
        """
        listed = list(shown[:_MOST_SHOWN])
        pdus = await self.read(version, listed, room_id)
        events = await self.checked(pdus, [source], _PREVIEW_SECONDS)
        found = stripped(event for event in events if event.is_state)
        is_whole = len(found) == len(shown)
        if not version.room_id_is_create_id:
            # COMPAT(servers before v1.16)
            found += [bare for one in listed if (bare := as_stripped(one))]
        if not is_whole:
            log.info("a room is shown in part by what is no event of it", shown=len(shown))
        return Preview(few(found), is_whole)

    async def missing(
        self,
        server: ServerName,
        room_id: RoomID,
        earliest: Collection[EventID],
        latest: Collection[EventID],
        limit: int,
    ) -> list[Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid"""
        body = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": 0,
        }
        target = encode_target(*_V1, "get_missing_events", room_id)
        answer = await self._peers.client.post_json(server, target, body)
        return _list(answer, "events")[:limit]

    async def state_ids(
        self, server: ServerName, room_id: RoomID, event_id: EventID
    ) -> tuple[list[EventID], list[EventID]]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid"""
        target = encode_target(*_V1, "state_ids", room_id, query=[("event_id", event_id)])
        response = await self._get_large(server, target)
        answer = response.json()
        return _ids(answer, "pdu_ids"), _ids(answer, "auth_chain_ids")

    async def state(
        self, server: ServerName, room_id: RoomID, event_id: EventID
    ) -> tuple[RawEvents, RawEvents]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid"""
        target = encode_target(*_V1, "state", room_id, query=[("event_id", event_id)])
        answer = decoded((await self._get_large(server, target)).body, _State)
        return answer.pdus, answer.auth_chain

    async def event(self, server: ServerName, event_id: EventID) -> list[Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid"""
        answer = await self._peers.client.get_json(server, encode_target(*_V1, "event", event_id))
        return _list(answer, "pdus")[:1]

    async def event_auth(self, server: ServerName, room_id: RoomID, event_id: EventID) -> RawEvents:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid"""
        target = encode_target(*_V1, "event_auth", room_id, event_id)
        return decoded((await self._get_large(server, target)).body, _Chain).auth_chain

    async def backfill(
        self, server: ServerName, room_id: RoomID, before: Sequence[EventID], limit: int
    ) -> list[Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid"""
        query = [("limit", str(limit)), *(("v", event_id) for event_id in before)]
        target = encode_target(*_V1, "backfill", room_id, query=query)
        answer = (await self._get_large(server, target)).json()
        return _list(answer, "pdus")[: 2 * limit]

    async def _get_large(self, server: ServerName, target: str) -> Response:
        """Ask for what may be large: one server makes us hold only so much of it at a time."""
        async with self._large.setdefault(server, asyncio.Semaphore(_LARGE_AT_ONCE)):
            return await self._peers.client.request("GET", server, target, limits=_LARGE)

    async def closest(
        self, server: ServerName, room_id: RoomID, ts: int, *, forwards: bool
    ) -> tuple[EventID, int]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid"""
        query = [("ts", str(ts)), ("dir", "f" if forwards else "b")]
        target = encode_target(*_V1, "timestamp_to_event", room_id, query=query)
        answer = await self._peers.client.get_json(server, target)
        event_id, when = answer.get("event_id"), answer.get("origin_server_ts")
        if not isinstance(event_id, str) or "\0" in event_id or not isinstance(when, int):
            raise ResponseFormatError("no event with its time")
        return EventID(event_id), when


def decoded(body: bytes, kind: type[_Answer]) -> _Answer:
    """An answer whose events are left as they came, or raise `ResponseFormatError`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ResponseFormatError(f"the answer is not what it should be: {error}") from error


def _wanted_keys(pdus: Iterable[Pdu]) -> list[KeyRequest]:
    """Each key that is wanted, with the latest time that it signed at."""
    times: dict[tuple[ServerName, KeyID], int] = {}
    for pdu in pdus:
        for name in signatures.wanted_keys(pdu):
            times[name] = max(times.get(name, 0), pdu.event.origin_server_ts)
    return [KeyRequest(*name, ts) for name, ts in times.items()]


def _signers(raw: Iterable[object]) -> list[KeyRequest]:
    """As `_wanted_keys`, of events that nobody has read yet; some more than have to sign."""
    times: dict[tuple[ServerName, KeyID], int] = {}
    for one in raw:
        try:
            signed = _signed(one)
        except msgspec.MsgspecError:
            continue  # whatever it is, it is no event
        promise = signed.content.join_authorised_via_users_server
        named = {signed.sender, signed.event_id, promise if isinstance(promise, str) else ""}
        for server in {ServerName(name.partition(":")[2]) for name in named}:
            for key_id in filter(signatures.is_event_key, signed.signatures.get(server, ())):
                name = (server, KeyID(key_id))
                times[name] = max(times.get(name, 0), signed.origin_server_ts)
    return [KeyRequest(*name, ts) for name, ts in times.items()]


def _signed(raw: object) -> _Signed:
    if isinstance(raw, msgspec.Raw):
        return msgspec.json.decode(raw, type=_Signed)
    return msgspec.convert(raw, _Signed)


def _believed(
    version: RoomVersion,
    raw: Iterable[object],
    room_id: RoomID | None,
    keys: Keys,
    seen: set[EventID],
) -> list[Event | Denied]:
    """Read and verify events; those that were seen are left out, good ones are seen then."""
    found: list[Event | Denied] = []
    for one in raw:
        pdu = _read(one, version)
        if pdu is None or pdu.event.event_id in seen or room_id not in {None, pdu.event.room_id}:
            continue
        event = signatures.verified(pdu, keys)
        found.append(event)
        if isinstance(event, Event):
            seen.add(event.event_id)
    return found


def _good(found: Sequence[Event | Denied]) -> list[Event]:
    good: dict[EventID, Event] = {}
    for event in found:
        if isinstance(event, Event):
            good.setdefault(event.event_id, event)
    refused = sum(isinstance(one, Denied) for one in found)
    if refused:
        log.info("events that are not signed as they must be", count=refused)
    return list(good.values())


def _read_all(version: RoomVersion, raw: Iterable[object], room_id: RoomID | None) -> list[Pdu]:
    pdus = [pdu for one in raw if (pdu := _read(one, version)) is not None]
    if room_id is not None:
        pdus = [pdu for pdu in pdus if pdu.event.room_id == room_id]
    if len({pdu.event.event_id for pdu in pdus}) < len(pdus):
        # With the right hash it is whole; with a wrong one, what a redaction would leave.
        pdus.sort(key=lambda pdu: not pdu.content_hash_matches)
    return pdus


def _read(raw: object, version: RoomVersion) -> Pdu | None:
    try:
        if isinstance(raw, msgspec.Raw):
            return events.parse_any(bytes(raw), version)
        return events.parse_object(raw, version) if isinstance(raw, dict) else None
    except (CanonicalJSONError, EventFormatError):
        return None


def _list(answer: JsonObject, name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise ResponseFormatError(f"{name} is not a list")
    return found


def _ids(answer: Mapping[str, Any], name: str) -> list[EventID]:
    return [
        EventID(one)
        for one in _list(dict(answer), name)
        if isinstance(one, str) and "\0" not in one
    ]
