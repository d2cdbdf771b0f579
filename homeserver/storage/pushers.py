"""Pushers: where people are notified. One goes with the device that set it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
"""

from collections.abc import Collection
from typing import NamedTuple, NewType

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.tokens import DeviceNid

PusherNid = NewType("PusherNid", int)


class Fields(NamedTuple):
    """What a client says of a pusher; its `kind` is `http`."""

    app_id: str
    pushkey: str
    app_display_name: str
    device_display_name: str
    profile_tag: str | None
    lang: str
    data: bytes
    """JSON."""
    enabled: bool | None = None
    """Whether anything is told (MSC3881); `None`: it was not said, so it is."""


class Known(NamedTuple):
    """A pusher as it is listed."""

    fields: Fields
    device_id: str


class Pusher(NamedTuple):
    """A pusher, and how its gateway fares."""

    nid: PusherNid
    user: UserNid
    user_id: UserID
    app_id: str
    pushkey: str
    data: bytes
    """JSON."""
    set_ts: int
    """When it was last set."""
    pause: int
    """Milliseconds for which the gateway was left alone last time; 0: it answers."""
    retry_ts: int
    unread: int
    """How much was unread when it was last told."""


async def read(conn: Connection, user: UserNid) -> list[Known]:
    """All pushers of a user, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT d.device_id, p.app_id, p.pushkey, p.app_display_name, p.device_display_name,
               p.profile_tag, p.lang, p.data, p.enabled
          FROM pushers p JOIN devices d ON d.device_nid = p.device_nid
         WHERE p.user_nid = $1
         ORDER BY p.pusher_nid
        """,
        user,
    )
    return [Known(Fields(*fields), device_id) for device_id, *fields in rows]


async def put(
    conn: Connection,
    user: UserNid,
    device: DeviceNid,
    fields: Fields,
    *,
    append: bool,
    now: int,
    most: int,
) -> int | None:
    """Make or change a pusher; others' of its app and key go, unless `append`. The last position.

    One that is switched off or on stays with the device that set it.
    `None`, and nothing is written, if the device is gone, or the user has `most` others.
    """
    pos: int | None = await conn.fetchval(
        "SELECT set_pusher($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        user,
        device,
        *fields,
        append,
        now,
        most,
        Kind.PUSHER,
    )
    return pos


async def delete(conn: Connection, user: UserNid, app_id: str, pushkey: str) -> int | None:
    """Delete a pusher; the position, or `None` if there is none."""
    pos: int | None = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM pushers WHERE user_nid = $1 AND app_id = $2 AND pushkey = $3
            RETURNING user_nid
        )
        SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint), array_agg(user_nid),
                          array_agg(NULL::bigint))
          FROM gone
        """,
        user,
        app_id,
        pushkey,
        Kind.PUSHER,
    )
    return pos


async def users_with_pushers(
    conn: Connection, of: Collection[UserNid] | None = None
) -> dict[UserNid, UserID]:
    """Who has pushers that are not switched off; of some users, or of all."""
    rows = await conn.fetch(
        """
        SELECT u.user_nid, u.user_id
          FROM users u
         WHERE u.user_nid IN (SELECT p.user_nid FROM pushers p
                               WHERE p.enabled
                                 AND ($1::bigint[] IS NULL OR p.user_nid = ANY ($1)))
        """,
        None if of is None else list(of),
    )
    return {UserNid(row[0]): UserID(row[1]) for row in rows}


async def find(conn: Connection, pusher: PusherNid) -> Pusher | None:
    """A pusher, if it is still there, and not switched off."""
    row = await conn.fetchrow(
        """
        SELECT p.pusher_nid, p.user_nid, u.user_id, p.app_id, p.pushkey, p.data, p.set_ts, p.pause,
               p.retry_ts, p.unread
          FROM pushers p JOIN users u ON u.user_nid = p.user_nid
         WHERE p.pusher_nid = $1 AND p.enabled
        """,
        pusher,
    )
    return Pusher(*row) if row else None


async def fail(conn: Connection, pusher: PusherNid, pause: int, retry_ts: int) -> None:
    """Note that the gateway did not take what it was told."""
    await conn.execute(
        "UPDATE pushers SET pause = $2, retry_ts = $3 WHERE pusher_nid = $1",
        pusher,
        pause,
        retry_ts,
    )
