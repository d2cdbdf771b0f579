"""Receipts: never back, only forward; to whom they are told; what peers may say."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from federation.identifiers import EventID, RoomID, ServerName, UserID
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.rooms.access import Access
from homeserver.rooms.drafting import Written
from homeserver.rooms.moments import Moments
from homeserver.rooms.receipts import TYPES, Marker, Receipts, receipt_content
from homeserver.rooms.standings import Reader, Standings
from homeserver.storage import outgoing
from homeserver.storage.clock import Clock
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.log import Kind, read_log
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Database
from homeserver.storage.process import Process
from homeserver.storage.receipts import UNTHREADED, ReceiptType, Shown
from homeserver.storage.states import States
from homeserver.storage.tail import Tail
from tests.federation.rooms import ANN, BOB, CAT
from tests.rooms.workers import Worker, worker

ROOM = RoomNid(1)
TWO = ServerName("two.test")


@dataclass
class Scene:
    """A room of Ann's with Bob of another server in it."""

    one: Worker
    database: Database
    room_id: RoomID
    receipts: Receipts
    ann: Reader
    bob: Reader
    process: Process

    async def say(self, text: str, **content: Any) -> EventID:
        answer = await self.one.send(self.room_id, "m.room.message", {"body": text, **content})
        assert isinstance(answer, Written)
        return answer.events[-1].event_id

    async def mark(
        self, event: EventID, kind: str = "m.read", thread: str = UNTHREADED, room: str = ""
    ) -> None:
        marker = Marker(TYPES[kind], event, thread)
        await self.receipts.mark(self.ann, RoomID(room or self.room_id), marker)

    async def receive(self, event: object, user: str = BOB, **changed: Any) -> None:
        receipt = {"event_ids": [event], "data": {"ts": 5}, **changed}
        content: dict[str, Any] = {self.room_id: {"m.read": {user: receipt}}}
        await self.receipts.receive(TWO, content)

    async def seen(self, reader: Reader | None = None, after: int = 0) -> Any:
        """What somebody is told: by event, type and user, the thread."""
        async with self.database.reader() as conn:
            user = (reader or self.ann).user
            found = await self.receipts.since(conn, user, {ROOM: after}, 2**60)
        return {
            (event, kind, who): data.get("thread_id")
            for event, kinds in found.get(ROOM, {}).items()
            for kind, users in kinds.items()
            for who, data in users.items()
        }

    async def positions(self) -> list[int]:
        async with self.database.reader() as conn:
            entries = await read_log(conn, 0)
        return [entry.pos for entry in entries if entry.kind == Kind.RECEIPT]


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    async with worker(database) as one, database.reader() as conn:
        room_id = await one.create()
        await one.member(room_id, BOB, "join")
        numbers, clock = Numbers(), Clock(SharedPositions(1), 0)
        tail = Tail(database, clock, 0)
        now = iter(range(1000, 10_000))
        process = Process(ServerName("one.test"), database, numbers, clock, tail, lambda: next(now))
        access = Access(numbers, Standings(numbers, Moments(numbers, States()), one.log))
        users = await numbers.users.find(conn, [ANN, BOB])
        yield Scene(
            one,
            database,
            room_id,
            Receipts(process, access),
            Reader(users[ANN], ANN),
            Reader(users[BOB], BOB),
            process,
        )


async def test_reading_on_and_never_back(scene: Scene) -> None:
    first, second = await scene.say("1"), await scene.say("2")
    await scene.mark(first)
    assert await scene.seen() == {(first, "m.read", ANN): None}
    await scene.mark(second)
    positions = await scene.positions()
    last = positions[-1]
    await scene.mark(first)
    await scene.mark(second)
    assert await scene.seen() == {(second, "m.read", ANN): None}
    assert await scene.positions() == positions
    assert await scene.seen(after=last) == {}
    assert scene.process.clock.position > last


async def test_private_receipts_are_for_their_owner(scene: Scene) -> None:
    first, second = await scene.say("1"), await scene.say("2")
    await scene.mark(first)
    await scene.mark(second, "m.read.private")
    public = {(first, "m.read", ANN): None}
    assert await scene.seen(scene.bob) == public
    assert await scene.seen() == public | {(second, "m.read.private", ANN): None}


async def test_other_servers_are_told(scene: Scene) -> None:
    """Of the newest only, of each thread apart, and never of private ones."""
    first, second, third = [await scene.say(text) for text in "123"]
    await scene.mark(first)
    await scene.mark(second)
    await scene.mark(second, thread="main")
    await scene.mark(third, "m.read.private")
    async with scene.database.reader() as conn:
        servers = await scene.process.numbers.servers.find(conn, [TWO])
        edus = (await outgoing.waiting(conn, servers[TWO], 0, 10)).edus
    assert {edu.type for edu in edus} == {"m.receipt"}
    told = [orjson.loads(edu.content)[scene.room_id]["m.read"][ANN] for edu in edus]
    assert [t["event_ids"] for t in told] == [[second], [second]]
    assert [t["data"].get("thread_id") for t in told] == [None, "main"]
    await scene.receive(first)
    async with scene.database.reader() as conn:
        assert len((await outgoing.waiting(conn, servers[TWO], 0, 10)).edus) == 2


