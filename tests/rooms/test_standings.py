"""Who shares rooms with whom, and what is kept in mind of them."""

import random

import pytest

from federation.identifiers import RoomID, UserID
from homeserver.rooms.ignoring import read_ignored
from homeserver.rooms.moments import Moments
from homeserver.rooms.standings import Reader, Standings
from homeserver.storage import standings
from homeserver.storage.clock import read_position
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database
from homeserver.storage.states import States
from tests.federation.rooms import ANN, BOB, CAT
from tests.rooms.test_visibility import Counting
from tests.rooms.workers import Worker, worker


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


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_kept_in_mind_is_what_is_stored(database: Database, seed: int) -> None:
    """People come and go, and rules change, by this process and another one."""
    rng = random.Random(seed)
    async with worker(database) as one, worker(database) as other, database.reader() as conn:
        rooms = [await one.create(), await one.create()]
        numbers = Numbers()
        moments = Moments(numbers, States())
        nids = list((await numbers.rooms.find(conn, rooms)).values())
        await one.member(rooms[0], BOB, "join")
        users = await numbers.users.find(conn, [ANN, BOB])
        readers = [Reader(nid, UserID(user)) for user, nid in users.items()]
        kept = Standings(numbers, moments, one.log)
        counting = Counting(conn)
        for _ in range(80):
            acting = other if rng.random() < 0.2 else one
            await _move(rng, acting, rng.choice(rooms))
            one.clock.advance(await read_position(conn))
            for reader in readers:
                fresh = Standings(numbers, moments, one.log)
                said = await kept.read(counting, reader, nids)
                assert said == await fresh.read(conn, reader, nids)
        assert 0 < len(counting.asked) < 80


async def _move(rng: random.Random, acting: Worker, room: RoomID) -> None:
    what = rng.randrange(8)
    if what < 2:
        await acting.member(room, BOB, rng.choice(["join", "leave"]))
    elif what == 2:
        content = {"history_visibility": rng.choice(["shared", "joined"])}
        await acting.send(room, "m.room.history_visibility", content, state_key="")
    else:
        await acting.say(room, f"{rng.random()}")
