"""What a process recalls of what it wrote is what the database holds, or it recalls nothing."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from federation.identifiers import RoomID
from homeserver.rooms.drafting import Written
from homeserver.rooms.intake import Answer
from homeserver.storage import history, recent_events, sync, unread
from homeserver.storage.clock import read_position
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection, Database
from homeserver.storage.recent_events import RecentEvent
from tests.federation.rooms import BOB
from tests.rooms.workers import Worker, worker


@pytest.fixture
async def one(database: Database) -> AsyncIterator[Worker]:
    async with worker(database) as running:
        yield running


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Worker]:
    async with worker(database) as running:
        yield running


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    async with database.reader() as lent:
        yield lent


def _shown(placed: Placed) -> tuple[Any, ...]:
    return (*placed._replace(event=None), placed.event.event_id, placed.event.json)  # type: ignore[arg-type]


async def _read(
    conn: Connection, room: RoomNid, after: int, up_to: int
) -> tuple[list[Any], list[Any], list[Any]]:
    """The same from the database."""
    pages = await history.pages(conn, {room: (after << 24, up_to << 24)}, 1000)
    changes = await sync.changes(conn, {room: after}, up_to)
    notable = await unread.since(conn, {room: after}, up_to)
    told = [one._replace(mentioned=tuple(one.mentioned)) for one in notable[room]]
    return [_shown(one) for one in pages[room]], changes[room], told


def _recalled(recent: list[RecentEvent]) -> tuple[list[Any], list[Any], list[Any]]:
    placed = [_shown(one.placed) for one in recent]
    changes = [change for one in recent for change in one.changes]
    return placed, changes, [one.notable for one in recent if one.notable]


async def room_of(conn: Connection, room_id: RoomID) -> RoomNid:
    found: RoomNid = await conn.fetchval("SELECT room_nid FROM rooms WHERE room_id = $1", room_id)
    return found


def _id(answer: Answer) -> str:
    assert isinstance(answer, Written), answer
    return answer.events[-1].event_id


_ACTS = ["say", "say", "say", "relate", "thread", "topic", "member", "redact", "keep"]


async def _act(rng: random.Random, one: Worker, room: RoomID, said: list[str]) -> None:
    """Something happens in a room."""
    what = rng.choice(
        ["say", "say", "say", "relate", "thread", "topic", "member", "redact", "keep"]
    )
    text = f"{rng.random()}"
    if what == "say":
        said.append(_id(await one.say(room, text)))
    elif what in {"relate", "thread"} and said:
        kind = "m.annotation" if what == "relate" else "m.thread"
        relation = {"rel_type": kind, "event_id": rng.choice(said), "key": text}
        content = {"body": text, "m.relates_to": relation, "m.mentions": {"user_ids": [BOB]}}
        await one.send(room, "m.room.message", content)
    elif what == "topic":
        await one.send(room, "m.room.topic", {"topic": text}, state_key="")
    elif what == "member":
        for membership in ("join", "leave"):
            await one.member(room, BOB, membership)
    elif what == "redact" and said:
        await one.send(room, "m.room.redaction", {"redacts": rng.choice(said)})
    elif what == "keep":
        lifetime = {"max_lifetime": rng.choice([86_400_000, 864_000_000])}
        await one.send(room, "m.room.retention", lifetime, state_key="")


@pytest.mark.parametrize("seed", range(4))
async def test_it_recalls_what_was_written(
    one: Worker, other: Worker, conn: Connection, seed: int
) -> None:
    """Random actions, of this process mostly; every span that is recalled is compared."""
    rng = random.Random(seed)
    rooms = [await one.create(), await one.create()]
    nids = [await room_of(conn, room) for room in rooms]
    said: list[list[str]] = [[], []]
    recalled = 0
    for _ in range(60):
        at = rng.randrange(2)
        await _act(rng, other if rng.random() < 0.1 else one, rooms[at], said[at])
        position = await read_position(conn)
        one.clock.advance(position)
        await one.log.after(position)
        for after in (position - 1, position - rng.randrange(1, 8)):
            for nid in nids:
                recent = one.log.events(nid, after, one.log.reached)
                if recent is not None:
                    assert _recalled(recent) == await _read(conn, nid, after, one.log.reached)
                    recalled += bool(recent)
    assert recalled > 20


async def test_nothing_is_recalled_of_what_another_process_wrote(
    one: Worker, other: Worker, conn: Connection
) -> None:
    room = await one.create()
    nid = await room_of(conn, room)
    before = await read_position(conn)
    await one.say(room, "mine")
    recent = one.log.events(nid, before, one.log.reached)
    assert recent is not None
    assert len(recent) == 1
    await other.say(room, "theirs")
    await one.say(room, "mine again")
    await one.log.after(before)
    assert one.log.events(nid, before, one.log.reached) is None
    # From there on all is known again.
    since = one.log.reached
    await one.say(room, "and again")
    recent = one.log.events(nid, since, one.log.reached)
    assert recent is not None
    assert [event.placed.event.content["body"] for event in recent] == ["and again"]


async def test_what_was_redacted_is_not_recalled(one: Worker, conn: Connection) -> None:
    room = await one.create()
    nid = await room_of(conn, room)
    before = await read_position(conn)
    said = _id(await one.say(room, "secret"))
    assert one.log.events(nid, before, one.log.reached)
    await one.send(room, "m.room.redaction", {"redacts": said})
    assert one.log.events(nid, before, one.log.reached) is None


async def test_of_much_the_oldest_is_forgotten(
    one: Worker, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_events, "_MOST_BYTES", 3000)
    room = await one.create()
    nid = await room_of(conn, room)
    positions = []
    for number in range(8):
        positions.append(await read_position(conn))
        await one.say(room, f"{number}")
    assert one.log.events(nid, positions[0], one.log.reached) is None
    recent = one.log.events(nid, positions[-1], one.log.reached)
    assert recent is not None
    assert [event.placed.event.content["body"] for event in recent] == ["7"]
