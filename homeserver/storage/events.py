"""Reading stored events.

https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.events import Event
from federation.identifiers import EventID, RoomID
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, GroupNid


class RoomState(NamedTuple):
    """A row of `rooms`."""

    room: RoomNid
    room_id: RoomID
    version: str | None
    head: int
    group: GroupNid | None
    extremities: list[EventNid]
    partial: EventNid | None
    """The join that brought us in, as long as not all of the members are known."""
    lifetime: int | None
    """How long messages are kept, as the room's state asks for it, in milliseconds."""


async def get_rooms(conn: Connection, rooms: Iterable[RoomNid]) -> dict[RoomNid, RoomState]:
    """The rooms of these numbers."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.room_id, r.version, r.head, r.group_nid, r.extremities, p.event_nid,
               r.lifetime
          FROM rooms r
          LEFT JOIN partial_rooms p ON p.room_nid = r.room_nid
         WHERE r.room_nid = ANY ($1)
        """,
        list(rooms),
    )
    return {RoomNid(row[0]): RoomState(*row) for row in rows}


async def get_head_numbers(conn: Connection, rooms: Iterable[RoomNid]) -> dict[RoomNid, int]:
    """How often each of the rooms was written to."""
    rows = await conn.fetch(
        "SELECT room_nid, head FROM rooms WHERE room_nid = ANY ($1)", list(rooms)
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def claim_rooms(conn: Connection, rooms: Iterable[RoomNid], patience: int) -> bool:
    """Wait until nobody else writes to these rooms, and keep them until `release_rooms`.

    Whoever claims is next: `append_batch` leaves the room out for everybody else from now on. False
    if one of them was not to be had within `patience`, in milliseconds; then nothing is kept, and
    whoever had it and stands still will lose it.
    """
    claimed: bool = await conn.fetchval("SELECT claim_rooms($1, $2)", list(rooms), patience)
    return claimed


async def release_rooms(conn: Connection) -> None:
    """Give up all that `claim_rooms` got."""
    await conn.execute("SELECT pg_advisory_unlock_all()")


async def get_events(conn: Connection, events: Iterable[EventNid]) -> dict[EventNid, Event]:
    """Those of the events that are stored."""
    nids = list(events)
    if not nids:
        return {}
    rows = await conn.fetch(
        """
        SELECT e.event_nid, i.event_id, r.version, e.json
          FROM events e
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE e.event_nid = ANY ($1)
        """,
        nids,
    )
    return {EventNid(row[0]): load_event(row[3], row[1], row[2]) for row in rows}


async def get_sent(
    conn: Connection, transactions: Iterable[tuple[int, bytes]]
) -> dict[tuple[int, bytes], EventID]:
    """What came of transaction IDs, given as device and hash, that were used before."""
    pairs = list(transactions)
    rows = await conn.fetch(
        """
        SELECT s.device_nid, s.txn_hash, i.event_id
          FROM sent s
          JOIN unnest($1::bigint[], $2::bytea[]) AS t (device_nid, txn_hash)
            ON s.device_nid = t.device_nid AND s.txn_hash = t.txn_hash
          JOIN event_ids i ON i.event_nid = s.event_nid
        """,
        [device for device, _ in pairs],
        [txn_hash for _, txn_hash in pairs],
    )
    return {(row[0], row[1]): EventID(row[2]) for row in rows}


async def forget_sent(conn: Connection, before: int) -> None:
    """Forget transaction IDs from before a time, in milliseconds."""
    await conn.execute("DELETE FROM sent WHERE sent_ts < $1", before)
