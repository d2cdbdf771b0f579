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

_FEW = 50
"""Events that are judged at once, without a thread."""


async def store(conn: Connection, numbers: Numbers, room: RoomNid, events: Sequence[Event]) -> None:
    """Judge events by what they cite, and store those that are not here yet.

    Their signatures are good. An event that cites what is neither here nor among them is left out:
    nobody can say yet whether it is good, and it may come again.
    """
    cited = {i for event in events for i in (event.event_id, *event.auth_events)}
    known = await received.by_ids(conn, cited | _creates(events))
    new = [event for event in events if event.event_id not in known]
    if not new:
        return
    nids = await intern(conn, numbers, new)
    work = (room, new, known, nids)
    rows = _rows(*work) if len(new) <= _FEW else await asyncio.to_thread(_rows, *work)
    await received.add_outliers(conn, rows)


def _rows(
    room: RoomNid, new: Sequence[Event], known: Mapping[EventID, Stored], nids: Nids
) -> list[EventRow]:
    """What is stored of the events that can be judged."""
    fates = {event_id: stored.fate for event_id, stored in known.items()}
    at_hand = {event_id: stored.event for event_id, stored in known.items()}
    at_hand |= {event.event_id: event for event in new}
    rows = []
    for event in in_causal_order(new):
        if {*event.auth_events, *_creates([event])} <= fates.keys():
            fate = FATES[judge(event, _evidence(event, at_hand, fates)).outcome]
            fates[event.event_id] = fate
            rows.append(_row(room, event, fate, nids))
    return rows


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
