"""Events as clients see them: without what servers add for each other, with what is around them.

https://spec.matrix.org/v1.19/client-server-api/#room-event-format
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.events import STICKY, Event, redacted
from federation.identifiers import ServerName, domain_of
from federation.sticky import sticks_until
from homeserver.rooms.bundling import Bundling
from homeserver.rooms.moments import Moments
from homeserver.rooms.standings import Reader, Standing, Standings
from homeserver.rooms.visibility import is_own_membership
from homeserver.storage import history
from homeserver.storage.events import get_events
from homeserver.storage.history import Placed, Sent
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.raw_json import RawJson
from homeserver.storage.state_groups import EventNid

__all__ = ["Around", "Reader", "Showing", "client_event", "shown"]


STICKS_FOR = "msc4354_sticky_duration_ttl_ms"
"""In `unsigned`: for how many milliseconds more an event sticks."""


def client_event(event: Event) -> JsonObject:
    """An event without `unsigned`; its `content` is the event's own, which nobody may change."""
    found: JsonObject = {
        "type": event.type,
        "content": event.content,
        "sender": event.sender,
        "event_id": event.event_id,
        "room_id": event.room_id,
        "origin_server_ts": event.origin_server_ts,
    }
    if event.state_key is not None:
        found["state_key"] = event.state_key
    if event.type == "m.room.redaction" and event.redacts is not None:
        # Room version 11 moved it: servers give it in both places, to clients old and new.
        found["redacts"] = event.redacts
        found["content"] = {**event.content, "redacts": event.redacts}
    sticky = event.sticky
    if sticky is not None:
        found[STICKY] = sticky
    return found


@dataclass(frozen=True, slots=True)
class Around:
    """What is known about some events beside themselves, as far as it goes into `unsigned`."""

    replaced: Mapping[EventNid, Event]
    """By the number of a state event: the entry that it took the place of."""
    redactions: Mapping[EventNid, Event]
    """By the number of a redacted event: what redacted it."""
    memberships: Mapping[EventNid, str]
    """The reader's at the event."""
    sent: Mapping[EventNid, Sent]
    """How the reader sent an event."""


def shown(placed: Placed, around: Around, now: int) -> JsonObject:
    """An event as the client gets it; `now` in milliseconds since the epoch."""
    event = placed.event
    unsigned: JsonObject = {"age": now - event.origin_server_ts}
    old = around.replaced.get(placed.nid)
    if old is not None:
        unsigned["replaces_state"] = old.event_id
        unsigned["prev_content"] = old.content
        # COMPAT(Element): read where a membership changes, though only Synapse documents it.
        unsigned["prev_sender"] = old.sender
    redaction = around.redactions.get(placed.nid)
    if redaction is not None:
        because = client_event(redaction)
        because["unsigned"] = {"age": now - redaction.origin_server_ts}
        unsigned["redacted_because"] = because
    membership = around.memberships.get(placed.nid)
    if membership is not None:
        unsigned["membership"] = membership
        # COMPAT(clients from before v1.11)
        unsigned["io.element.msc4115.membership"] = membership
    sent = around.sent.get(placed.nid)
    if sent is not None and sent.txn_id is not None:
        unsigned["transaction_id"] = sent.txn_id
    if sent is not None and sent.delay_id is not None:
        unsigned["org.matrix.msc4140.delay_id"] = sent.delay_id
    found = client_event(event)
    found["unsigned"] = unsigned
    until = sticks_until(event, now)
    if until is not None and until > now:
        unsigned[STICKS_FOR] = until - now
    return found


def _without(placed: Placed, around: Around, erased: Collection[str]) -> Placed:
    """The event without what somebody said who wanted to be erased, but for who was there."""
    if placed.event.sender not in erased or around.memberships.get(placed.nid) == "join":
        return placed
    return placed._replace(event=redacted(placed.event))


Erased = Callable[[Connection], Awaitable[Collection[str]]]
"""The IDs of those whose messages not everybody is shown."""


