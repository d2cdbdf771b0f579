"""Keys of other servers, kept so that they need not be asked for again.

Those of servers of which nobody was ever in a room of ours are few, or the oldest make place:
anybody with a domain has thousands of such servers. Nothing that we have is signed by them.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Iterable, Sequence

import asyncpg
import orjson

from federation.canonical_json import JsonObject, encode
from federation.errors import KeyStoreError
from federation.identifiers import KeyID, ServerName
from federation.server_keys import KeyDocument, KeyName, KnownKey, ServerKey, Source
from federation.signing import VerifyKey
from homeserver.storage.pool import Connection, Database, DatabaseError

MOST_OF_STRANGERS = 1 << 26
"""Bytes that are kept of servers of which nobody was in any room."""
TRIMMED_AFTER = 1 << 24
"""Bytes that a process adds before it looks whether there are too many."""
_ROW = 150
"""Bytes of a row beside its texts and documents, about."""


class PostgresKeyStore:
    """See `federation.net.key_ring.KeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._added = 0

    async def load(self, wanted: Sequence[KeyName]) -> Iterable[KnownKey]:
        """Those of the keys that are stored."""
        try:
            async with self._database.reader() as conn:
                rows = await conn.fetch(
                    """
                    SELECT k.server_name, k.key_id, k.key, k.valid_until, k.is_old, k.source
                      FROM server_keys k
                      JOIN unnest($1::text[], $2::text[]) AS w (server_name, key_id)
                        ON k.server_name = w.server_name AND k.key_id = w.key_id
                    """,
                    [server for server, _ in wanted],
                    [key_id for _, key_id in wanted],
                )
        except (DatabaseError, asyncpg.PostgresError, OSError) as error:
            raise KeyStoreError("the keys cannot be read") from error
        return [
            KnownKey(
                ServerName(row[0]),
                KeyID(row[1]),
                ServerKey(VerifyKey(row[2]), row[3], is_old=row[4]),
                Source(row[5]),
            )
            for row in rows
        ]

    async def save(self, keys: Sequence[KnownKey], documents: Sequence[KeyDocument]) -> None:
        """Replace what is stored of these keys; keep the newest document of each server."""
        ordered = sorted(keys, key=lambda known: known.name)
        newest = {document.server: document for document in reversed(documents)}
        names = sorted(newest)
        published = [encode(newest[name].published, strict=False) for name in names]
        try:
            async with self._database.reader() as conn:
                await conn.execute(
                    """
                    INSERT INTO server_keys (server_name, key_id, key, valid_until, is_old, source)
                    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[],
                                         $5::boolean[], $6::smallint[])
                    ON CONFLICT (server_name, key_id) DO UPDATE
                       SET key = excluded.key, valid_until = excluded.valid_until,
                           is_old = excluded.is_old, source = excluded.source
                    """,
                    [known.server for known in ordered],
                    [known.key_id for known in ordered],
                    [bytes(known.key.key) for known in ordered],
                    [known.key.valid_until for known in ordered],
                    [known.key.is_old for known in ordered],
                    [known.source for known in ordered],
                )
                await conn.execute(
                    """
                    INSERT INTO key_documents (server_name, received_at, valid_until, json)
                    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[])
                    ON CONFLICT (server_name) DO UPDATE
                       SET received_at = excluded.received_at, valid_until = excluded.valid_until,
                           json = excluded.json
                    """,
                    names,
                    [newest[name].received_at for name in names],
                    [newest[name].valid_until for name in names],
                    published,
                )
                self._added += sum(map(len, published))
                if self._added >= TRIMMED_AFTER:
                    self._added = 0
                    await trim(conn, MOST_OF_STRANGERS)
        except (DatabaseError, asyncpg.PostgresError, OSError) as error:
            raise KeyStoreError("the keys cannot be written") from error

    async def documents(self, servers: Iterable[str]) -> list[JsonObject]:
        """What these servers published of themselves, as far as we know it."""
        async with self._database.reader() as conn:
            rows = await conn.fetch(
                "SELECT json FROM key_documents WHERE server_name = ANY ($1)", list(servers)
            )
        return [orjson.loads(row[0]) for row in rows]


async def trim(conn: Connection, most: int) -> None:
    """Forget the keys of those strangers that were asked for them longest ago, if they are many.

    Several may do so at the same time, and while keys are written.
    """
    await conn.execute(
        """
        WITH gone AS (
            DELETE FROM key_documents WHERE ctid = ANY (ARRAY(
                SELECT d.ctid
                  FROM (SELECT server_name,
                               sum(size) OVER (ORDER BY received_at DESC, server_name) AS of_all
                          FROM (SELECT server_name, received_at,
                                       octet_length(json) + coalesce(k.size, 0) + $2 AS size
                                  FROM key_documents LEFT JOIN (
                                       SELECT server_name,
                                              sum(octet_length(server_name)
                                                    + octet_length(key_id) + $2) AS size
                                         FROM server_keys GROUP BY server_name) k
                                 USING (server_name)
                                 WHERE server_name NOT IN (SELECT server_name FROM servers)
                               ) sized) summed
                  JOIN key_documents d USING (server_name)
                 WHERE summed.of_all > $1
                   FOR UPDATE OF d SKIP LOCKED))
            RETURNING server_name
        )
        DELETE FROM server_keys WHERE ctid = ANY (ARRAY(
            SELECT k.ctid FROM gone JOIN server_keys k USING (server_name)
               FOR UPDATE OF k SKIP LOCKED))
        """,
        most,
        _ROW,
    )
