"""Deleting what happened in rooms, a part at a time.

State events of a room that goes on are kept without a place, as its states are made of them; so is
what still waits to be sent to other servers. Names of events are kept: others refer to them.
"""

from collections.abc import Collection
from typing import NamedTuple

from federation.identifiers import EventID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Old(NamedTuple):
    """An event that stands before a place in its room."""

    event: EventNid
    is_state: bool
    is_waiting: bool
    """Whether it has yet to be sent to another server."""
    json: bytes


async def place_of(conn: Connection, room: RoomNid, event_id: EventID) -> int | None:
    """The room order of an event; `None`: it is not in the room, or in no place."""
    found: int | None = await conn.fetchval(
        """
        SELECT e.room_order
          FROM event_ids i JOIN events e ON e.event_nid = i.event_nid
         WHERE i.event_id = $2 AND e.room_nid = $1
        """,
        room,
        event_id,
    )
    return found


async def first_place_since(conn: Connection, room: RoomNid, ts: int) -> int | None:
    """The first place from which on an event is of this time or later; `None`: of none."""
    found: int | None = await conn.fetchval(
        """
        SELECT min(room_order) FROM events
         WHERE room_nid = $1 AND origin_server_ts >= $2 AND room_order IS NOT NULL
        """,
        room,
        ts,
    )
    return found


async def first_extremity(conn: Connection, room: RoomNid) -> int | None:
    """The place of the first of the events that the next one will build on."""
    found: int | None = await conn.fetchval(
        """
        SELECT min(e.room_order)
          FROM rooms r JOIN events e ON e.event_nid = ANY (r.extremities)
         WHERE r.room_nid = $1
        """,
        room,
    )
    return found


async def forget_gaps(conn: Connection, room: RoomNid, up_to: int) -> None:
    """Forget which parents of events up to a place are missing: nobody is asked for them."""
    await conn.execute(
        "DELETE FROM missing_parents WHERE room_nid = $1 AND child_order <= $2", room, up_to
    )


async def before(conn: Connection, room: RoomNid, place: int, limit: int) -> list[Old]:
    """The first events of a room that stand before a place."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.state_key_nid IS NOT NULL,
               EXISTS (SELECT FROM outgoing_events o
                        WHERE o.room_nid = $1 AND o.event_nid = e.event_nid),
               e.json
          FROM events e
         WHERE e.room_nid = $1 AND e.room_order < $2
         ORDER BY e.room_order
         LIMIT $3
        """,
        room,
        place,
        limit,
    )
    return [Old(*row) for row in rows]


async def purge(
    conn: Connection, room: RoomNid, gone: Collection[EventNid], kept: Collection[EventNid]
) -> None:
    """Delete some events, and take others out of the room's order; neither is found any more."""
    await conn.execute(
        """
        WITH everything AS MATERIALIZED (
            SELECT event_nid, room_order FROM events
             WHERE room_nid = $1 AND event_nid = ANY ($2::bigint[] || $3::bigint[])
        ), unrelated AS (
            DELETE FROM relations l USING everything e WHERE l.event_nid = e.event_nid
        ), unfindable AS (
            DELETE FROM searchable f USING everything e WHERE f.event_nid = e.event_nid
        ), uncounted AS (
            DELETE FROM notable n USING everything e
             WHERE n.room_nid = $1 AND n.room_order = e.room_order
        ), unreadable AS (
            DELETE FROM originals o USING everything e WHERE o.event_nid = e.event_nid
        ), outside AS (
            UPDATE events SET room_order = NULL, group_before = NULL
             WHERE room_nid = $1 AND event_nid = ANY ($3)
        )
        DELETE FROM events WHERE room_nid = $1 AND event_nid = ANY ($2)
        """,
        room,
        list(gone),
        list(kept),
    )


