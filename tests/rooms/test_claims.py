"""Rooms that nobody else writes to for a while."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.identifiers import RoomID
from homeserver.rooms import claims as claiming
from homeserver.rooms.claims import Claims
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database, OwnConnection


class Heads:
    """Nothing is known of any room."""

    async def drop_old(self, *_: object) -> set[RoomNid]:
        return set()


@pytest.fixture
async def claims(database: Database) -> AsyncIterator[Claims]:
    found = Claims(database, Numbers(), Heads())  # type: ignore[arg-type]
    yield found
    await found.close()


async def test_rooms_that_take_long_leave_some_to_others(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are."""
    released, at_work = asyncio.Event(), set[RoomNid]()
    slow = [RoomID(f"!slow{number}:a.test") for number in range(10)]

    async def quick(_: OwnConnection, room: RoomNid) -> RoomNid:
        return room

    async def hang(_: OwnConnection, room: RoomNid) -> None:
        at_work.add(room)
        await released.wait()

    with monkeypatch.context() as patch:
        patch.setattr(claiming, "_LONG", 0.0)
        for room_id in slow:
            await claims.doing(room_id, quick)
    working = [asyncio.create_task(claims.doing(room_id, hang)) for room_id in slow]
    async with asyncio.timeout(10):
        while len(at_work) < claiming._SLOW_AT_ONCE:  # noqa: ASYNC110 - they wait for a database
            await asyncio.sleep(0.01)
        for number in range(3):
            assert await claims.doing(RoomID(f"!quick{number}:a.test"), quick) not in at_work
        assert len(at_work) == claiming._SLOW_AT_ONCE
        released.set()
        await asyncio.gather(*working)
    assert len(at_work) == len(slow)
