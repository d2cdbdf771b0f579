"""Who is typing: what processes tell each other, what ends by itself, what peers may say."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from federation.identifiers import RoomID, ServerName, UserID
from homeserver.rooms.access import Access
from homeserver.rooms.moments import Moments
from homeserver.rooms.standings import Reader, Standings
from homeserver.rooms.typing import LONGEST, LONGEST_REMOTE, Typing
from homeserver.storage.bus import Bus, Message
from homeserver.storage.clock import Clock
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database
from homeserver.storage.process import Process
from homeserver.storage.states import States
from homeserver.storage.tail import Tail
from tests.federation.rooms import ANN, BOB
from tests.rooms.workers import worker

SERVER = ServerName("one.test")
ROOM = RoomNid(1)


@dataclass
class Scene:
    """A room of Ann's with Bob of another server in it, and what processes and servers are told."""

    room_id: RoomID
    typing: Typing
    reader: Reader
    edus: list[Message]
    changes: list[RoomNid]
    now: list[int]


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    async with worker(database) as one, database.reader() as conn:
        room_id = await one.create()
        await one.member(room_id, BOB, "join")
        numbers, now = Numbers(), [1_000_000]
        clock = Clock(SharedPositions(1), 0)
        tail = Tail(database, clock, 0)
        process = Process(SERVER, database, numbers, clock, tail, lambda: now[0])
        bus = Bus()
        edus: list[Message] = []
        changes: list[RoomNid] = []
        bus.hear("edu", edus.append)
        access = Access(numbers, Standings(numbers, Moments(numbers, States()), one.log))
        typing = Typing(process, bus, access)
        typing.on_change(changes.append)
        ann = (await numbers.users.find(conn, [ANN]))[ANN]
        yield Scene(room_id, typing, Reader(ann, ANN), edus, changes, now)


async def test_typing_and_ending_it(scene: Scene) -> None:
    before = scene.typing.latest
    await scene.typing.set(scene.reader, scene.room_id, 20_000)
    during = scene.typing.latest
    assert scene.typing.since([ROOM], before) == {ROOM: [ANN]}
    assert scene.typing.since([ROOM], during) == {}
    assert scene.typing.since([RoomNid(2)], before) == {}
    await scene.typing.set(scene.reader, scene.room_id, None)
    assert scene.typing.since([ROOM], during) == {ROOM: []}
    assert scene.typing.since([ROOM], 0) == {}
    assert scene.changes == [ROOM, ROOM]


async def test_saying_it_again_changes_nothing(scene: Scene) -> None:
    await scene.typing.set(scene.reader, scene.room_id, 20_000)
    during = scene.typing.latest
    scene.now[0] += 15_000
    await scene.typing.set(scene.reader, scene.room_id, 20_000)
    assert scene.typing.since([ROOM], during) == {}
    scene.now[0] += 15_000
    scene.typing.expire()
    assert scene.typing.since([ROOM], 0) == {ROOM: [ANN]}


async def test_it_ends_by_itself(scene: Scene) -> None:
    await scene.typing.set(scene.reader, scene.room_id, 10 * LONGEST)
    during = scene.typing.latest
    scene.now[0] += LONGEST - 1
    scene.typing.expire()
    assert scene.typing.since([ROOM], during) == {}
    scene.now[0] += 1
    scene.typing.expire()
    assert scene.typing.since([ROOM], during) == {ROOM: []}


async def test_an_alarm_is_set(scene: Scene) -> None:
    ended = asyncio.Event()
    await scene.typing.set(scene.reader, scene.room_id, 10)
    scene.typing.on_change(lambda _: ended.set())
    scene.now[0] += 10
    await asyncio.wait_for(ended.wait(), 5)
    assert scene.typing.since([ROOM], 1) == {ROOM: []}


async def test_other_servers_are_told(scene: Scene) -> None:
    await scene.typing.set(scene.reader, scene.room_id, 1000)
    await scene.typing.set(scene.reader, scene.room_id, None)
    content = {"room_id": scene.room_id, "user_id": ANN}
    assert scene.edus == [
        {"servers": ["two.test"], "type": "m.typing", "content": {**content, "typing": True}},
        {"servers": ["two.test"], "type": "m.typing", "content": {**content, "typing": False}},
    ]


async def test_what_another_server_tells(scene: Scene) -> None:
    content: dict[str, Any] = {"room_id": scene.room_id, "user_id": BOB, "typing": True}
    await scene.typing.receive(ServerName("two.test"), content)
    assert scene.typing.since([ROOM], 0) == {ROOM: [BOB]}
    assert scene.edus == []
    scene.now[0] += LONGEST_REMOTE
    scene.typing.expire()
    assert scene.typing.since([ROOM], 0) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": ANN},
        {"user_id": "@eve:two.test"},
        {"user_id": "bob"},
        {"user_id": "@\0:two.test"},
        {"user_id": 7},
        {"room_id": "!nowhere:one.test"},
        {"room_id": "!\0"},
        {"room_id": ["!"]},
        {"typing": "yes"},
        {"typing": None},
    ],
)
async def test_what_another_server_may_not_tell(scene: Scene, changed: dict[str, Any]) -> None:
    content = {"room_id": scene.room_id, "user_id": BOB, "typing": True, **changed}
    await scene.typing.receive(ServerName("two.test"), content)
    assert scene.typing.since([ROOM], 0) == {}


async def test_another_process_hears_of_it(scene: Scene) -> None:
    """What one tells the other comes over the database; here it is handed over."""
    told: list[Message] = []
    scene.typing._bus.hear("typing", told.append)
    await scene.typing.set(scene.reader, scene.room_id, 1000)
    other = Typing(scene.typing._process, Bus(), cast("Access", None))
    other._bus.tell("typing", told[0])
    assert other.since([ROOM], 0) == {ROOM: [UserID(ANN)]}
