"""Events without a place: of states and auth chains of which only the content is known.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import asyncio
from collections.abc import Mapping, Sequence

from federation.events import Event
from federation.graph import in_causal_order
from federation.identifiers import EventID
from federation.verdict import Evidence, judge
from homeserver.rooms.interning import Nids, intern
from homeserver.rooms.judging import FATES
from homeserver.storage import received
from homeserver.storage.batch import EventRow, Fate
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import EventNid

_FEW = 50
"""Events that are judged at once, without a thread."""
_BATCH = 1000
"""Events that are written together: more would hold up everything else while they are encoded."""


class _AtHand:
    """What is known of events while others that cite them are judged."""

    def __init__(self, known: Mapping[EventID, Stored]) -> None:
        self.fates = {event_id: stored.fate for event_id, stored in known.items()}
        self.events = {event_id: stored.event for event_id, stored in known.items()}

    def judged(self, event: Event) -> Fate | None:
        """What becomes of an event; `None` if it cites what is not at hand."""
        if not {*event.auth_events, *_creates([event])} <= self.fates.keys():
            return None
        fate = FATES[judge(event, _evidence(event, self.events, self.fates)).outcome]
        self.fates[event.event_id] = fate
        self.events[event.event_id] = event
        return fate


async def store(conn: Connection, numbers: Numbers, room: RoomNid, events: Sequence[Event]) -> None:
    """Judge events by what they cite, and store those that are not here yet.

    Their signatures are good; `conn` is in no transaction. An event that cites what is neither
    here nor among them is left out: nobody can say yet whether it is good, and it may come again.
    """
    here = await received.places(conn, [event.event_id for event in events])
    new = [event for event in events if event.event_id not in here]
    if not new:
        return
    cited = {i for event in new for i in event.auth_events} | _creates(new)
    known = await received.by_ids(conn, cited - {event.event_id for event in new})
    if len(new) <= _FEW:
        judged = _judged(new, known)
    else:
        judged = await asyncio.to_thread(_judged, new, known)
    for start in range(0, len(judged), _BATCH):
        batch = judged[start : start + _BATCH]
        nids = await intern(conn, numbers, [event for event, _ in batch])
        await received.copy_outliers(conn, [_row(room, *one, nids) for one in batch])


async def judged_again(
    conn: Connection, outliers: Sequence[Stored], turned: Mapping[EventNid, Fate]
) -> dict[EventNid, Fate]:
    """What becomes of outliers when other events, on which they rest, turn out otherwise."""
    events = [one.event for one in outliers]
    cited = {i for event in events for i in event.auth_events} | _creates(events)
    known = await received.by_ids(conn, cited - {event.event_id for event in events})
    fates = dict(_judged(events, {
        i: stored._replace(fate=turned.get(stored.nid, stored.fate))
        for i, stored in known.items()
    }))  # fmt: skip
    return {
        one.nid: fates[one.event]
        for one in outliers
        if fates.get(one.event, one.fate) is not one.fate
    }


def _judged(new: Sequence[Event], known: Mapping[EventID, Stored]) -> list[tuple[Event, Fate]]:
    """The events that can be judged, in causal order, with what becomes of them."""
    at_hand = _AtHand(known)
    ordered = in_causal_order(new)
    return [(event, fate) for event in ordered if (fate := at_hand.judged(event)) is not None]


def _evidence(
    event: Event, at_hand: Mapping[EventID, Event], fates: Mapping[EventID, Fate]
) -> Evidence:
    return Evidence(
        auth_events=[at_hand[i] for i in event.auth_events],
        create=next((at_hand[i] for i in _creates([event]) if i in at_hand), None),
        rejected={i for i in event.auth_events if fates[i] is Fate.REJECTED},
    )


def _row(room: RoomNid, event: Event, fate: Fate, nids: Nids) -> EventRow:
    return EventRow(
        room=room,
        event=nids.events[event.event_id],
        key=nids.keys[(event.type, event.state_key or "")] if event.is_state else None,
        group=None,
        ts=event.origin_server_ts,
        depth=event.depth,
        fate=fate,
        member=None,
        auth=[nids.events[i] for i in event.auth_events],
        json=event.json,
    )


def _creates(events: Sequence[Event]) -> set[EventID]:
    """The create events that room IDs imply."""
    return {
        EventID("$" + event.room_id[1:])
        for event in events
        if event.version.room_id_is_create_id and event.type != "m.room.create"
    }
