"""What is kept of other servers' keys."""

from collections.abc import Sequence

import pytest

from federation.identifiers import KeyID, ServerName
from federation.server_keys import KeyDocument, KnownKey, ServerKey, Source
from federation.signing import SigningKey
from homeserver.storage import server_keys
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database
from homeserver.storage.server_keys import PostgresKeyStore

_KEY = SigningKey.from_seed("ed25519:a", bytes(32)).verify_key
_SIZE = 10_000
"""Of a document, about."""


async def _save(store: PostgresKeyStore, name: str, now: int) -> None:
    server, key = ServerName(name), ServerKey(_KEY, now)
    ids = [KeyID(f"ed25519:{number}") for number in range(3)]
    document = KeyDocument(server, dict.fromkeys(ids, key), now, now, {"x": "x" * _SIZE})
    await store.save([KnownKey(server, i, key, Source.ORIGIN) for i in ids], [document])


async def _kept(database: Database) -> tuple[Sequence[str], Sequence[str]]:
    async with database.reader() as conn:
        rows = await conn.fetch("SELECT server_name FROM key_documents ORDER BY 1")
        keys = await conn.fetch("SELECT DISTINCT server_name FROM server_keys ORDER BY 1")
    return [row[0] for row in rows], [row[0] for row in keys]


async def test_strangers_do_not_fill_the_disk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their keys are in the way of nobody's who was ever in a room, however long ago."""
    monkeypatch.setattr(server_keys, "TRIMMED_AFTER", 5 * _SIZE)
    monkeypatch.setattr(server_keys, "MOST_OF_STRANGERS", 10 * _SIZE)
    members = [f"m{number:02}.test" for number in range(20)]
    async with database.reader() as conn:
        await Numbers().servers.intern(conn, members)
    store = PostgresKeyStore(database)
    for now, name in enumerate(members):
        await _save(store, name, now)
    strangers = [f"s{number:02}.test" for number in range(50)]
    for now, name in enumerate(strangers, start=100):
        await _save(store, name, now)
    documents, keys = await _kept(database)
    assert documents == keys
    assert documents[:20] == members
    left = documents[20:]
    assert left == strangers[-len(left) :], "the newest stay"
    assert 5 < len(left) < 15
    async with database.reader() as conn:
        await server_keys.trim(conn, 0)
    assert await _kept(database) == (members, members)