async def test_threads_are_read_apart(scene: Scene) -> None:
    root, plain = await scene.say("root"), await scene.say("plain")
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = await scene.say("reply", **{"m.relates_to": relation})
    edit = await scene.say("edit", **{"m.relates_to": {"rel_type": "m.replace", "event_id": reply}})
    await scene.mark(edit, thread=root)
    await scene.mark(plain, thread="main")
    await scene.mark(root)
    assert await scene.seen() == {
        (edit, "m.read", ANN): root,
        (plain, "m.read", ANN): "main",
        (root, "m.read", ANN): None,
    }
    await scene.mark(root, thread=root)
    for event, thread in ((plain, root), (reply, "main"), (edit, "main"), (edit, plain)):
        with pytest.raises(InvalidParam):
            await scene.mark(event, thread=thread)


async def test_relations_in_a_circle_or_to_nothing(scene: Scene) -> None:
    for relation in ({"event_id": "$\0"}, {"event_id": 7}, {"event_id": "$none"}, "x", None):
        event = await scene.say("odd", **{"m.relates_to": relation})
        await scene.mark(event, thread="main")
        assert (event, "m.read", ANN) in await scene.seen()


async def test_who_may_mark_what(scene: Scene) -> None:
    event = await scene.say("hello")
    with pytest.raises(NotFound):
        await scene.mark(EventID("$nothing"))
    with pytest.raises(MatrixError):
        await scene.mark(event, room="!nowhere:one.test")
    await scene.one.member(scene.room_id, ANN, "leave")
    with pytest.raises(MatrixError):
        await scene.mark(event)
    assert await scene.positions() == []


async def test_what_another_server_tells(scene: Scene) -> None:
    first, second = await scene.say("1"), await scene.say("2")
    await scene.receive(second)
    await scene.receive(first)
    await scene.receive(first, data={"ts": 6, "thread_id": "main"})
    expected = {(second, "m.read", BOB): None, (first, "m.read", BOB): "main"}
    assert await scene.seen() == expected


async def test_a_receipt_may_come_before_its_event(scene: Scene) -> None:
    first = await scene.say("1")
    await scene.receive(first)
    await scene.receive("$notyet:two.test")
    assert await scene.seen() == {("$notyet:two.test", "m.read", BOB): None}
    second = await scene.say("2")
    await scene.receive(second)
    assert await scene.seen() == {(second, "m.read", BOB): None}


@pytest.mark.parametrize(
    "changed",
    [
        {"user": ANN},
        {"user": CAT},
        {"user": "@eve:two.test"},
        {"user": "bob"},
        {"event_ids": []},
        {"event_ids": "$x"},
        {"event_ids": [7]},
        {"event_ids": ["$\0"]},
        {"data": {}},
        {"data": {"ts": "5"}},
        {"data": {"ts": True}},
        {"data": {"ts": 2**70}},
        {"data": {"ts": -1}},
        {"data": {"ts": 5, "thread_id": 7}},
        {"data": {"ts": 5, "thread_id": "\0"}},
        {"data": {"ts": 5, "thread_id": "x" * 300}},
        {"data": []},
    ],
)
async def test_what_another_server_may_not_tell(scene: Scene, changed: dict[str, Any]) -> None:
    await scene.receive(await scene.say("1"), **changed)
    assert await scene.seen() == {}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"!nowhere:one.test": {"m.read": {BOB: {"event_ids": ["$a"], "data": {"ts": 1}}}}},
        {"!\0": {"m.read": {BOB: {"event_ids": ["$a"], "data": {"ts": 1}}}}},
        {"!a": []},
        {"!a": {"m.read": []}},
        {"!a": {"m.read": {BOB: []}}},
        {"!a": {"m.read.private": {BOB: {"event_ids": ["$a"], "data": {"ts": 1}}}}},
    ],
)
async def test_nonsense_of_another_server(scene: Scene, content: dict[str, Any]) -> None:
    await scene.receipts.receive(TWO, content)
    assert await scene.positions() == []


def test_one_user_has_one_place_under_an_event() -> None:
    """A receipt for all threads says more than one for a single thread."""

    def row(thread: str, user: str) -> Shown:
        return Shown(ROOM, UserID(user), ReceiptType.READ, thread, EventID("$a"), 7, 1)

    rows = [row(UNTHREADED, ANN), row("main", ANN), row("main", BOB)]
    users = {ANN: {"ts": 7}, BOB: {"ts": 7, "thread_id": "main"}}
    assert receipt_content(rows) == {"$a": {"m.read": users}}
    assert receipt_content(rows[::-1]) == {"$a": {"m.read": users}}
