"""Notifications on their way to push gateways.

Whoever removes rows takes the pusher's own row first, as whoever deletes the pusher does.

https://spec.matrix.org/v1.19/push-gateway-api/#homeserver-behaviour
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from federation.identifiers import EventID, RoomID
from homeserver.storage.batch import Fate, Membership
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.pushers import PusherNid
from homeserver.storage.state_groups import EventNid


class Notice(NamedTuple):
    """Something that all pushers of a user are to tell."""

    user: UserNid
    pos: int
    room: RoomNid | None = None
    event: EventNid | None = None
    """`None`: only how much is unread may have changed."""
    tweaks: bytes | None = None
    """JSON."""


class Waiting(NamedTuple):
    """The first in the queue of a pusher."""

    pos: int
    room: RoomNid | None
    event: EventNid | None
    tweaks: bytes | None
    is_read: bool
    """Whether its user has read the event meanwhile."""


class Subject(NamedTuple):
    """An event that somebody may be notified of."""

    event: EventNid
    event_id: EventID
    room: RoomNid
    room_id: RoomID
    json: bytes
    flags: int
    """See `unread.Flag`."""
    thread: EventNid | None = None
    """The root of the thread that it is in."""


async def members(
    conn: Connection, rooms: Collection[RoomNid]
) -> dict[RoomNid, dict[UserNid, int]]:
    """Who of those with pushers is in each of the rooms, and since which position."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.user_nid, m.pos
          FROM memberships m
         WHERE m.room_nid = ANY ($1) AND m.membership = $2
           AND m.user_nid IN (SELECT user_nid FROM pushers WHERE enabled)
        """,
        list(rooms),
        Membership.JOIN,
    )
    found: dict[RoomNid, dict[UserNid, int]] = {room: {} for room in rooms}
    for room, user, pos in rows:
        found[room][user] = pos
    return found


async def subjects(conn: Connection, events: Iterable[EventNid]) -> dict[EventNid, Subject]:
    """Those of the events that were accepted and not redacted."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid, i.event_id, e.room_nid, r.room_id, e.json, coalesce(n.flags, 0),
               n.thread_nid
          FROM events e
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
          LEFT JOIN notable n ON n.room_nid = e.room_nid AND n.room_order = e.room_order
         WHERE e.event_nid = ANY ($1) AND e.fate = $2 AND e.redacted_by IS NULL
        """,
        list(events),
        Fate.ACCEPTED,
    )
    return {EventNid(row[0]): Subject(*row) for row in rows}


async def invitations(
    conn: Connection, pairs: Collection[tuple[RoomNid, UserNid]]
) -> dict[tuple[RoomNid, UserNid], Subject]:
    """Those of the rooms and users where an invitation into a room that we are not in stands."""
    rows = await conn.fetch(
        """
        SELECT v.room_nid, v.user_nid, m.event_nid, i.event_id, r.room_id, v.json
          FROM unnest($1::bigint[], $2::bigint[]) AS w (room_nid, user_nid)
          JOIN invites v ON v.room_nid = w.room_nid AND v.user_nid = w.user_nid
          JOIN memberships m ON m.room_nid = v.room_nid AND m.user_nid = v.user_nid
          JOIN event_ids i ON i.event_nid = m.event_nid
          JOIN rooms r ON r.room_nid = v.room_nid
         WHERE m.membership = $3
        """,
        [room for room, _ in pairs],
        [user for _, user in pairs],
        Membership.INVITE,
    )
    return {
        (RoomNid(room), UserNid(user)): Subject(event, event_id, room, room_id, json, 0)
        for room, user, event, event_id, room_id, json in rows
    }


async def add(
    conn: Connection, notices: Sequence[Notice], duty: str, holder: str, pos: int, now: int
) -> list[PusherNid] | None:
    """Put notices into the queues of their users' pushers, and move on to `pos`; whose they were.

    `None`, and nothing is written, if the duty is somebody else's by now. That less is unread is
    for those only who were told of something, or are about to be.
    """
    row = await conn.fetchrow(
        """
        WITH moved AS (
            UPDATE duties SET pos = $8 WHERE name = $6 AND holder = $7 RETURNING name
        ), told AS (
            SELECT p.pusher_nid, q.*
              FROM moved, unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[],
                                 $5::bytea[]) AS q (user_nid, pos, room_nid, event_nid, tweaks)
              JOIN pushers p ON p.user_nid = q.user_nid AND p.pos < q.pos AND p.enabled
             WHERE q.event_nid IS NOT NULL OR p.unread <> 0
                OR EXISTS (SELECT FROM push_queue w WHERE w.pusher_nid = p.pusher_nid)
               FOR KEY SHARE OF p
        ), added AS (
            INSERT INTO push_queue (pusher_nid, pos, room_nid, event_nid, tweaks, queued_ts)
            SELECT pusher_nid, pos, room_nid, event_nid, tweaks, $9 FROM told
            ON CONFLICT DO NOTHING
            RETURNING pusher_nid
        )
        SELECT (SELECT name FROM moved), (SELECT array_agg(DISTINCT pusher_nid) FROM added)
        """,
        [notice.user for notice in notices],
        [notice.pos for notice in notices],
        [notice.room for notice in notices],
        [notice.event for notice in notices],
        [notice.tweaks for notice in notices],
        duty,
        holder,
        pos,
        now,
    )
    return None if row[0] is None else [PusherNid(nid) for nid in row[1] or ()]


async def waiting(conn: Connection, users: Collection[UserNid] | None = None) -> list[PusherNid]:
    """Pushers for which something waits; of some users, or of all."""
    rows = await conn.fetch(
        """
        SELECT p.pusher_nid FROM pushers p
         WHERE ($1::bigint[] IS NULL OR p.user_nid = ANY ($1))
           AND EXISTS (SELECT FROM push_queue q WHERE q.pusher_nid = p.pusher_nid)
        """,
        None if users is None else list(users),
    )
    return [PusherNid(row[0]) for row in rows]


async def drop_old(conn: Connection, pusher: PusherNid, before: int, most: int) -> None:
    """Forget what has waited since before a moment, and all but the newest."""
    await conn.execute(
        """
        WITH locked AS (
            SELECT pusher_nid FROM pushers WHERE pusher_nid = $1 FOR NO KEY UPDATE
        )
        DELETE FROM push_queue q
         USING locked l
         WHERE q.pusher_nid = l.pusher_nid
           AND (q.queued_ts < $2
                OR q.pos <= (SELECT pos FROM push_queue WHERE pusher_nid = $1
                              ORDER BY pos DESC OFFSET $3 LIMIT 1))
        """,
        pusher,
        before,
        most,
    )


async def drop_stale(conn: Connection, before: int) -> None:
    """Forget what has waited since before a moment, for anybody."""
    await conn.execute(
        """
        WITH locked AS (
            SELECT pusher_nid FROM pushers
             WHERE pusher_nid IN (SELECT pusher_nid FROM push_queue WHERE queued_ts < $1)
             ORDER BY pusher_nid
               FOR NO KEY UPDATE SKIP LOCKED
        )
        DELETE FROM push_queue q
         USING locked l
         WHERE q.pusher_nid = l.pusher_nid AND q.queued_ts < $1
        """,
        before,
    )


async def first(conn: Connection, pusher: PusherNid, user: UserNid) -> Waiting | None:
    """What is to be told next.

    An event is read if a receipt of the user for its thread, or for the room, is not before it.
    """
    row = await conn.fetchrow(
        """
        SELECT q.pos, q.room_nid, q.event_nid, q.tweaks,
               EXISTS (
                   SELECT FROM events e
                     LEFT JOIN notable n
                       ON n.room_nid = e.room_nid AND n.room_order = e.room_order
                     LEFT JOIN event_ids t ON t.event_nid = n.thread_nid
                     JOIN receipts r
                       ON r.room_nid = e.room_nid AND r.user_nid = $2
                      AND r.thread IN ('', coalesce(t.event_id, 'main'))
                     JOIN events s ON s.event_nid = r.event_nid AND s.room_nid = e.room_nid
                    WHERE e.event_nid = q.event_nid AND s.room_order >= e.room_order
               )
          FROM push_queue q
         WHERE q.pusher_nid = $1
         ORDER BY q.pos
         LIMIT 1
        """,
        pusher,
        user,
    )
    return Waiting(*row) if row else None


async def skip(conn: Connection, pusher: PusherNid, pos: int) -> None:
    """What waits at a position need not be told any more."""
    await conn.execute(
        """
        WITH locked AS (
            SELECT pusher_nid FROM pushers WHERE pusher_nid = $1 FOR NO KEY UPDATE
        )
        DELETE FROM push_queue q USING locked l WHERE q.pusher_nid = l.pusher_nid AND q.pos = $2
        """,
        pusher,
        pos,
    )


async def finish(conn: Connection, pusher: PusherNid, pos: int, unread: int) -> None:
    """What waited at a position was told, and how much is unread."""
    await conn.execute(
        """
        WITH told AS (
            UPDATE pushers SET pause = 0, retry_ts = 0, unread = $3
             WHERE pusher_nid = $1
            RETURNING pusher_nid
        )
        DELETE FROM push_queue q USING told t WHERE q.pusher_nid = t.pusher_nid AND q.pos = $2
        """,
        pusher,
        pos,
        unread,
    )
