"""Events without a place: of states and auth chains of which only the content is known.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Sequence

from federation.events import Event
from federation.graph import in_causal_order
from federation.identifiers import EventID
from federation.verdict import Evidence, judge
from homeserver.rooms.interning import intern
from homeserver.rooms.judging import FATES
from homeserver.storage import received
from homeserver.storage.batch import EventRow, Fate
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection


async def store(conn: Connection, numbers: Numbers, room: RoomNid, events: Sequence[Event]) -> None:
    """Judge events by what they cite, and store those that are not here yet.

    Their signatures are good. An event that cites what is neither here nor among them is left out:
    nobody can say yet whether it is good, and it may come again.
    """
    ordered = in_causal_order(events)
    cited = {i for event in ordered for i in (event.event_id, *event.auth_events)}
    known = await received.by_ids(conn, cited | _creates(ordered))
    fates = {event_id: stored.fate for event_id, stored in known.items()}
    at_hand = {event_id: stored.event for event_id, stored in known.items()}
    at_hand |= {event.event_id: event for event in ordered}
    new = [event for event in ordered if event.event_id not in known]
    if not new:
        return
    nids = await intern(conn, numbers, new)
    rows = []
    for event in new:
        if not {*event.auth_events, *_creates([event])} <= fates.keys():
            continue
        auth = [at_hand[i] for i in event.auth_events]
        evidence = Evidence(
            auth_events=auth,
            create=next((at_hand[i] for i in _creates([event]) if i in at_hand), None),
            rejected={i for i in event.auth_events if fates[i] is Fate.REJECTED},
        )
        fate = FATES[judge(event, evidence).outcome]
        fates[event.event_id] = fate
        rows.append(
            EventRow(
                room=room,
                event=nids.events[event.event_id],
                key=nids.keys.get((event.type, event.state_key or "")) if event.is_state else None,
                group=None,
                ts=event.origin_server_ts,
                depth=event.depth,
                fate=fate,
                member=None,
                auth=[nids.events[i] for i in event.auth_events],
                json=event.json,
            )
        )
    await received.add_outliers(conn, rows)


def _creates(events: Sequence[Event]) -> set[EventID]:
    """The create events that room IDs imply."""
    return {
        EventID("$" + event.room_id[1:])
        for event in events
        if event.version.room_id_is_create_id and event.type != "m.room.create"
    }