async def tell(conn: Connection, room: RoomNid) -> int:
    """Have everybody read again who remembers something of a room; the position."""
    pos: int = await conn.fetchval(
        """
        SELECT append_log(ARRAY[$2::smallint], ARRAY[$1::bigint], ARRAY[NULL::bigint],
                          ARRAY[NULL::bigint])
        """,
        room,
        Kind.STATE,
    )
    return pos


async def others_are_told(conn: Connection, room: RoomNid, duty: str) -> bool:
    """Whether all that people here last were to a room waits to be sent, or was, to who is in it.

    Args:
        conn: to read with.
        room: which nobody of this server is in any more.
        duty: whose holder puts into queues what other servers are to be told.

    """
    found: bool = await conn.fetchval(
        """
        SELECT NOT EXISTS (SELECT FROM room_servers WHERE room_nid = $1 AND joined > 0)
            OR coalesce((SELECT pos FROM duties WHERE name = $2), 0) >= (
               SELECT coalesce(max(m.pos), 0)
                 FROM memberships m JOIN accounts a ON a.user_nid = m.user_nid
                WHERE m.room_nid = $1)
        """,
        room,
        duty,
    )
    return found


async def close_room(conn: Connection, room: RoomNid) -> None:
    """Make nothing of a room: nobody is in it, and nothing can happen in it.

    Whoever has built on its head will find that out. Names stay, and events, for `purge`, and it is
    noted that it is being deleted until `sweep_room`.
    """
    await conn.execute(
        """
        WITH closed AS (
            UPDATE rooms SET head = head + 1, group_nid = NULL, extremities = '{}'
             WHERE room_nid = $1
        ), noted AS (
            INSERT INTO closing_rooms (room_nid) VALUES ($1) ON CONFLICT DO NOTHING
        ), state AS (
            DELETE FROM current_state WHERE room_nid = $1
        ), members AS (
            DELETE FROM memberships WHERE room_nid = $1
        ), servers AS (
            DELETE FROM room_servers WHERE room_nid = $1
        ), invited AS (
            DELETE FROM invites WHERE room_nid = $1
        ), forgotten_ AS (
            DELETE FROM forgotten WHERE room_nid = $1
        ), listed AS (
            DELETE FROM published WHERE room_nid = $1
        ), networks AS (
            DELETE FROM published_networks WHERE room_nid = $1
        ), named AS (
            DELETE FROM aliases WHERE room_nid = $1
        ), read AS (
            DELETE FROM receipts WHERE room_nid = $1
        ), kept AS (
            DELETE FROM account_data WHERE room_nid = $1
        ), stuck AS (
            DELETE FROM sticky_events WHERE room_nid = $1
        ), followed AS (
            DELETE FROM thread_subscriptions WHERE room_nid = $1
        ), spoken AS (
            DELETE FROM notice_rooms WHERE room_nid = $1
        )
        DELETE FROM missing_parents WHERE room_nid = $1
        """,
        room,
    )


async def sweep_room(conn: Connection, room: RoomNid) -> None:
    """Delete what is left of a closed room, but for what waits to be sent."""
    await conn.execute(
        """
        WITH gone AS (
            DELETE FROM events e
             WHERE e.room_nid = $1 AND e.room_order IS NULL
               AND NOT EXISTS (SELECT FROM outgoing_events o
                                WHERE o.room_nid = $1 AND o.event_nid = e.event_nid)
            RETURNING e.event_nid
        ), changed AS (
            DELETE FROM state_changes WHERE room_nid = $1
        ), states AS (
            DELETE FROM state_groups WHERE room_nid = $1
        ), done AS (
            DELETE FROM closing_rooms WHERE room_nid = $1
        )
        UPDATE rooms r
           SET head = r.head + 1, group_nid = NULL, extremities = '{}',
               version = CASE WHEN EXISTS (SELECT FROM outgoing_events o WHERE o.room_nid = $1)
                              THEN r.version END
         WHERE r.room_nid = $1
        """,
        room,
    )
