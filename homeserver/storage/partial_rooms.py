"""Rooms that were joined before all of their members were known.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from federation.identifiers import RoomID, ServerName
from homeserver.storage.batch import EventRow, Fate, GroupRow, Membership
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection, OwnConnection
from homeserver.storage.received import add_groups
from homeserver.storage.state_groups import EventNid, GroupNid, KeyNid
from homeserver.storage.stream_tokens import ORDER_BITS


class Partial(NamedTuple):
    """A room whose members are not all known."""

    room: RoomNid
    room_id: RoomID
    join: EventNid
    """The event with which we came in."""
    resident: ServerName
    """The server that let us in."""


class Entry(NamedTuple):
    """An entry of the current state that is otherwise than it was."""

    key: KeyNid
    old: EventNid | None
    new: EventNid | None


class Member(NamedTuple):
    """What somebody is to the room."""

    user: UserNid
    membership: Membership
    event: EventNid
    """Which says so, or did until it stood no more."""


_ON_THE_WAY = """p.next_ts > $3::bigint
                        AND NOT EXISTS (SELECT FROM events e
                                         WHERE e.event_nid = p.event_nid
                                           AND e.room_order IS NOT NULL)"""
"""Whether a row is of a join that is about to be written; `$3` is now."""


async def begin(
    conn: Connection,
    room: RoomNid,
    join: EventNid,
    now: int,
    resident: ServerName,
    servers: Collection[ServerNid],
    next_ts: int,
    ours: ServerName,
) -> bool:
    """Note it before the join is written; meanwhile each of the servers counts as in the room.

    If somebody of this server is there by now, their join counts and nothing is noted. False, and
    nothing is noted: another join is about to be written, of which it is noted.
    """
    settled: bool = await conn.fetchval(
        f"""
        WITH here AS MATERIALIZED (
            SELECT FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
             WHERE r.room_nid = $1 AND r.joined > 0 AND s.server_name = $7
        ), noted AS (
            INSERT INTO partial_rooms AS p (room_nid, event_nid, resident, next_ts)
            SELECT $1, $2, $4, $6 WHERE NOT EXISTS (SELECT FROM here)
            ON CONFLICT (room_nid) DO UPDATE
               SET event_nid = excluded.event_nid, resident = excluded.resident,
                   next_ts = excluded.next_ts
             WHERE NOT ({_ON_THE_WAY})
            RETURNING room_nid
        ), counted AS (
            INSERT INTO room_servers AS old (room_nid, server_nid, joined)
            SELECT n.room_nid, s, 1 FROM noted n, unnest($5::bigint[]) AS s
            ON CONFLICT (room_nid, server_nid) DO UPDATE SET joined = old.joined + 1
        )
        SELECT EXISTS (SELECT FROM noted) OR EXISTS (SELECT FROM here)
        """,  # noqa: S608 - the condition is the one above
        room,
        join,
        now,
        resident,
        list(servers),
        next_ts,
        ours,
    )
    return settled


async def forget(conn: Connection, room: RoomNid, server: ServerName, now: int) -> None:
    """The room is joined anew, unless this server is in it, or about to be."""
    await conn.execute(
        f"""
        DELETE FROM partial_rooms p
         WHERE p.room_nid = $1
           AND NOT EXISTS (SELECT FROM room_servers r JOIN servers s ON s.server_nid = r.server_nid
                            WHERE r.room_nid = $1 AND r.joined > 0 AND s.server_name = $2)
           AND NOT ({_ON_THE_WAY})
        """,  # noqa: S608 - the condition is the one above
        room,
        server,
        now,
    )


async def is_partial(conn: Connection, room_id: RoomID) -> bool:
    """Whether the room's members are not all known."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT FROM partial_rooms p JOIN rooms r ON r.room_nid = p.room_nid
                        WHERE r.room_id = $1)
        """,
        room_id,
    )
    return found


async def is_noted(conn: Connection, room: RoomNid, join: EventNid) -> bool:
    """Whether it is noted of the room that somebody comes in with this join."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM partial_rooms WHERE room_nid = $1 AND event_nid = $2)",
        room,
        join,
    )
    return found


async def due(conn: Connection, now: int, limit: int) -> list[RoomID]:
    """Rooms at which nobody is, and whose time has come."""
    rows = await conn.fetch(
        """
        SELECT r.room_id
          FROM partial_rooms p JOIN rooms r ON r.room_nid = p.room_nid
         WHERE p.next_ts <= $1
         ORDER BY p.next_ts
         LIMIT $2
        """,
        now,
        limit,
    )
    return [RoomID(row[0]) for row in rows]


