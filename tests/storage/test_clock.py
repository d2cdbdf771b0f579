"""Positions, shared by the processes of a host, and heard of from others."""

import asyncio
import os

from homeserver.storage.clock import Clock, read_position
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.pool import Database

COMMIT = """
    WITH logged AS (INSERT INTO log (pos, kind) VALUES ($1, 1))
    SELECT pg_notify('clock', $1::bigint::text)
"""


def test_processes_see_each_others_positions() -> None:
    """The page is made before the fork; what the child writes, the parent reads."""
    shared = SharedPositions(3)
    child = os.fork()
    if child == 0:
        shared.raise_to(1, 2**40 + 7)
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.highest() == 2**40 + 7
    shared.raise_to(1, 5)  # never back
    shared.raise_to(0, 6)
    assert shared.all == [6, 2**40 + 7, 0]
    shared.close()


async def test_waiting_for_the_log_to_move() -> None:
    clock = Clock(SharedPositions(1), 0)
    waiting = [asyncio.create_task(clock.wait_beyond(n)) for n in (0, 4, 9)]
    await asyncio.sleep(0)
    clock.advance(5)
    assert await asyncio.gather(*waiting[:2]) == [5, 5]
    assert not waiting[2].done()
    clock.advance(3)  # heard late
    assert clock.position == 5
    clock.advance(10)
    assert await waiting[2] == 10


async def test_another_processs_commit_is_heard(database: Database) -> None:
    clock = Clock(SharedPositions(1), 0)
    listening = await database.connect()
    following = asyncio.create_task(clock.follow(listening))
    committing = await database.connect()
    await committing.execute(COMMIT.replace("$1", "1"))
    assert await asyncio.wait_for(clock.wait_beyond(0), 10) == 1
    await committing.execute(COMMIT.replace("$1", "2"))
    assert await asyncio.wait_for(clock.wait_beyond(1), 10) == 2
    assert await read_position(committing) == 2
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await listening.close()
    await committing.close()


async def test_an_empty_log(database: Database) -> None:
    async with database.reader() as conn:
        assert await read_position(conn) == 0


async def test_who_tells_what_they_committed_is_not_listened_to(database: Database) -> None:
    """Others are, and so are they once they do not tell any more."""
    clock = Clock(SharedPositions(1), 0)
    listening, own, other = [await database.connect() for _ in range(3)]
    await other.execute(COMMIT.replace("$1", "1"))
    following = asyncio.create_task(clock.follow(listening))
    # Seen by a look at the log, as it was before: the next look is some seconds off.
    assert await asyncio.wait_for(clock.wait_beyond(0), 10) == 1
    with clock.told_by(own.get_server_pid()):
        await own.execute(COMMIT.replace("$1", "2"))
        await other.execute(COMMIT.replace("$1", "3"))
        # Notifications come in the order of the commits: the first was passed over.
        assert await asyncio.wait_for(clock.wait_beyond(1), 10) == 3
    await own.execute(COMMIT.replace("$1", "4"))
    assert await asyncio.wait_for(clock.wait_beyond(3), 10) == 4
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for conn in (listening, own, other):
        await conn.close()
