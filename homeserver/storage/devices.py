"""Devices of local users.

A device goes with its tokens, and everything else that names it by `device_nid`: numbers are never
used again, so what is left behind leads nowhere.

https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from collections.abc import Collection
from typing import NamedTuple

from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.tokens import DeviceNid


class Device(NamedTuple):
    """A row of `devices`."""

    device: DeviceNid
    device_id: str
    display_name: str | None
    last_seen_day: int
    version: int
    """Counts the changes of its tokens."""
    session: str
    """What all its tokens begin with."""
    confirmed_ts: int | None
    """When its user last entered the password, where that is kept."""


async def read(conn: Connection, user: UserNid) -> list[Device]:
    """All devices of a user, oldest first."""
    rows = await conn.fetch(
        """
        SELECT device_nid, device_id, display_name, last_seen_day, version, session,
               confirmed_ts
          FROM devices
         WHERE user_nid = $1
         ORDER BY device_nid
        """,
        user,
    )
    return [Device(*row) for row in rows]


async def find(conn: Connection, user: UserNid, device_id: str) -> Device | None:
    """A device of the user."""
    row = await conn.fetchrow(
        """
        SELECT device_nid, device_id, display_name, last_seen_day, version, session,
               confirmed_ts
          FROM devices
         WHERE user_nid = $1 AND device_id = $2
        """,
        user,
        device_id,
    )
    return Device(*row) if row else None


class NewDevice(NamedTuple):
    """A device that is made without a login, as application services do."""

    user: UserNid
    device_id: str
    display_name: str | None
    session: str
    last_seen_day: int


async def add(conn: Connection, new: NewDevice) -> int | None:
    """Make a device; answer the position, or `None` if it is there or the account is not."""
    pos: int | None = await conn.fetchval(
        """
        WITH account AS (
            UPDATE accounts SET version = version + 1 WHERE user_nid = $1 AND NOT deactivated
            RETURNING user_nid
        ), made AS (
            INSERT INTO devices (user_nid, device_id, display_name, session, last_seen_day)
            SELECT user_nid, $2, $3, $4, $5 FROM account
            ON CONFLICT (user_nid, device_id) DO NOTHING
            RETURNING user_nid, device_nid
        )
        SELECT append_log(array_agg($6::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(device_nid))
          FROM made
        """,
        *new,
        Kind.DEVICE,
    )
    return pos


async def rename(
    conn: Connection, user: UserNid, device_id: str, display_name: str | None
) -> int | None:
    """Set a device's name; answer the position, or `None` without such a device."""
    pos: int | None = await conn.fetchval(
        """
        WITH renamed AS (
            UPDATE devices SET display_name = $3 WHERE user_nid = $1 AND device_id = $2
            RETURNING user_nid, device_nid
        )
        SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                          array_agg(user_nid), array_agg(device_nid))
          FROM renamed
        """,
        user,
        device_id,
        display_name,
        Kind.DEVICE,
    )
    return pos


async def see(conn: Connection, device: DeviceNid, day: int) -> None:
    """Note that the device was seen on this day."""
    await conn.execute(
        "UPDATE devices SET last_seen_day = $2 WHERE device_nid = $1 AND last_seen_day < $2",
        device,
        day,
    )


async def confirm(conn: Connection, device: DeviceNid, ts: int) -> None:
    """Note when the device's user entered the password."""
    await conn.execute("UPDATE devices SET confirmed_ts = $2 WHERE device_nid = $1", device, ts)


async def delete(conn: Connection, user: UserNid, device_ids: Collection[str]) -> int | None:
    """Delete these devices of the user, with their tokens; the rest of the ids is nobody's.

    Answers the last position, or `None` if there was none of them.
    """
    pos: int | None = await conn.fetchval(
        _DELETE.format(which="d.device_id = ANY ($2)"), user, list(device_ids), Kind.DEVICE_GONE
    )
    return pos


async def delete_others(conn: Connection, user: UserNid, keep: DeviceNid | None) -> int | None:
    """Delete all devices of the user but `keep`; answers as `delete`."""
    pos: int | None = await conn.fetchval(
        _DELETE.format(which="d.device_nid IS DISTINCT FROM $2"), user, keep, Kind.DEVICE_GONE
    )
    return pos


# The account's row comes first: two that delete the same devices wait for each other there.
_DELETE = """
    WITH account AS (
        SELECT user_nid FROM accounts WHERE user_nid = $1 FOR NO KEY UPDATE
    ), gone AS (
        DELETE FROM devices d
         USING account a
         WHERE d.user_nid = a.user_nid AND {which}
        RETURNING d.device_nid
    ), access AS (
        DELETE FROM access_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
    ), refresh AS (
        DELETE FROM refresh_tokens t USING gone g WHERE t.device_nid = g.device_nid RETURNING 1
    ), written AS MATERIALIZED (
        SELECT (SELECT count(*) FROM access) + (SELECT count(*) FROM refresh) AS rows
    )
    SELECT append_log(array_agg($3::smallint), array_agg(NULL::bigint),
                      array_agg($1::bigint), array_agg(device_nid)) + count(*) - 1
      FROM gone, written
"""
