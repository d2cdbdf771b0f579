"""Values that are remembered until something is dropped."""

import asyncio

from homeserver.sync.remembered import Remembered


def _remembered(most: int = 10) -> Remembered[str, str]:
    return Remembered(most, len)


async def test_it_is_read_once() -> None:
    known, reads = _remembered(), 0

    async def read() -> str:
        nonlocal reads
        reads += 1
        return "abc"

    for _ in range(3):
        assert await known.of("a", read) == "abc"
    assert reads == 1
    known.drop("a")
    await known.of("a", read)
    assert reads == 2


async def test_what_was_read_before_something_changed_is_not_kept() -> None:
    known, may_go = _remembered(), asyncio.Event()

    async def read() -> str:
        await may_go.wait()
        return "old"

    reading = asyncio.create_task(known.of("a", read))
    await asyncio.sleep(0)
    known.drop("a")
    may_go.set()
    assert await reading == "old"
    assert known.get("a") is None


def test_what_was_used_last_is_kept() -> None:
    known = _remembered(6)
    for key in ("a", "b"):
        known.keep(key, "xyz", known.drops)
    assert known.get("a") == "xyz"
    known.keep("c", "xyz", known.drops)
    assert [known.get(key) for key in ("a", "b", "c")] == ["xyz", None, "xyz"]
    known.keep("d", "more than all", known.drops)
    assert [known.get(key) for key in ("a", "c", "d")] == [None] * 3
