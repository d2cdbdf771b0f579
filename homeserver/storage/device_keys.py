"""Keys of devices of this server: identity keys, one-time keys, fallback keys.

https://spec.matrix.org/v1.19/client-server-api/#device-keys
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class KeyRow(NamedTuple):
    """A one-time key, or a fallback key."""

    algorithm: str
    key_id: str
    json: bytes


class DeviceRow(NamedTuple):
    """A device with keys."""

    user: UserNid
    user_id: UserID
    device_id: str
    display_name: str | None
    json: bytes


class Claim(NamedTuple):
    """Whose one-time key is wanted."""

    user_id: str
    device_id: str
    algorithm: str


class Claimed(NamedTuple):
    """A key that was handed out."""

    user_id: str
    device_id: str
    algorithm: str
    key_id: str
    json: bytes


async def find(conn: Connection, device: int) -> bytes | None:
    """The identity keys of a device."""
    found: bytes | None = await conn.fetchval(
        "SELECT json FROM device_keys WHERE device_nid = $1", device
    )
    return found


async def put(conn: Connection, device: int, user: UserNid, json: bytes) -> int | None:
    """Store a device's identity keys; the position, or `None` if they were so already."""
    pos: int | None = await conn.fetchval(
        """
        WITH stored AS (
            INSERT INTO device_keys AS old (device_nid, user_nid, json)
            SELECT device_nid, user_nid, $3 FROM devices
             WHERE device_nid = $1 AND user_nid = $2
            ON CONFLICT (device_nid) DO UPDATE SET json = excluded.json
             WHERE old.json <> excluded.json
            RETURNING user_nid
        )
        SELECT append_log(ARRAY[$4::smallint], ARRAY[NULL::bigint], ARRAY[user_nid],
                          ARRAY[$1::bigint])
          FROM stored
        """,
        device,
        user,
        json,
        Kind.DEVICE_KEYS,
    )
    return pos


