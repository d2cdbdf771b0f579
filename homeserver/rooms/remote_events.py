"""Events as other servers send them: asked for, read, and their signatures checked.

https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

import asyncio
import os
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import msgspec
import orjson

from federation import signatures
from federation.canonical_json import JsonObject
from federation.errors import HttpError, ResponseFormatError
from federation.events import Event, Pdu
from federation.identifiers import EventID, KeyID, RoomID, ServerName
from federation.net.client import Response
from federation.net.key_ring import KeyRequest
from federation.net.lists import Cutter
from federation.net.target import encode_target
from federation.net.transport import Limits
from federation.room_versions import RoomVersion
from homeserver.logs import get_logger
from homeserver.peers.peers import Peers
from homeserver.rooms.inspecting import KEYS_SECONDS, Inspection, Inspectors, good, read
from homeserver.rooms.stripped import as_stripped, few, stripped

log = get_logger(__name__)

_V1 = ("_matrix", "federation", "v1")
_V2 = ("_matrix", "federation", "v2")
_JOIN = Limits(total=600.0, body=512 * 1024 * 1024)
_LARGE = Limits(total=300.0, body=256 * 1024 * 1024)
_LARGE_AT_ONCE = 2
"""Large answers of one server that are taken at the same time."""
_PREVIEW_SECONDS = 10.0
"""How long whoever invites waits for the keys of those whose events show the room."""
_FEW = 20
"""Events that are read and verified at once, without a thread."""

_MOST_SHOWN = 50
"""Events of a room that are looked at of those that it is shown by."""


class _Joined(msgspec.Struct):
    """What is told beside lists of events, which are cut out: here they only have to be lists.

    https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
    """

    state: list[Any]
    auth_chain: list[Any]
    event: msgspec.Raw = msgspec.Raw(b"null")
    """The event that was sent, perhaps with one more signature."""
    members_omitted: bool = False
    servers_in_room: list[str] = []
    """Where members are omitted: of which servers they are."""


class _State(msgspec.Struct):
    pdus: list[Any]
    auth_chain: list[Any]


class _StateIds(msgspec.Struct):
    pdu_ids: list[Any]
    auth_chain_ids: list[Any]


class _Chain(msgspec.Struct):
    auth_chain: list[Any]


_Answer = TypeVar("_Answer")


class JoinAnswer(NamedTuple):
    """What a server tells whom it lets into a room. Of the events, those that are good."""

    event: Event | None
    """The event that was sent, with the signature of who let us in where that is wanted."""
    state: list[Event]
    auth_chain: list[Event]
    members_omitted: bool
    servers_in_room: list[str]


class _Question(NamedTuple):
    """A request that is answered by lists of events, all of one room."""

    method: str
    server: ServerName
    target: str
    version: RoomVersion
    room_id: RoomID
    content: JsonObject | None = None


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
        self._inspectors = Inspectors(self._pool, self._parts, peers.keys)
        self._large: WeakValueDictionary[ServerName, asyncio.Semaphore] = WeakValueDictionary()

    async def verified(
        self,
        version: RoomVersion,
        raw: Iterable[object],
        room_id: RoomID | None,
        sources: Iterable[ServerName] = (),
    ) -> list[Event]:
        """Those of the events that are well formed and signed by whom they must be.

        Many are read and verified in pieces on all cores, so that no more than the events
        themselves is ever held.

        Args:
            version: of the room.
            raw: as they came, in JSON.
            room_id: of all of them; others are left out. `None`: of whatever room.
            sources: servers that may have keys of those that cannot be reached.

        """
        listed = list(raw)
        if len(listed) <= _FEW:
            return await self.checked(_read_all(version, listed, room_id), sources)
        async with self._inspecting(version, room_id, sources) as inspection:
            await inspection.add("", listed)
            return (await inspection.events())[""]

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
        deadline: float = KEYS_SECONDS,
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
        return good(found)

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
        min_depth: int,
    ) -> list[Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid"""
        body = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": min_depth,
        }
        target = encode_target(*_V1, "get_missing_events", room_id)
        answer = await self._peers.client.post_json(server, target, body)
        return _list(answer, "events")[:limit]

    async def state_ids(
        self, server: ServerName, room_id: RoomID, event_id: EventID
    ) -> tuple[list[EventID], list[EventID]]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid"""
        target = encode_target(*_V1, "state_ids", room_id, query=[("event_id", event_id)])
        answer = decoded((await self._get_large(server, target)).body, _StateIds)
        return _ids(answer.pdu_ids), _ids(answer.auth_chain_ids)

    async def send_join(
        self, server: ServerName, room_id: RoomID, event: Event, *, is_state_wanted: bool
    ) -> JoinAnswer:
        """Send a join, in version 2, or as older servers have it; of the state that is answered.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
        """
        path = ("send_join", room_id, event.event_id)
        target = encode_target(*_V2, *path, query=[("omit_members", "true")])
        content = orjson.loads(event.json)
        question = _Question("PUT", server, target, event.version, room_id, content)
        names = ("state", "auth_chain")
        async with self._inspecting(event.version, room_id, [server]) as inspection:
            inspect = inspection.add if is_state_wanted else _pass_over
            try:
                told = await self._listed(question, names, _Joined, inspect, _JOIN)
            except HttpError as error:
                if not is_unknown_endpoint(error):
                    raise
                # COMPAT(servers before v1.0) the answer is a pair of status and body.
                question = question._replace(target=encode_target(*_V1, *path))
                pair, depth = tuple[int, _Joined], 2
                told = (await self._listed(question, names, pair, inspect, _JOIN, depth))[1]
            found = await inspection.events()
        signed = await self.verified(event.version, [bytes(told.event)], room_id, [server])
        return JoinAnswer(
            signed[0] if signed else None,
            found.get("state", []),
            found.get("auth_chain", []),
            told.members_omitted,
            told.servers_in_room,
        )

    async def state(
        self, server: ServerName, room_id: RoomID, version: RoomVersion, event_id: EventID
    ) -> list[Event]:
        """The state before an event and its auth chain, as far as those events are good.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
        """
        target = encode_target(*_V1, "state", room_id, query=[("event_id", event_id)])
        question = _Question("GET", server, target, version, room_id)
        return await self._get_listed(question, ("pdus", "auth_chain"), _State)

    async def event(self, server: ServerName, event_id: EventID) -> list[Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid"""
        answer = await self._peers.client.get_json(server, encode_target(*_V1, "event", event_id))
        return _list(answer, "pdus")[:1]

    async def event_auth(
        self, server: ServerName, room_id: RoomID, version: RoomVersion, event_id: EventID
    ) -> list[Event]:
        """The auth chain of an event, as far as those events are good.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
        """
        target = encode_target(*_V1, "event_auth", room_id, event_id)
        question = _Question("GET", server, target, version, room_id)
        return await self._get_listed(question, ("auth_chain",), _Chain)

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
        async with self._turn_of(server):
            return await self._peers.client.request("GET", server, target, limits=_LARGE)

    async def _get_listed(
        self, question: _Question, names: Sequence[str], kind: type[_Answer]
    ) -> list[Event]:
        """The good ones of all events that are answered; in turn, as `_get_large`."""
        server, version, room_id = question.server, question.version, question.room_id
        async with (
            self._turn_of(server),
            self._inspecting(version, room_id, [server]) as inspection,
        ):
            await self._listed(question, names, kind, inspection.add, _LARGE)
            found = await inspection.events()
        return list({event.event_id: event for name in names for event in found[name]}.values())

    async def _listed(
        self,
        question: _Question,
        names: Sequence[str],
        kind: type[_Answer],
        inspect: Callable[[str, list[bytes]], Awaitable[None]],
        limits: Limits,
        depth: int = 1,
    ) -> _Answer:
        """Ask, and have the events of these lists inspected as they come in.

        Answers what is told beside them. `depth` is that of the fields, as a `Cutter` counts.
        """
        method, server, target, _, _, content = question
        cutter = Cutter(names, depth=depth)
        client = self._peers.client
        async with client.stream(method, server, target, content, limits=limits) as reply:
            async for piece in reply.chunks:
                for name, values in cutter.feed(piece).items():
                    await inspect(name, values)
        return decoded(cutter.close(), kind)

    @asynccontextmanager
    async def _inspecting(
        self, version: RoomVersion, room_id: RoomID | None, sources: Iterable[ServerName]
    ) -> AsyncIterator[Inspection]:
        inspection = Inspection(self._inspectors, version, room_id, sources)
        try:
            yield inspection
        finally:
            await inspection.close()

    def _turn_of(self, server: ServerName) -> asyncio.Semaphore:
        return self._large.setdefault(server, asyncio.Semaphore(_LARGE_AT_ONCE))

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


