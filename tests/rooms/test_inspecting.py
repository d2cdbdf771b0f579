"""Keys that are asked for bit by bit, as the events come that are signed with them."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from federation.identifiers import KeyID, ServerName
from federation.net.key_ring import NOTARY_BATCH, KeyRequest
from federation.server_keys import Keys, ServerKey
from homeserver.rooms.inspecting import _Keys
from tests.federation.rooms import signer

ID = KeyID("ed25519:1")
KEY = signer("one.test").key.verify_key


class Ring:
    """Answers what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[dict[ServerName, int]] = []
        self.beside: list[int] = []
        self.answers: list[asyncio.Event] = []
        self.valid_until = 1000
        self.unknown: set[ServerName] = set()

    async def get(
        self, wanted: Iterable[KeyRequest], *, sources: Any, deadline: float, beside: int
    ) -> Keys:
        requests = list(wanted)
        self.asked.append({request.server: request.valid_until_at_least for request in requests})
        self.beside.append(beside)
        self.answers.append(asyncio.Event())
        await self.answers[-1].wait()
        servers = {request.server for request in requests} - self.unknown
        return {server: {ID: ServerKey(KEY, self.valid_until)} for server in servers}


def _wanted(first: int, count: int, ts: int = 5) -> list[KeyRequest]:
    return [KeyRequest(_server(n), ID, ts) for n in range(first, first + count)]


def _server(number: int) -> ServerName:
    return ServerName(f"s{number}.test")


def _made() -> tuple[Ring, _Keys]:
    ring = Ring()
    return ring, _Keys(cast("Any", ring), ())


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_few_wait_for_those_under_way_and_many_do_not() -> None:
    ring, keys = _made()
    first = asyncio.create_task(keys.get(_wanted(0, 3)))
    await _turn()
    few = asyncio.create_task(keys.get(_wanted(2, 3)))
    await _turn()
    assert [set(asked) for asked in ring.asked] == [{_server(n) for n in range(3)}]
    many = asyncio.create_task(keys.get(_wanted(10, NOTARY_BATCH)))
    await _turn()
    gathered = {_server(n) for n in (3, 4, *range(10, 10 + NOTARY_BATCH))}
    assert set(ring.asked[1]) == gathered
    assert ring.beside == [0, 3]
    ring.answers[1].set()
    await many
    assert not few.done(), "one of its keys is under way"
    ring.answers[0].set()
    assert (await first).keys() == (await few).keys() == gathered | set(ring.asked[0])
    await keys.get(_wanted(0, 5))
    assert len(ring.asked) == 2, "what is known is not asked for again"


async def test_what_was_gathered_is_asked_for_next_or_in_a_hurry() -> None:
    ring, keys = _made()
    waiting = [asyncio.create_task(keys.get(_wanted(n, 1))) for n in range(3)]
    await _turn()
    assert [len(asked) for asked in ring.asked] == [1]
    ring.answers[0].set()
    await _turn()
    assert [len(asked) for asked in ring.asked] == [1, 2]
    waiting.append(asyncio.create_task(keys.get(_wanted(3, 1))))
    await _turn()
    assert len(ring.asked) == 2
    keys.hurry()
    await _turn()
    assert ring.asked[2] == {_server(3): 5}
    for answer in ring.answers:
        answer.set()
    await asyncio.gather(*waiting)


async def test_a_key_that_is_wanted_for_later() -> None:
    """It is asked for again if what is known of it does not reach that far, and once."""
    ring, keys = _made()
    ring.unknown.add(_server(1))
    early = asyncio.create_task(keys.get(_wanted(0, 2, ts=5)))
    await _turn()
    late = asyncio.create_task(keys.get(_wanted(0, 2, ts=2000)))
    await _turn()
    ring.answers[0].set()
    await _turn()
    assert ring.asked == [{_server(0): 5, _server(1): 5}, {_server(0): 2000}]
    ring.answers[1].set()
    await asyncio.gather(early, late)
    await keys.get(_wanted(0, 2, ts=1500))
    assert len(ring.asked) == 2


async def test_whoever_waits_goes_on_when_all_is_given_up() -> None:
    ring, keys = _made()
    waiting = asyncio.create_task(keys.get(_wanted(0, 2)))
    await _turn()
    await keys.close()
    async with asyncio.timeout(10):
        assert await waiting == {}
    assert len(ring.asked) == 1
