"""Heads stay within their budget, and know what they are asked for."""

from homeserver.rooms.heads import Heads
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database
from homeserver.storage.states import States
from tests.federation.rooms import ANN, BOB
from tests.rooms.workers import worker

NAME, MEMBER = ("m.room.name", ""), ("m.room.member", ANN)


async def test_a_head_knows_what_it_was_asked(database: Database) -> None:
    async with worker(database) as one, database.reader() as conn:
        await one.create(name="Hall")
        heads = Heads(Numbers(), States())
        found = await heads.get(conn, {RoomNid(1): [NAME, ("m.room.member", BOB)]})
        head = found[RoomNid(1)]
        name = head.known[NAME]
        assert name is not None
        assert name.event.content == {"name": "Hall"}
        assert head.known[("m.room.member", BOB)] is None
        assert MEMBER not in head.known
        again = await heads.get(conn, {RoomNid(1): [MEMBER]})
        assert again[RoomNid(1)] is head
        assert head.known[MEMBER] is not None


async def test_heads_within_a_budget(database: Database) -> None:
    """Those used lately stay; what is handed out is whole, whatever is forgotten meanwhile."""
    async with worker(database) as one, database.reader() as conn:
        names = [str(number) for number in range(1, 25)]
        for name in names:
            await one.create(name=name)
        rooms = [RoomNid(int(name)) for name in names]
        heads = Heads(Numbers(), States(), budget=80_000)
        first = await heads.get(conn, {room: [NAME] for room in rooms})
        known = [head.known[NAME] for head in first.values()]
        assert [tip.event.content["name"] for tip in known if tip] == names
        assert (await heads.get(conn, {rooms[-1]: []}))[rooms[-1]] is first[rooms[-1]]
        assert (await heads.get(conn, {rooms[0]: []}))[rooms[0]] is not first[rooms[0]]


async def test_heads_of_the_past_are_found_out(database: Database) -> None:
    async with worker(database) as one, database.reader() as conn:
        room_id = await one.create()
        heads = Heads(Numbers(), States())
        await heads.get(conn, {RoomNid(1): []})
        assert await heads.drop_old(conn, [RoomNid(1)]) == set()
        await one.say(room_id, "hello")
        assert await heads.drop_old(conn, [RoomNid(1)]) == {1}
        assert await heads.drop_old(conn, [RoomNid(1)]) == set()
