"""What people of this server reported.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

from typing import NamedTuple

from federation.identifiers import EventID, RoomID, UserID
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
    sender: UserNid | None = None
    """Of the event."""


async def add(conn: Connection, report: Report, most: int, since: int) -> bool:
    """Store a report; false if its author has made `most` since a time."""
    made = await conn.fetchval(
        """
        INSERT INTO reports (user_nid, reason, ts, room_nid, event_nid, reported_nid,
                             sender_nid)
        SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE (SELECT count(*) FROM reports WHERE user_nid = $1 AND ts > $9) < $8
        RETURNING report_nid
        """,
        *report,
        most,
        since,
    )
    return made is not None


class Wanted(NamedTuple):
    """Which reports of events are looked for."""

    reporter: str | None = None
    """Text in the ID of who reports."""
    room: str | None = None
    """Text in the ID of the room."""
    sender: str | None = None
    """The ID of who sent the event."""
    oldest_first: bool = False


class Reported(NamedTuple):
    """A report of an event, in words."""

    report: int
    ts: int
    reporter: UserID
    reason: str
    room: RoomNid
    room_id: RoomID
    event_id: EventID
    sender: UserID | None
    """`None`: reported before that was noted."""
    version: str | None
    json: bytes | None
    """The event as it is now; `None`: it was deleted."""


async def page(
    conn: Connection, wanted: Wanted, start: int, limit: int
) -> tuple[list[Reported], int]:
    """Some of the reports that are looked for, and how many there are in all."""
    direction = "ASC" if wanted.oldest_first else "DESC"
    rows = await conn.fetch(
        f"""
        WITH found AS MATERIALIZED (
            SELECT p.report_nid, p.ts, u.user_id, p.reason, p.room_nid, r.room_id, p.event_nid,
                   s.user_id AS sender, r.version
              FROM reports p
              JOIN users u ON u.user_nid = p.user_nid
              JOIN rooms r ON r.room_nid = p.room_nid
              LEFT JOIN users s ON s.user_nid = p.sender_nid
             WHERE p.event_nid IS NOT NULL
               AND ($1::text IS NULL OR position($1 IN u.user_id) > 0)
               AND ($2::text IS NULL OR position($2 IN r.room_id) > 0)
               AND ($3::text IS NULL OR s.user_id = $3)
        )
        SELECT (SELECT count(*) FROM found), f.report_nid, f.ts, f.user_id, f.reason, f.room_nid,
               f.room_id, i.event_id, f.sender, f.version, NULL
          FROM (SELECT 1) one
          LEFT JOIN LATERAL (
               SELECT * FROM found ORDER BY report_nid {direction} OFFSET $4 LIMIT $5
               ) f ON true
          LEFT JOIN event_ids i ON i.event_nid = f.event_nid
         ORDER BY f.report_nid {direction}
        """,  # noqa: S608 - one of two words
        wanted.reporter,
        wanted.room,
        wanted.sender,
        start,
        limit,
    )
    return [Reported(*row[1:]) for row in rows if row[1] is not None], rows[0][0]


async def find(conn: Connection, report: int) -> Reported | None:
    """One report of an event, with the event."""
    row = await conn.fetchrow(
        """
        SELECT p.report_nid, p.ts, u.user_id, p.reason, p.room_nid, r.room_id, i.event_id,
               s.user_id, r.version, e.json
          FROM reports p
          JOIN users u ON u.user_nid = p.user_nid
          JOIN rooms r ON r.room_nid = p.room_nid
          JOIN event_ids i ON i.event_nid = p.event_nid
          LEFT JOIN users s ON s.user_nid = p.sender_nid
          LEFT JOIN events e ON e.event_nid = p.event_nid
         WHERE p.report_nid = $1
        """,
        report,
    )
    return Reported(*row) if row else None


async def remove(conn: Connection, report: int) -> bool:
    """Forget a report of an event; false if there is none."""
    tag = await conn.execute(
        "DELETE FROM reports WHERE report_nid = $1 AND event_nid IS NOT NULL", report
    )
    return tag == "DELETE 1"
