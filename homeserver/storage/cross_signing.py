"""Keys with which people sign their own devices and each other's, and those signatures.

https://spec.matrix.org/v1.19/client-server-api/#cross-signing
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from homeserver.storage.log import Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection


class SigningKeyRow(NamedTuple):
    """A key of somebody."""

    user_id: str
    usage: str
    json: bytes


class SignatureRow(NamedTuple):
    """Somebody's signature on somebody's key."""

    target: str
    """A device ID, or a public key."""
    target_id: str
    """Whose key it is."""
    signer_id: str
    key_id: str
    signature: str


async def find(conn: Connection, users: Collection[str]) -> list[SigningKeyRow]:
    """All keys of these users."""
    rows = await conn.fetch(
        """
        SELECT u.user_id, k.usage, k.json
          FROM users u JOIN cross_signing_keys k ON k.user_nid = u.user_nid
         WHERE u.user_id = ANY ($1)
        """,
        list(users),
    )
    return [SigningKeyRow(*row) for row in rows]


async def put(conn: Connection, user: UserNid, keys: Mapping[str, bytes]) -> int | None:
    """Store keys by usage; the position. Signatures on keys that were replaced are gone."""
    pos: int | None = await conn.fetchval(
        """
        WITH stored AS (
            INSERT INTO cross_signing_keys (user_nid, usage, json)
            SELECT $1, k.usage, k.json FROM unnest($2::text[], $3::bytea[]) AS k (usage, json)
            ON CONFLICT (user_nid, usage) DO UPDATE SET json = excluded.json
            RETURNING 1
        )
        SELECT append_log(ARRAY[$4::smallint], ARRAY[NULL::bigint], ARRAY[$1::bigint],
                          ARRAY[NULL::bigint])
          FROM (SELECT count(*) AS n FROM stored) s WHERE n > 0
        """,
        user,
        list(keys),
        list(keys.values()),
        Kind.DEVICE_KEYS,
    )
    return pos


async def signatures(
    conn: Connection, users: Collection[str], reader: UserNid | None
) -> list[SignatureRow]:
    """Signatures on keys of these users: their own, and the reader's."""
    rows = await conn.fetch(
        """
        SELECT s.target, t.user_id, g.user_id, s.key_id, s.signature
          FROM users t
          JOIN key_signatures s ON s.target_nid = t.user_nid
          JOIN users g ON g.user_nid = s.signer_nid
         WHERE t.user_id = ANY ($1) AND (s.signer_nid = t.user_nid OR s.signer_nid = $2)
        """,
        list(users),
        reader,
    )
    return [SignatureRow(*row) for row in rows]


async def add_signatures(
    conn: Connection, signer: UserNid, rows: Sequence[tuple[UserNid, str, str, str]]
) -> int | None:
    """Store signatures: of whose key, which, by which key, and the signature; the position."""
    pos: int | None = await conn.fetchval(
        """
        WITH given AS (
            SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[])
                          AS g (target_nid, target, key_id, signature)
             ORDER BY 1, 2, 3
        ), stored AS (
            INSERT INTO key_signatures AS old (target_nid, target, signer_nid, key_id, signature)
            SELECT target_nid, target, $1, key_id, signature FROM given
            ON CONFLICT (target_nid, target, signer_nid, key_id) DO UPDATE
               SET signature = excluded.signature WHERE old.signature <> excluded.signature
            RETURNING target_nid, target
        ), signed AS (
            SELECT DISTINCT s.target_nid,
                   CASE WHEN s.target_nid = $1 THEN d.device_nid ELSE 0 END AS item
              FROM stored s
              LEFT JOIN devices d ON d.user_nid = s.target_nid AND d.device_id = s.target
        )
        SELECT append_log(array_agg($6::smallint), array_agg(NULL::bigint),
                          array_agg(target_nid), array_agg(item))
          FROM signed
        """,
        signer,
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        Kind.DEVICE_KEYS,
    )
    return pos
