import pytest

from federation.identifiers import ServerName
from homeserver.storage.installation import settle
from homeserver.storage.pool import Database, DatabaseError

ONE, TWO = ServerName("one.test"), ServerName("two.test")


async def test_a_database_is_one_servers(database: Database) -> None:
    async with database.reader() as conn:
        first = await settle(conn, ONE)
        assert await settle(conn, ONE) == first
        assert len(first.state_hash_key) == 32
        with pytest.raises(DatabaseError, match=r"belongs to the server one\.test"):
            await settle(conn, TWO)
