"""From which IP addresses devices were used, where the settings say that this is kept."""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.pool import Connection
from homeserver.storage.tokens import DeviceNid


class Seen(NamedTuple):
    """That a device was used from an address."""

    device: DeviceNid
    address: str
    ts: int
    """When last, in milliseconds since the epoch."""


async def note(conn: Connection, rows: Collection[Seen]) -> None:
    """Keep where devices were used from; not of those that are gone meanwhile."""
    await conn.execute(
        """
        INSERT INTO device_addresses AS old (device_nid, address, seen_ts)
        SELECT x.device_nid, x.address, x.seen_ts
          FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS x (device_nid, address, seen_ts)
          JOIN devices d ON d.device_nid = x.device_nid
         ORDER BY x.device_nid, x.address
        ON CONFLICT (device_nid, address)
        DO UPDATE SET seen_ts = greatest(old.seen_ts, excluded.seen_ts)
        """,
        *([row[place] for row in rows] for place in range(3)),
    )


async def read(conn: Connection, devices: Collection[DeviceNid]) -> list[Seen]:
    """Where devices were used from, the latest first."""
    rows = await conn.fetch(
        """
        SELECT device_nid, address, seen_ts FROM device_addresses
         WHERE device_nid = ANY ($1) ORDER BY seen_ts DESC
        """,
        devices,
    )
    return [Seen(*row) for row in rows]


async def forget(conn: Connection, before: int) -> None:
    """Forget what is older than a time."""
    await conn.execute("DELETE FROM device_addresses WHERE seen_ts < $1", before)
