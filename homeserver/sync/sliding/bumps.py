"""When somebody last said something in rooms: `bump_stamp`, by which clients sort them.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Common fields"
"""

from collections.abc import Iterable, Sequence

from homeserver.storage import history
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.sync.sliding.lines import Line
from homeserver.sync.timelines import end_of

TYPES = frozenset(
    {
        "m.room.create",
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)
_LOOKED_AT = 30
"""Events, the last ones, among which one is looked for."""


async def bump_stamps(conn: Connection, lines: Sequence[Line]) -> dict[RoomNid, int]:
    """The stamps of rooms, where they are not what they were: at most one query."""
    found = {line.room: line.due.match.room.pos for line in lines if not line.is_joined}
    for line in lines:
        stamp = _last(line.news.events) if line.is_joined else None
        if stamp is not None:
            found[line.room] = stamp
    # Where more happened than is shown, it may be among the rest.
    unknown = [ln for ln in lines if ln.room not in found and (ln.is_initial or ln.limited)]
    if unknown:
        spans = {line.room: (None, end_of(line.until)) for line in unknown}
        for room, events in (await history.pages(conn, spans, _LOOKED_AT)).items():
            stamp = _last(events)
            if stamp is None and events:
                stamp = _stamp(events[0])
            if stamp is not None:
                found[room] = stamp
    return found


def _last(events: Iterable[Placed]) -> int | None:
    stamps = [_stamp(event) for event in events if event.event.type in TYPES]
    return max(stamps, default=None)


def _stamp(event: Placed) -> int:
    # What came as history stands before the log begins.
    return max(0, (event.order or 0) >> ORDER_BITS)
