"""What people of this server reported.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from typing import NamedTuple

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Report(NamedTuple):
    """A room, an event with its room, or a user; and why."""

    user: UserNid
    """Who reports."""
    reason: str
    ts: int
    """Milliseconds since the epoch."""
    room: RoomNid | None = None
    event: EventNid | None = None
    reported: UserNid | None = None


async def add(conn: Connection, report: Report, most: int, since: int) -> bool:
    """Store a report; false if its author has made `most` since a time."""
    made = await conn.fetchval(
        """
        INSERT INTO reports (user_nid, reason, ts, room_nid, event_nid, reported_nid)
        SELECT $1, $2, $3, $4, $5, $6
         WHERE (SELECT count(*) FROM reports WHERE user_nid = $1 AND ts > $8) < $7
        RETURNING report_nid
        """,
        *report,
        most,
        since,
    )
    return made is not None
