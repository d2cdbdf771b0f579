"""The newest rows of the log in memory."""

import asyncio
from typing import Any

import pytest

from homeserver.storage.clock import Clock
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.log import Entry, Kind
from homeserver.storage.pool import Database, open_database
from homeserver.storage.tail import RecentLog

_APPEND = "SELECT append_log($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[])"


class Scene:
    """A log that this process and others write to."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock(SharedPositions(1), 0)
        self.log = RecentLog(database, self.clock, 0)
        self.reads: list[str] = []
        aside = database.aside

        def noted() -> Any:
            self.reads.append("read")
            return aside()

        database.aside = noted  # type: ignore[method-assign]

    async def write(self, *items: int) -> list[Entry]:
        """Rows that are committed, and not noted."""
        many = len(items)
        kinds, nothing = [int(Kind.RECEIPT)] * many, [None] * many
        async with self.database.reader() as conn:
            first = await conn.fetchval(_APPEND, kinds, nothing, nothing, list(items))
        return [Entry(first + n, Kind.RECEIPT, None, None, item) for n, item in enumerate(items)]

    async def items(self, after: int = 0) -> list[int | None]:
        return [row.item for row in await self.log.after(after)]


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_what_was_written_here_is_not_read(scene: Scene) -> None:
    for item in (1, 2):
        rows = await scene.write(item)
        scene.log.note(rows)
        scene.clock.advance(rows[-1].pos)
    assert await scene.items() == [1, 2]
    assert await scene.items(rows[-1].pos) == []
    assert not scene.reads


async def test_what_others_wrote_before_is_not_left_out(scene: Scene) -> None:
    first = await scene.write(1)
    scene.log.note(first)
    scene.clock.advance(first[-1].pos)
    await scene.write(2)
    rows = await scene.write(3)
    scene.log.note(rows)
    scene.clock.advance(rows[-1].pos)
    assert await scene.items() == [1, 2, 3]
    assert await scene.items(first[-1].pos) == [2, 3]
    assert len(scene.reads) == 1


async def test_who_follows_at_the_same_time_reads_once(scene: Scene) -> None:
    rows = await scene.write(1, 2)
    scene.clock.advance(rows[-1].pos)
    found = await asyncio.gather(*(scene.items() for _ in range(5)))
    assert found == [[1, 2]] * 5
    assert len(scene.reads) == 1


async def test_what_is_not_kept_any_more_is_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.storage.tail._REMEMBERED", 2)
    rows = await scene.write(1, 2, 3, 4, 5)
    for row in rows:
        scene.log.note([row])
        scene.clock.advance(row.pos)
    assert await scene.items(rows[2].pos) == [4, 5]
    assert not scene.reads
    assert await scene.items() == [1, 2, 3, 4, 5]
    assert len(scene.reads) == 1


async def test_who_asks_may_have_the_last_connection(database: Database) -> None:
    """And if all who have one wait for what is new, they are told."""
    single = await open_database(database.where, readers=1)
    scene = Scene(single)
    try:
        rows = await scene.write(1)
        async with single.reader(), asyncio.timeout(10):
            scene.clock.advance(rows[-1].pos)
            assert await scene.items() == [1]
    finally:
        await single.close()