async def hold(conn: Connection, room_id: RoomID, now: int, until: int) -> Partial | None:
    """Keep others from a room until a time, if nobody is at it."""
    row = await conn.fetchrow(
        """
        UPDATE partial_rooms p
           SET next_ts = $3
          FROM rooms r
         WHERE r.room_nid = p.room_nid AND r.room_id = $1 AND p.next_ts <= $2
        RETURNING p.room_nid, r.room_id, p.event_nid, p.resident
        """,
        room_id,
        now,
        until,
    )
    return Partial(*row) if row else None


async def put_off(conn: Connection, room: RoomNid, next_ts: int) -> None:
    """Leave a room alone until a time."""
    await conn.execute("UPDATE partial_rooms SET next_ts = $2 WHERE room_nid = $1", room, next_ts)


async def end(conn: Connection, room: RoomNid, join: EventNid) -> None:
    """Note that a room's members are known, or of no interest; count those of its servers.

    If another join is noted of the room by now, nothing is done.
    """
    await conn.execute(
        """
        WITH ended AS (
            DELETE FROM partial_rooms WHERE room_nid = $1 AND event_nid = $3 RETURNING room_nid
        ), counted AS (
            SELECT e.room_nid, s.server_nid, count(*) AS joined
              FROM ended e
              JOIN memberships m ON m.room_nid = e.room_nid
              JOIN users u ON u.user_nid = m.user_nid
              JOIN servers s
                ON s.server_name = substring(u.user_id FROM position(':' IN u.user_id) + 1)
             WHERE m.membership = $2
             GROUP BY e.room_nid, s.server_nid
        ), kept AS (
            INSERT INTO room_servers (room_nid, server_nid, joined)
            SELECT room_nid, server_nid, joined FROM counted
            ON CONFLICT (room_nid, server_nid) DO UPDATE SET joined = excluded.joined
        )
        DELETE FROM room_servers r USING ended e
         WHERE r.room_nid = e.room_nid AND r.server_nid NOT IN (SELECT server_nid FROM counted)
        """,
        room,
        Membership.JOIN,
        join,
    )


async def provisional(conn: Connection, room: RoomNid, join: EventNid) -> list[EventNid]:
    """The join and all events judged since by what was known: later ones, and fetched history.

    History from before the join has its places just below it.
    """
    rows = await conn.fetch(
        """
        SELECT e.event_nid
          FROM events e
         WHERE e.room_nid = $1
           AND e.room_order > (SELECT room_order - (1::bigint << $3) FROM events
                                WHERE event_nid = $2)
         ORDER BY e.room_order
        """,
        room,
        join,
        ORDER_BITS,
    )
    return [EventNid(row[0]) for row in rows]


async def citing(
    conn: Connection, room: RoomNid, join: EventNid, events: Collection[EventNid]
) -> list[EventNid]:
    """The events without a place, stored since the join, that rest on these events."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE late AS MATERIALIZED (
            SELECT event_nid, auth FROM events
             WHERE event_nid > $2 AND room_nid = $1 AND room_order IS NULL
        ), found (event_nid) AS (
            SELECT unnest($3::bigint[])
             UNION
            SELECT l.event_nid FROM found f JOIN late l ON f.event_nid = ANY (l.auth)
        )
        SELECT event_nid FROM found WHERE event_nid <> ALL ($3)
        """,
        room,
        join,
        list(events),
    )
    return [EventNid(row[0]) for row in rows]


async def set_fates(conn: Connection, fates: Mapping[EventNid, Fate]) -> None:
    """Note what becomes of events after all."""
    await conn.execute(
        """
        UPDATE events e SET fate = n.fate
          FROM unnest($1::bigint[], $2::smallint[]) AS n (event_nid, fate)
         WHERE e.event_nid = n.event_nid
        """,
        list(fates),
        list(fates.values()),
    )


async def current_state(conn: Connection, room: RoomNid) -> dict[KeyNid, EventNid]:
    """The current state as it is told."""
    rows = await conn.fetch(
        "SELECT state_key_nid, event_nid FROM current_state WHERE room_nid = $1", room
    )
    return {KeyNid(row[0]): EventNid(row[1]) for row in rows}