class Showing:
    """Shows events to readers.

    Args:
        server: this one.
        standings: of readers.
        moments: of events.
        bundling: gathers what is related to events.
        now: milliseconds since the epoch.
        erased: whose messages not everybody is shown.

    """

    def __init__(
        self,
        server: ServerName,
        standings: Standings,
        moments: Moments,
        bundling: Bundling,
        now: Callable[[], int],
        erased: Erased,
    ) -> None:
        self._erased = erased
        self._bundling = bundling
        self._server = server
        self._standings = standings
        self._moments = moments
        self._now = now

    async def show(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        standings: Mapping[RoomNid, Standing] | None = None,
    ) -> list[JsonObject]:
        """The events, of any rooms, as the reader's client gets them.

        Args:
            conn: for what has to be looked up; nothing is, where `standings` are given, for
                messages of people of this server, sent while the reader was in the room.
            reader: who may see them, which was checked before.
            events: in the order in which they are wanted.
            standings: the reader's in these rooms, if they are known already.

        """
        if not events:
            return []
        around = Around(
            await self._replaced(conn, events),
            await self._redactions(conn, events),
            await self._memberships(conn, reader, events, standings),
            await self._sent(conn, reader, events),
        )
        now, erased = self._now(), await self._erased(conn)
        return [shown(_without(e, around, erased) if erased else e, around, now) for e in events]

    async def show_bundled(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        standings: Mapping[RoomNid, Standing] | None = None,
    ) -> list[JsonObject]:
        """As `show`, with what is related to the events."""
        found = await self.show(conn, reader, events, standings)
        await self.add_bundles(conn, reader, list(zip(events, found, strict=True)))
        return found

    async def add_bundles(
        self,
        conn: Connection,
        reader: Reader,
        shown: Sequence[tuple[Placed, JsonObject]],
        *,
        with_threads: bool = True,
    ) -> None:
        """Add what is related to some events to them, as they are shown.

        The last event of a thread has something related to it too, but no thread.
        """

        async def plain(edits: Sequence[Placed]) -> list[JsonObject]:
            return await self.show(conn, reader, edits)

        async def latest(last: Sequence[Placed]) -> list[JsonObject]:
            found = await self.show(conn, reader, last)
            pairs = list(zip(last, found, strict=True))
            await self.add_bundles(conn, reader, pairs, with_threads=False)
            return found

        events = [event for event, _ in shown]
        bundles = await self._bundling.of(
            conn, reader, events, plain, latest if with_threads else None
        )
        for event, one in shown:
            if event.nid in bundles:
                one["unsigned"]["m.relations"] = bundles[event.nid]

    async def show_one(self, conn: Connection, reader: Reader, event: Placed) -> JsonObject:
        """One event, as the reader's client gets it, with what is related to it."""
        return (await self.show_bundled(conn, reader, [event]))[0]

    def show_state(self, events: Iterable[Placed]) -> list[JsonObject]:
        """Entries of a state, with nothing around them but their age."""
        now = self._now()
        return [shown(event, _NOTHING, now) for event in events]

    def write_state(self, events: Iterable[Placed]) -> list[RawJson]:
        """Entries of a state, with nothing around them, nor the room that they are of; written."""
        found = []
        for event in events:
            one = client_event(event.event)
            del one["room_id"]
            strict = event.event.version.strict_json
            found.append(RawJson(canonical_json.encode_to_keep(one, strict=strict)))
        return found

    async def _replaced(
        self, conn: Connection, events: Iterable[Placed]
    ) -> Mapping[EventNid, Event]:
        names = {e.nid: e.replaces for e in events if e.replaces is not None}
        # Of history the log does not tell what changed; the state before each event does.
        past = [e for e in events if e.key is not None and e.order is not None and e.pos is None]
        if past:
            names |= await self._moments.replaced(conn, past)
        if not names:
            return {}
        old = await get_events(conn, set(names.values()))
        return {nid: old[name] for nid, name in names.items() if name in old}

    async def _redactions(
        self, conn: Connection, events: Iterable[Placed]
    ) -> Mapping[EventNid, Event]:
        names = {e.nid: e.redacted_by for e in events if e.redacted_by is not None}
        if not names:
            return {}
        found = await get_events(conn, set(names.values()))
        return {nid: found[name] for nid, name in names.items() if name in found}

    async def _memberships(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        standings: Mapping[RoomNid, Standing] | None,
    ) -> Mapping[EventNid, str]:
        """What the reader was at each event, "including any changes caused by the event"."""
        if standings is None:
            rooms = {event.room for event in events}
            standings = await self._standings.read(conn, reader, rooms)
        found: dict[EventNid, str] = {}
        unsure = []
        for event in events:
            if is_own_membership(event, reader):
                found[event.nid] = event.event.membership or "leave"
            elif self._is_sure(event, standings.get(event.room)):
                found[event.nid] = "join"
            else:
                unsure.append(event)
        return found | await self._memberships_then(conn, reader, unsure) if unsure else found

    def _is_sure(self, event: Placed, standing: Standing | None) -> bool:
        """As in `Visibility`: what our own server sent, it sent to those it knew."""
        local = domain_of(event.event.sender) == self._server
        return local and standing is not None and standing.joined_before(event)

    async def _memberships_then(
        self, conn: Connection, reader: Reader, events: Sequence[Placed]
    ) -> dict[EventNid, str]:
        member = ("m.room.member", reader.user_id)
        entries = await self._moments.entries(conn, [member], events)
        words = await self._moments.words(conn, {nid for (nid,) in entries.values() if nid})
        # "If the user had yet to join the room at the time of the event (i.e, they have no
        # m.room.member state), this property is set to leave."
        return {nid: (entry and words[entry]) or "leave" for nid, (entry,) in entries.items()}

    async def _sent(
        self, conn: Connection, reader: Reader, events: Iterable[Placed]
    ) -> Mapping[EventNid, Sent]:
        # "This will only be present if the client being given the event is the same one which sent
        # it." The delay ID is for all clients of the sender.
        own = [e.nid for e in events if e.event.sender == reader.user_id]
        return await history.sent(conn, reader.user, reader.device, own) if own else {}


_NOTHING = Around({}, {}, {}, {})
