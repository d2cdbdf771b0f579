"""Rooms with what is told of them to people who are not in them.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from federation.events import Event, StateKey
from federation.identifiers import RoomID, ServerName
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import KeyNid


class Counted(NamedTuple):
    """A room with how many people are in it."""

    room: RoomNid
    room_id: RoomID
    joined: int


async def published(
    conn: Connection,
    server: ServerName,
    limit: int,
    network: str | None = None,
    *,
    all_networks: bool = False,
) -> list[Counted]:
    """The rooms in the public list, those with most people first.

    Into a room that all people of this server left, nobody could be let in by it.

    Args:
        conn: to read with.
        server: this one.
        limit: how many rooms at most.
        network: whose list is meant instead of ours.
        all_networks: whether those of all networks are meant, and ours.

    """
    rows = await conn.fetch(
        """
        SELECT p.room_nid, r.room_id, sum(s.joined) AS joined
          FROM (SELECT room_nid FROM published WHERE $2::text IS NULL OR $3
                 UNION
                SELECT room_nid FROM published_networks WHERE network = $2 OR $3) p
          JOIN rooms r ON r.room_nid = p.room_nid
          JOIN room_servers s ON s.room_nid = p.room_nid
         GROUP BY p.room_nid, r.room_id
        HAVING sum(s.joined) FILTER (WHERE s.server_nid = (SELECT server_nid FROM servers
                                                            WHERE server_name = $4)) > 0
         ORDER BY joined DESC, p.room_nid
         LIMIT $1
        """,
        limit,
        network,
        all_networks,
        server,
    )
    return [Counted(*row) for row in rows]


async def counted(conn: Connection, rooms: Iterable[RoomNid]) -> dict[RoomNid, Counted]:
    """How many people are in each of the rooms; rooms in which nobody is are missing."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.room_id, sum(s.joined)
          FROM rooms r JOIN room_servers s ON s.room_nid = r.room_nid
         WHERE r.room_nid = ANY ($1)
         GROUP BY r.room_nid, r.room_id
        HAVING sum(s.joined) > 0
        """,
        list(rooms),
    )
    return {RoomNid(row[0]): Counted(*row) for row in rows}


async def states(
    conn: Connection, rooms: Collection[RoomNid], keys: Collection[KeyNid]
) -> dict[RoomNid, dict[StateKey, Event]]:
    """Entries of the rooms' current states."""
    rows = await conn.fetch(
        """
        SELECT s.room_nid, i.event_id, r.version, e.json
          FROM current_state s
          JOIN events e ON e.event_nid = s.event_nid
          JOIN event_ids i ON i.event_nid = s.event_nid
          JOIN rooms r ON r.room_nid = s.room_nid
         WHERE s.room_nid = ANY ($1) AND s.state_key_nid = ANY ($2)
        """,
        list(rooms),
        list(keys),
    )
    found: dict[RoomNid, dict[StateKey, Event]] = {room: {} for room in rooms}
    for room, event_id, version, raw in rows:
        event = load_event(raw, event_id, version)
        found[RoomNid(room)][(event.type, event.state_key or "")] = event
    return found


async def children(
    conn: Connection, spaces: Collection[RoomNid], most: int
) -> dict[RoomNid, list[Event]]:
    """The children that each of the spaces names in its current state, so many at most."""
    rows = await conn.fetch(
        """
        SELECT space.room_nid, i.event_id, r.version, e.json
          FROM unnest($1::bigint[]) AS space (room_nid)
         CROSS JOIN LATERAL (
               SELECT s.event_nid
                 FROM current_state s
                 JOIN state_keys k ON k.state_key_nid = s.state_key_nid
                WHERE s.room_nid = space.room_nid AND k.type = 'm.space.child'
                LIMIT $2
               ) child
          JOIN events e ON e.event_nid = child.event_nid
          JOIN event_ids i ON i.event_nid = child.event_nid
          JOIN rooms r ON r.room_nid = space.room_nid
        """,
        list(spaces),
        most,
    )
    found: dict[RoomNid, list[Event]] = {}
    for room, event_id, version, raw in rows:
        found.setdefault(RoomNid(room), []).append(load_event(raw, event_id, version))
    return found
