"""Room aliases of this server, and which rooms are in its public list.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.identifiers import RoomAlias, RoomID
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection


class Alias(NamedTuple):
    """What an alias stands for."""

    room: RoomNid
    room_id: RoomID
    user: UserNid
    """Who made it."""


async def find(conn: Connection, alias: RoomAlias) -> Alias | None:
    """What the alias stands for."""
    row = await conn.fetchrow(
        """
        SELECT a.room_nid, r.room_id, a.user_nid
          FROM aliases a JOIN rooms r ON r.room_nid = a.room_nid
         WHERE a.alias = $1
        """,
        alias,
    )
    return Alias(*row) if row else None


async def add(conn: Connection, alias: RoomAlias, room: RoomNid, user: UserNid) -> bool:
    """Give a room an alias; false if the alias is taken."""
    made = await conn.fetchval(
        """
        INSERT INTO aliases (alias, room_nid, user_nid) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING room_nid
        """,
        alias,
        room,
        user,
    )
    return made is not None


async def remove(conn: Connection, alias: RoomAlias) -> bool:
    """Take an alias away; false if it is gone already."""
    gone = await conn.fetchval("DELETE FROM aliases WHERE alias = $1 RETURNING true", alias)
    return gone is not None


async def move(conn: Connection, old: RoomNid, new: RoomNid) -> None:
    """Let all aliases of a room lead to another."""
    await conn.execute("UPDATE aliases SET room_nid = $2 WHERE room_nid = $1", old, new)


async def of_room(conn: Connection, room: RoomNid) -> list[RoomAlias]:
    """The aliases that a room has here, sorted."""
    rows = await conn.fetch(
        "SELECT alias FROM aliases WHERE room_nid = $1 ORDER BY alias LIMIT 1000", room
    )
    return [RoomAlias(row[0]) for row in rows]


async def published_of(conn: Connection, rooms: Iterable[RoomNid]) -> set[RoomNid]:
    """Those of the rooms that are in the public list."""
    rows = await conn.fetch("SELECT room_nid FROM published WHERE room_nid = ANY ($1)", list(rooms))
    return {RoomNid(row[0]) for row in rows}


async def is_published(conn: Connection, room: RoomNid) -> bool:
    """Whether the room is in the public list."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM published WHERE room_nid = $1)", room
    )
    return found


async def publish(conn: Connection, room: RoomNid) -> None:
    """Put the room into the public list."""
    await conn.execute("INSERT INTO published (room_nid) VALUES ($1) ON CONFLICT DO NOTHING", room)


async def unpublish(conn: Connection, room: RoomNid) -> None:
    """Take the room out of the public list."""
    await conn.execute("DELETE FROM published WHERE room_nid = $1", room)


async def publish_on(conn: Connection, room: RoomNid, network: str) -> None:
    """Put the room into the list of a network."""
    await conn.execute(
        "INSERT INTO published_networks (network, room_nid) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        network,
        room,
    )


async def unpublish_on(conn: Connection, room: RoomNid, network: str) -> None:
    """Take the room out of the list of a network."""
    await conn.execute(
        "DELETE FROM published_networks WHERE network = $1 AND room_nid = $2", network, room
    )


async def remove_all(conn: Connection, room: RoomNid) -> None:
    """Take all aliases of a room away."""
    await conn.execute("DELETE FROM aliases WHERE room_nid = $1", room)