async def _pass_over(_: str, __: list[bytes]) -> None:
    """What nobody wants to know."""


def decoded(body: bytes, kind: type[_Answer]) -> _Answer:
    """An answer of that form, or raise `ResponseFormatError`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ResponseFormatError(f"the answer is not what it should be: {error}") from error


def is_unknown_endpoint(error: HttpError) -> bool:
    """Whether the other server does not know what it was asked, rather than refuse it."""
    if error.errcode == "M_UNRECOGNIZED":
        return error.status in {400, 404, 405}
    return error.status in {404, 405} and not error.errcode


def _wanted_keys(pdus: Iterable[Pdu]) -> list[KeyRequest]:
    """Each key that is wanted, with the latest time that it signed at."""
    times: dict[tuple[ServerName, KeyID], int] = {}
    for pdu in pdus:
        for name in signatures.wanted_keys(pdu):
            times[name] = max(times.get(name, 0), pdu.event.origin_server_ts)
    return [KeyRequest(*name, ts) for name, ts in times.items()]


def _read_all(version: RoomVersion, raw: Iterable[object], room_id: RoomID | None) -> list[Pdu]:
    pdus = [pdu for one in raw if (pdu := read(one, version)) is not None]
    if room_id is not None:
        pdus = [pdu for pdu in pdus if pdu.event.room_id == room_id]
    if len({pdu.event.event_id for pdu in pdus}) < len(pdus):
        # With the right hash it is whole; with a wrong one, what a redaction would leave.
        pdus.sort(key=lambda pdu: not pdu.content_hash_matches)
    return pdus


def _list(answer: JsonObject, name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise ResponseFormatError(f"{name} is not a list")
    return found


def _ids(listed: Iterable[object]) -> list[EventID]:
    """Those that may be the IDs of events."""
    return [EventID(one) for one in listed if isinstance(one, str) and "\0" not in one]
