import asyncio

from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database


async def test_a_name_keeps_its_number(database: Database) -> None:
    """Also for another process, and for one that has forgotten it."""
    async with database.reader() as conn:
        first = await Numbers().users.intern(conn, ["@a:x", "@b:x"])
        assert len(set(first.values())) == 2
        again = await Numbers().users.intern(conn, ["@b:x", "@c:x", "@a:x"])
        assert first.items() < again.items()
        assert await Numbers().users.find(conn, ["@a:x", "@nobody:x"]) == {"@a:x": first["@a:x"]}


async def test_what_is_known_costs_no_query(database: Database) -> None:
    numbers = Numbers()
    conn = await database.connect()
    keys = [("m.room.member", f"@{n}:x") for n in range(50)]
    found = await numbers.state_keys.intern(conn, keys)
    await conn.close()
    assert await numbers.state_keys.find(conn, keys) == found


async def test_no_number_is_burnt_by_looking(database: Database) -> None:
    async with database.reader() as conn:
        for _ in range(5):
            found = await Numbers().rooms.intern(conn, ["!a:x"])
        assert await Numbers().rooms.intern(conn, ["!b:x"]) == {"!b:x": found["!a:x"] + 1}


async def test_many_at_once_agree(database: Database) -> None:
    """Eight processes intern the same names in different orders: no deadlock, one number each."""
    names = [f"${n}" for n in range(40)]

    async def intern(offset: int) -> dict[str, int]:
        conn = await database.connect()
        turned = names[offset:] + names[:offset]
        found = await Numbers().events.intern(conn, turned)
        await conn.close()
        return dict(found)

    first, *others = await asyncio.gather(*(intern(n * 5) for n in range(8)))
    assert all(found == first for found in others)
    assert len(set(first.values())) == 40
