"""Who shares rooms with whom, and what is kept in mind of them."""

from homeserver.rooms.ignoring import read_ignored
from homeserver.storage import standings
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database
from tests.federation.rooms import ANN, BOB, CAT
from tests.rooms.workers import worker


async def test_who_shares_a_room(database: Database) -> None:
    async with worker(database) as one, database.reader() as conn:
        first, second = await one.create(), await one.create()
        await one.member(first, BOB, "join")
        await one.member(second, CAT, "join")
        users = await Numbers().users.find(conn, [ANN, BOB, CAT])
        assert await standings.share_a_room(conn, users[ANN], users[BOB])
        assert not await standings.share_a_room(conn, users[BOB], users[CAT])
        found = await standings.servers_with(conn, users[ANN], "one.test")
        assert sorted(found) == ["three.test", "two.test"]
        assert await standings.servers_with(conn, users[BOB], "one.test") == ["two.test"]
        await one.member(first, BOB, "leave")
        assert not await standings.share_a_room(conn, users[ANN], users[BOB])
        assert await standings.servers_with(conn, users[ANN], "one.test") == ["three.test"]


def test_lists_of_ignored_users() -> None:
    for content in (None, b"{}", b'{"ignored_users": []}', b'{"ignored_users": {"bob": 1}}'):
        assert read_ignored(content) == frozenset()
    assert read_ignored(b'{"ignored_users": {"@b:x": {}, "7": {}}}') == {"@b:x"}