async def one_time_keys(
    conn: Connection, device: int, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], bytes]:
    """Those of the keys, by algorithm and ID, that are there already."""
    rows = await conn.fetch(
        """
        SELECT k.algorithm, k.key_id, k.json
          FROM one_time_keys k
          JOIN unnest($2::text[], $3::text[]) AS w (algorithm, key_id)
            ON k.algorithm = w.algorithm AND k.key_id = w.key_id
         WHERE k.device_nid = $1
        """,
        device,
        [algorithm for algorithm, _ in wanted],
        [key_id for _, key_id in wanted],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def add_keys(
    conn: Connection,
    device: int,
    user: UserNid,
    one_time: Sequence[KeyRow],
    fallback: Sequence[KeyRow],
) -> int | None:
    """Store keys of a device; answers the position."""
    pos: int | None = await conn.fetchval(
        """
        WITH device AS (
            SELECT device_nid FROM devices WHERE device_nid = $1 FOR KEY SHARE
        ), added AS (
            INSERT INTO one_time_keys (device_nid, algorithm, key_id, json)
            SELECT d.device_nid, k.algorithm, k.key_id, k.json
              FROM device d,
                   unnest($3::text[], $4::text[], $5::bytea[]) AS k (algorithm, key_id, json)
            ON CONFLICT DO NOTHING
            RETURNING 1
        ), fallen AS (
            INSERT INTO fallback_keys AS old (device_nid, algorithm, key_id, json)
            SELECT d.device_nid, k.algorithm, k.key_id, k.json
              FROM device d,
                   unnest($6::text[], $7::text[], $8::bytea[]) AS k (algorithm, key_id, json)
            ON CONFLICT (device_nid, algorithm) DO UPDATE
               SET key_id = excluded.key_id, json = excluded.json, used = false
             WHERE old.key_id <> excluded.key_id OR old.json <> excluded.json
            RETURNING 1
        ), written AS (SELECT (SELECT count(*) FROM added) + (SELECT count(*) FROM fallen) AS n)
        SELECT append_log(ARRAY[$9::smallint], ARRAY[NULL::bigint], ARRAY[$2::bigint],
                          ARRAY[$1::bigint])
          FROM written WHERE n > 0
        """,
        device,
        user,
        *key_columns(one_time),
        *key_columns(fallback),
        Kind.ONE_TIME_KEYS,
    )
    return pos


async def counts(conn: Connection, device: int) -> tuple[dict[str, int], list[str]]:
    """How many one-time keys are left, and for which algorithms a fallback key is unused."""
    rows = await conn.fetch(
        """
        SELECT algorithm, count(*), false FROM one_time_keys WHERE device_nid = $1 GROUP BY 1
         UNION ALL
        SELECT algorithm, 0, true FROM fallback_keys WHERE device_nid = $1 AND NOT used
        """,
        device,
    )
    left = {row[0]: row[1] for row in rows if not row[2]}
    return left, [row[0] for row in rows if row[2]]


async def devices_of(conn: Connection, users: Collection[str]) -> list[DeviceRow]:
    """The devices with keys of users of this server."""
    rows = await conn.fetch(
        """
        SELECT u.user_nid, u.user_id, d.device_id, d.display_name, k.json
          FROM users u
          JOIN device_keys k ON k.user_nid = u.user_nid
          JOIN devices d ON d.device_nid = k.device_nid
         WHERE u.user_id = ANY ($1)
        """,
        list(users),
    )
    return [DeviceRow(*row) for row in rows]


async def claim(conn: Connection, claims: Sequence[Claim]) -> tuple[list[Claimed], list[Claim]]:
    """Hand out one key for each claim, the oldest, and never the same twice; and what got none.

    First those that nobody else is taking; then, for who got none, one after the other.
    """
    found = await _take(conn, claims, "SKIP LOCKED")
    missing = _without(claims, found)
    if missing:
        found += await _take(conn, missing, "")
    return found, _without(missing, found)


async def _take(conn: Connection, claims: Sequence[Claim], locked: str) -> list[Claimed]:
    rows = await conn.fetch(
        f"""
        WITH wanted AS (
            SELECT d.device_nid, d.user_nid, w.*
              FROM unnest($1::text[], $2::text[], $3::text[])
                   AS w (user_id, device_id, algorithm)
              JOIN users u ON u.user_id = w.user_id
              JOIN devices d ON d.user_nid = u.user_nid AND d.device_id = w.device_id
             ORDER BY d.device_nid, w.algorithm
        ), picked AS MATERIALIZED (
            SELECT w.*, k.key_id
              FROM wanted w
             CROSS JOIN LATERAL (
                   SELECT key_id FROM one_time_keys
                    WHERE device_nid = w.device_nid AND algorithm = w.algorithm
                    ORDER BY nr LIMIT 1
                      FOR UPDATE {locked}
                   ) k
        ), taken AS (
            DELETE FROM one_time_keys k USING picked p
             WHERE k.device_nid = p.device_nid AND k.algorithm = p.algorithm
               AND k.key_id = p.key_id
            RETURNING p.user_id, p.device_id, k.algorithm, k.key_id, k.json, p.user_nid,
                      p.device_nid
        ), logged AS (
            SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                              array_agg(user_nid), array_agg(device_nid)) FROM taken
        )
        SELECT t.user_id, t.device_id, t.algorithm, t.key_id, t.json FROM taken t, logged
        """,  # noqa: S608 - one of two words
        *_claim_columns(claims),
        Kind.ONE_TIME_KEYS,
    )
    return [Claimed(*row) for row in rows]


async def claim_fallback(conn: Connection, claims: Sequence[Claim]) -> list[Claimed]:
    """Hand out fallback keys, which stay, and are used from now on."""
    rows = await conn.fetch(
        """
        WITH wanted AS (
            SELECT d.device_nid, d.user_nid, w.*
              FROM unnest($1::text[], $2::text[], $3::text[])
                   AS w (user_id, device_id, algorithm)
              JOIN users u ON u.user_id = w.user_id
              JOIN devices d ON d.user_nid = u.user_nid AND d.device_id = w.device_id
        ), used AS (
            UPDATE fallback_keys f SET used = true FROM wanted w
             WHERE f.device_nid = w.device_nid AND f.algorithm = w.algorithm AND NOT f.used
            RETURNING w.user_nid, w.device_nid
        ), logged AS (
            SELECT append_log(array_agg($4::smallint), array_agg(NULL::bigint),
                              array_agg(user_nid), array_agg(device_nid)) FROM used
        )
        SELECT w.user_id, w.device_id, f.algorithm, f.key_id, f.json
          FROM wanted w
          JOIN fallback_keys f ON f.device_nid = w.device_nid AND f.algorithm = w.algorithm,
               logged
        """,
        *_claim_columns(claims),
        Kind.ONE_TIME_KEYS,
    )
    return [Claimed(*row) for row in rows]


def _without(claims: Sequence[Claim], found: Sequence[Claimed]) -> list[Claim]:
    done = {(key.user_id, key.device_id, key.algorithm) for key in found}
    return [claim for claim in claims if tuple(claim) not in done]


def _claim_columns(claims: Sequence[Claim]) -> list[list[str]]:
    return [
        [claim.user_id for claim in claims],
        [claim.device_id for claim in claims],
        [claim.algorithm for claim in claims],
    ]


def key_columns(keys: Sequence[KeyRow]) -> list[list[object]]:
    """The keys as arrays: the algorithms, the IDs, the keys."""
    return [[k.algorithm for k in keys], [k.key_id for k in keys], [k.json for k in keys]]