async def tell(
    conn: OwnConnection,
    room: RoomNid,
    entries: Sequence[Entry],
    members: Sequence[Member],
    local: Collection[UserNid],
) -> int:
    """Change entries of the current state without an event; the position.

    Args:
        conn: on which the room is claimed.
        room: which.
        entries: what is otherwise.
        members: those among them that are memberships.
        local: whose of these are of people here, who are told apart.

    """
    async with conn.transaction():
        await _change(conn, room, entries)
        # The clock comes last: it is everybody's.
        pos: int = await conn.fetchval(
            """
            SELECT append_log(array_agg($2::smallint), array_agg($1::bigint), array_agg(u),
                              array_agg(NULL::bigint)) + count(*) - 1
              FROM unnest($3::bigint[] || NULL::bigint) AS u
            """,
            room,
            Kind.STATE,
            list(local),
        )
        await _note(conn, room, pos, entries, members)
    return pos


async def _change(conn: OwnConnection, room: RoomNid, entries: Sequence[Entry]) -> None:
    await conn.execute(
        """
        WITH changed AS (
            SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS c (key, event_nid)
        ), gone AS (
            DELETE FROM current_state s USING changed c
             WHERE s.room_nid = $1 AND s.state_key_nid = c.key AND c.event_nid IS NULL
        )
        INSERT INTO current_state (room_nid, state_key_nid, event_nid)
        SELECT $1, c.key, c.event_nid FROM changed c WHERE c.event_nid IS NOT NULL
        ON CONFLICT (room_nid, state_key_nid) DO UPDATE SET event_nid = excluded.event_nid
        """,
        room,
        [entry.key for entry in entries],
        [entry.new for entry in entries],
    )


async def _note(
    conn: OwnConnection,
    room: RoomNid,
    pos: int,
    entries: Sequence[Entry],
    members: Sequence[Member],
) -> None:
    await conn.execute(
        """
        WITH noted AS (
            INSERT INTO state_changes (room_nid, pos, state_key_nid, old_event_nid, new_event_nid)
            SELECT $1, $2, c.key, c.old, c.new
              FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS c (key, old, new)
        )
        INSERT INTO memberships (room_nid, user_nid, membership, event_nid, pos)
        SELECT $1, m.user_nid, m.membership, m.event_nid, $2
          FROM unnest($6::bigint[], $7::smallint[], $8::bigint[])
               AS m (user_nid, membership, event_nid)
        ON CONFLICT (room_nid, user_nid) DO UPDATE
           SET membership = excluded.membership, event_nid = excluded.event_nid,
               pos = excluded.pos
        """,
        room,
        pos,
        [entry.key for entry in entries],
        [entry.old for entry in entries],
        [entry.new for entry in entries],
        [member.user for member in members],
        [member.membership for member in members],
        [member.event for member in members],
    )


async def settle(
    conn: OwnConnection,
    partial: Partial,
    rows: Sequence[EventRow],
    groups: Sequence[GroupRow],
    group: GroupNid,
    extremities: Sequence[EventNid],
) -> None:
    """Put the events judged anew, their states, and the room's own in the place of what was.

    Events that turn out not to be accepted are not counted, found or related to others any more.
    """
    async with conn.transaction():
        await add_groups(conn, groups)
        await conn.execute(
            """
            WITH judged AS (
                UPDATE events e
                   SET group_before = n.group_nid, fate = n.fate
                  FROM unnest($1::bigint[], $2::bigint[], $3::smallint[])
                       AS n (event_nid, group_nid, fate)
                 WHERE e.event_nid = n.event_nid
                RETURNING e.event_nid, e.fate, e.room_nid, e.room_order
            ), refused AS (
                SELECT * FROM judged WHERE fate <> 0
            ), unrelated AS (
                DELETE FROM relations l USING refused f WHERE l.event_nid = f.event_nid
            ), hidden AS (
                DELETE FROM searchable s USING refused f WHERE s.event_nid = f.event_nid
            )
            DELETE FROM notable n USING refused f
             WHERE n.room_nid = f.room_nid AND n.room_order = f.room_order
            """,
            [row.event for row in rows],
            [row.group for row in rows],
            [row.fate for row in rows],
        )
        await conn.execute(
            "UPDATE rooms SET head = head + 1, group_nid = $2, extremities = $3"
            " WHERE room_nid = $1",
            partial.room,
            group,
            list(extremities),
        )
        await end(conn, partial.room, partial.join)
