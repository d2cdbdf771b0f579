"""Who was put out of rooms with all that they said, and how far that is done.

https://github.com/matrix-org/matrix-spec-proposals/pull/4293
"""

from collections.abc import Collection
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.batch import Batch
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Clearing(NamedTuple):
    """One that is ours to do."""

    event: EventNid
    """The membership that asks for it."""
    room: RoomNid
    user: UserNid
    user_id: UserID
    since: int | None
    """The place behind which it begins; `None`: not looked up yet."""
    reached: int | None
    """The place up to which it is done."""


class Part(NamedTuple):
    """A stretch of a room's events."""

    last: int | None
    """The place of the last one; `None`: there are no more."""
    events: list[EventNid]
    """Those among them that name somebody as their sender."""


class Active(NamedTuple):
    """Somebody's clearing that counts."""

    event: EventNid
    since: int | None


async def claim(conn: Connection, now: int, until: int) -> Clearing | None:
    """Be the one who does what is to be done next."""
    row = await conn.fetchrow(
        """
        UPDATE clearings c SET claimed_until = $2
          FROM (SELECT event_nid FROM clearings
                 WHERE NOT done AND claimed_until <= $1
                 ORDER BY event_nid LIMIT 1
                   FOR UPDATE SKIP LOCKED) next, users u
         WHERE c.event_nid = next.event_nid AND u.user_nid = c.user_nid
        RETURNING c.event_nid, c.room_nid, c.user_nid, u.user_id, c.since, c.reached
        """,
        now,
        until,
    )
    return Clearing(*row) if row else None


async def counts(conn: Connection, event: EventNid) -> bool:
    """Whether the event that asks for it is the membership, now."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT FROM clearings c
                         JOIN memberships m ON m.room_nid = c.room_nid AND m.user_nid = c.user_nid
                        WHERE c.event_nid = $1 AND m.event_nid = c.event_nid)
        """,
        event,
    )
    return found


async def forget(conn: Connection, event: EventNid, before: int) -> None:
    """Forget one that does not count, if it was noted before a time: its event may yet come."""
    await conn.execute(
        "DELETE FROM clearings WHERE event_nid = $1 AND noted_ts < $2", event, before
    )


async def begin(conn: Connection, event: EventNid, since: int) -> None:
    """Note behind which place it begins."""
    await conn.execute(
        "UPDATE clearings SET since = $2, reached = $2 WHERE event_nid = $1", event, since
    )


async def advance(conn: Connection, event: EventNid, reached: int | None, until: int) -> None:
    """Note up to which place it is done; `None`: all of it."""
    await conn.execute(
        """
        UPDATE clearings
           SET reached = coalesce($2, reached), done = $2::bigint IS NULL, claimed_until = $3
         WHERE event_nid = $1
        """,
        event,
        reached,
        until,
    )


async def part(conn: Connection, room: RoomNid, after: int, sender: UserID, limit: int) -> Part:
    """The next events of a room, and which of them may be somebody's and say something still."""
    row = await conn.fetchrow(
        """
        SELECT max(e.room_order), array_agg(e.event_nid) FILTER (
               WHERE e.redacted_by IS NULL AND position($3::bytea IN e.json) > 0)
          FROM (SELECT room_order, event_nid, redacted_by, json FROM events
                 WHERE room_nid = $1 AND room_order > $2
                 ORDER BY room_order LIMIT $4) e
        """,
        room,
        after,
        f'"sender":"{sender}"'.encode(),
        limit,
    )
    return Part(row[0], row[1] or [])


async def active(conn: Connection, room: RoomNid, users: Collection[str]) -> dict[UserID, Active]:
    """Those of the users who are put out of a room with all that they said."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, c.event_nid, c.since
          FROM users u
          JOIN clearings c ON c.room_nid = $1 AND c.user_nid = u.user_nid
          JOIN memberships m ON m.room_nid = c.room_nid AND m.user_nid = c.user_nid
         WHERE u.user_id = ANY ($2) AND m.event_nid = c.event_nid
        """,
        room,
        list(users),
    )
    return {UserID(row[0]): Active(*row[1:]) for row in rows}


async def note_clearings(conn: Connection, batch: Batch, now: int) -> None:
    """Note memberships that ask for it, before their batch is written: none is lost."""
    if not batch.clearings:
        return
    await conn.execute(
        """
        INSERT INTO clearings (event_nid, room_nid, user_nid, noted_ts)
        SELECT c.*, $4 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS c
        ON CONFLICT DO NOTHING
        """,
        [row.event for row in batch.clearings],
        [row.room for row in batch.clearings],
        [row.user for row in batch.clearings],
        now,
    )
