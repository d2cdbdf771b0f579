"""What connections of sliding sync were sent, position by position; and when rooms last moved.

A position is written only where something is otherwise than at the one before.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

from collections.abc import Collection, Iterable

from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid

_KEPT = 3
"""Positions of one connection: the client may not have got the last ones."""
_MOST = 30
"""Positions of one device, of all its connections."""


async def add(
    conn: Connection, device: int, conn_id: str, state: bytes, day: int, base: int
) -> int:
    """Store a position; its version.

    Args:
        conn: in no transaction.
        device: whose connection it is.
        conn_id: as the client calls it.
        state: of the connection.
        day: today, in days since the epoch.
        base: the version that the client has, which is kept; 0: none.

    """
    # What is removed is what stood there before: the new one is not among it.
    version: int = await conn.fetchval(
        """
        WITH own AS (
            SELECT version, conn_id = $2 AS is_same,
                   row_number() OVER (PARTITION BY conn_id = $2 ORDER BY version DESC) AS place,
                   row_number() OVER (ORDER BY version DESC) AS of_all
              FROM sliding_positions
             WHERE device_nid = $1
        ), gone AS (
            DELETE FROM sliding_positions
             WHERE version <> $5 AND version IN (
                   SELECT version FROM own WHERE (is_same AND place >= $6) OR of_all >= $7)
        )
        INSERT INTO sliding_positions (device_nid, conn_id, used_day, state)
        VALUES ($1, $2, $3, $4)
        RETURNING version
        """,
        device,
        conn_id,
        day,
        state,
        base,
        _KEPT,
        _MOST,
    )
    return version


async def find(conn: Connection, version: int, device: int, conn_id: str, day: int) -> bytes | None:
    """The state of a device's connection at a version; from now on it was used today."""
    state: bytes | None = await conn.fetchval(
        """
        WITH found AS (
            SELECT state, used_day FROM sliding_positions
             WHERE version = $1 AND device_nid = $2 AND conn_id = $3
        ), used AS (
            UPDATE sliding_positions SET used_day = $4
             WHERE version = $1 AND device_nid = $2 AND used_day < $4
        )
        SELECT state FROM found
        """,
        version,
        device,
        conn_id,
        day,
    )
    return state


async def forget_unused(conn: Connection, before: int) -> None:
    """Forget positions that were not used since a day."""
    await conn.execute("DELETE FROM sliding_positions WHERE used_day < $1", before)


async def last_moves(conn: Connection, rooms: Iterable[RoomNid]) -> dict[RoomNid, int]:
    """The position of the last event, or other change of the state, of each room."""
    rows = await conn.fetch(
        """
        SELECT w.room_nid, greatest(e.room_order >> 24, (
                   SELECT max(pos) FROM state_changes c WHERE c.room_nid = w.room_nid))
          FROM unnest($1::bigint[]) AS w (room_nid)
         CROSS JOIN LATERAL (
               SELECT room_order FROM events
                WHERE room_nid = w.room_nid AND room_order IS NOT NULL
                ORDER BY room_order DESC
                LIMIT 1
               ) e
        """,
        list(rooms),
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def entries(
    conn: Connection,
    rooms: Iterable[RoomNid],
    types: Collection[str] | None,
    but: Collection[str] = (),
) -> dict[RoomNid, dict[KeyNid, EventNid]]:
    """The entries of current states that are of some types; with `None` of all `but` some."""
    rows = await conn.fetch(
        """
        SELECT s.room_nid, s.state_key_nid, s.event_nid
          FROM unnest($1::bigint[]) AS w (room_nid)
          JOIN current_state s ON s.room_nid = w.room_nid
          JOIN state_keys k ON k.state_key_nid = s.state_key_nid
         WHERE ($2::text[] IS NULL OR k.type = ANY ($2)) AND k.type <> ALL ($3::text[])
        """,
        list(rooms),
        None if types is None else list(types),
        list(but),
    )
    found: dict[RoomNid, dict[KeyNid, EventNid]] = {}
    for room, key, event in rows:
        found.setdefault(room, {})[key] = event
    return found
