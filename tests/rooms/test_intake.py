"""The one way into a room: what is written, what is refused, and who wins."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from federation.auth import authorise
from federation.building import Draft
from federation.decision import Denied
from federation.errors import EventSizeError
from federation.events import Event
from federation.identifiers import EventID, RoomID
from federation.room_versions import ROOM_VERSIONS, V12, RoomVersion
from homeserver.rooms.drafting import Submission, Work, Written
from homeserver.rooms.intake import Answer, Repeated
from homeserver.storage.events import get_events
from homeserver.storage.pool import Connection, Database
from homeserver.storage.state_groups import EventNid
from homeserver.storage.states import States
from tests.federation.rooms import ANN, BOB
from tests.rooms.workers import SIGNER, Worker, worker


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


def event_id(answer: Answer) -> EventID:
    assert isinstance(answer, Written), answer
    return answer.events[-1].event_id


async def timeline(conn: Connection) -> list[EventID]:
    rows = await conn.fetch(
        """
        SELECT i.event_id FROM events e JOIN event_ids i USING (event_nid) ORDER BY e.room_order
        """
    )
    return [row[0] for row in rows]


async def check_one_line(conn: Connection) -> None:
    """Every event of the only room has the one before it as its only parent."""
    nids = await conn.fetch("SELECT event_nid FROM events ORDER BY room_order")
    events = await get_events(conn, [EventNid(row[0]) for row in nids])
    line = [events[EventNid(row[0])] for row in nids]
    for before, event in itertools.pairwise(line):
        assert event.prev_events == (before.event_id,)
    room = await conn.fetchrow("SELECT extremities, group_nid FROM rooms")
    assert room[0] == [nids[-1][0]]


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda v: f"v{v.name}")
async def test_a_new_room(one: Worker, conn: Connection, version: RoomVersion) -> None:
    room_id = await one.create(version, name="Hall", invites=[BOB])
    await check_one_line(conn)
    row = await conn.fetchrow("SELECT room_id, version, head, group_nid FROM rooms")
    assert tuple(row)[:3] == (room_id, version.name, 1)
    state = (await States().load(conn, [row[3]]))[row[3]].entries()
    now = await conn.fetch("SELECT state_key_nid, event_nid FROM current_state")
    assert state == {r[0]: r[1] for r in now}
    members = await conn.fetch(
        "SELECT user_id, membership FROM memberships JOIN users USING (user_nid) ORDER BY 1"
    )
    assert [tuple(member) for member in members] == [(ANN, 1), (BOB, 2)]
    servers = await conn.fetch(
        "SELECT server_name, joined FROM room_servers JOIN servers USING (server_nid)"
    )
    assert [tuple(server) for server in servers] == [("one.test", 1)]
    log = await conn.fetch("SELECT pos FROM log ORDER BY pos")
    assert [entry[0] for entry in log] == list(range(1, len(log) + 1))


async def test_what_is_refused_leaves_nothing(one: Worker, conn: Connection) -> None:
    room_id = await one.create()
    before = await timeline(conn)
    answer = await one.say(room_id, "let me in", sender=BOB)
    assert isinstance(answer, Denied)
    assert answer.rule == "sender.membership"
    assert await timeline(conn) == before


async def test_all_or_nothing(one: Worker, conn: Connection) -> None:
    """The second event is refused, so the first does not happen; others are not harmed."""
    room_id = await one.create()
    before = await timeline(conn)
    drafts = [
        Draft("m.room.topic", ANN, {"topic": "t"}, "", room_id),
        Draft("m.room.message", BOB, {}, None, room_id),
    ]
    refused, said = await asyncio.gather(
        one.intake.submit(room_id, Submission(drafts)), one.say(room_id, "hello")
    )
    assert isinstance(refused, Denied)
    assert await timeline(conn) == [*before, event_id(said)]
    await check_one_line(conn)


async def test_unknown_rooms(one: Worker) -> None:
    for room_id in ("!nowhere:one.test", "!" + "A" * 43):
        answer = await one.say(RoomID(room_id), "hello")
        assert isinstance(answer, Denied)
        assert answer.rule == "room.unknown"


async def test_one_that_is_too_large_harms_nobody_else(one: Worker) -> None:
    room_id = await one.create()
    large, small = await asyncio.gather(
        one.say(room_id, "x" * 70_000), one.say(room_id, "x"), return_exceptions=True
    )
    assert isinstance(large, EventSizeError)
    assert isinstance(small, Written)


async def test_what_fails_is_nobody_elses(
    one: Worker, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with a submission: those beside it are written, in a line."""
    found = authorise

    def failing(event: Event, state: Any) -> Any:
        if event.content.get("body") == "poison":
            raise TypeError("unhashable")
        return found(event, state)

    monkeypatch.setattr("homeserver.rooms.drafting.authorise", failing)
    room_id = await one.create()
    texts = ("before", "poison", "after", "poison", "last")
    answers = await asyncio.gather(*(one.say(room_id, t) for t in texts), return_exceptions=True)
    for text, answer in zip(texts, answers, strict=True):
        assert isinstance(answer, TypeError if text == "poison" else Written)
    bad = Submission([Draft("m.room.message", ANN, {"body": t}, None, room_id) for t in texts])
    with pytest.raises(TypeError):
        await one.intake.submit(room_id, bad)
    assert isinstance(await one.say(room_id, "and on"), Written)
    await check_one_line(conn)


async def test_the_same_state_again_is_no_event(one: Worker, conn: Connection) -> None:
    room_id = await one.create()
    topic = {"topic": "t"}
    first = await one.send(room_id, "m.room.topic", topic, state_key="")
    before = await timeline(conn)
    again = await one.send(room_id, "m.room.topic", topic, state_key="")
    assert event_id(again) == event_id(first)
    assert await timeline(conn) == before


# Once and only once


async def test_a_transaction_id_again(one: Worker, other: Worker, conn: Connection) -> None:
    """After the first answer, at the same moment, on another process: one event."""
    room_id = await one.create()
    once = (7, b"hash")
    first = await one.say(room_id, "hello", once=once)
    length = len(await timeline(conn))
    for worker_ in (one, other):
        assert await worker_.say(room_id, "hello", once=once) == Repeated(event_id(first))
    assert len(await timeline(conn)) == length


async def test_one_transaction_id_at_the_same_moment(
    one: Worker, other: Worker, conn: Connection
) -> None:
    room_id = await one.create()
    before = await timeline(conn)
    answers = await asyncio.gather(
        *(w.say(room_id, "hello", once=(7, b"hash")) for w in (one, other, one, other))
    )
    assert sum(isinstance(answer, Written) for answer in answers) == 1
    added = (await timeline(conn))[len(before) :]
    assert len(added) == 1
    ids = {a.event_id if isinstance(a, Repeated) else event_id(a) for a in answers}
    assert ids == set(added)


async def test_a_transaction_id_again_of_somebody_who_was_put_out(one: Worker) -> None:
    """The answer is what became of it then, though it would be refused now."""
    room_id = await one.create()
    assert isinstance(await one.member(room_id, BOB, "join"), Written)
    first = await one.say(room_id, "hello", sender=BOB, once=(7, b"hash"))
    assert isinstance(await one.member(room_id, BOB, "ban", by=ANN), Written)
    again = await one.say(room_id, "hello", sender=BOB, once=(7, b"hash"))
    assert again == Repeated(event_id(first))
    assert isinstance(await one.say(room_id, "hello", sender=BOB, once=(7, b"new")), Denied)


async def test_another_device_is_another_transaction(one: Worker) -> None:
    room_id = await one.create()
    first = await one.say(room_id, "hello", once=(7, b"hash"))
    assert event_id(await one.say(room_id, "hello", once=(8, b"hash"))) != event_id(first)


# Several processes


async def test_what_one_did_the_other_knows(one: Worker, other: Worker) -> None:
    """A join on one, followed at once by a message on the other; and a kick, by a refusal."""
    room_id = await one.create()
    assert isinstance(await other.say(room_id, "not yet", sender=BOB), Denied)
    assert isinstance(await one.member(room_id, BOB, "join"), Written)
    assert isinstance(await other.say(room_id, "hello", sender=BOB), Written)
    assert isinstance(await one.member(room_id, BOB, "leave", by=ANN), Written)
    refused = await other.say(room_id, "still here", sender=BOB)
    assert isinstance(refused, Denied)
    assert refused.rule == "sender.membership"


async def test_a_repeat_of_state_that_was_changed_elsewhere(one: Worker, other: Worker) -> None:
    """What one process remembers as the topic is no longer it: setting it again is news."""
    room_id = await one.create()
    first = await one.send(room_id, "m.room.topic", {"topic": "a"}, state_key="")
    await other.send(room_id, "m.room.topic", {"topic": "b"}, state_key="")
    again = await one.send(room_id, "m.room.topic", {"topic": "a"}, state_key="")
    assert event_id(again) != event_id(first)


async def test_two_processes_and_a_hot_room(one: Worker, other: Worker, conn: Connection) -> None:
    """No error, no fork, nothing twice, nothing lost, and little built in vain."""
    room_id = await one.create()
    before = await timeline(conn)
    gate = asyncio.Semaphore(50)

    async def say(worker_: Worker, text: str) -> EventID:
        async with gate:
            return event_id(await worker_.say(room_id, text))

    sent = await asyncio.gather(
        *(say(worker_, str(number)) for number in range(500) for worker_ in (one, other))
    )
    line = await timeline(conn)
    assert sorted(line[len(before) :]) == sorted(sent)
    await check_one_line(conn)
    built = await conn.fetchval("SELECT count(*) FROM event_ids")
    assert built <= 1.2 * len(line)


async def test_the_order_of_one_sender_is_kept(
    one: Worker, other: Worker, conn: Connection
) -> None:
    """Even where another process is in the way again and again."""
    room_id = await one.create()
    before = await timeline(conn)
    mine = [one.say(room_id, str(number)) for number in range(100)]
    theirs = [other.say(room_id, str(number)) for number in range(100)]
    answers = await asyncio.gather(*mine, *theirs)
    line = (await timeline(conn))[len(before) :]
    for part in (answers[:100], answers[100:]):
        places = [line.index(event_id(answer)) for answer in part]
        assert places == sorted(places)


async def test_of_two_that_exclude_each_other_one_happens(one: Worker, other: Worker) -> None:
    """Ann bans Bob while Bob leaves and says goodbye: in either order, never both as asked."""
    room_id = await one.create()
    await one.member(room_id, BOB, "join")
    farewell = [
        Draft("m.room.message", BOB, {"body": "bye"}, None, room_id),
        Draft("m.room.member", BOB, {"membership": "leave"}, BOB, room_id),
    ]
    banned, left = await asyncio.gather(
        one.member(room_id, BOB, "ban", by=ANN),
        other.intake.submit(room_id, Submission(farewell)),
    )
    assert isinstance(banned, Written)
    again = await other.intake.submit(room_id, Submission(farewell))
    assert isinstance(again, Denied)
    if isinstance(left, Written):
        assert left.events[0].depth < banned.events[0].depth


async def test_an_asker_that_goes_away(one: Worker, conn: Connection) -> None:
    """Whoever gives up waiting does not stop the others; what was under way may have happened."""
    room_id = await one.create()
    gone = asyncio.create_task(one.say(room_id, "never mind"))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance(await one.say(room_id, "hello"), Written)
    await check_one_line(conn)


async def test_of_an_event_that_is_known_nothing_is_written_as_new(
    one: Worker, conn: Connection
) -> None:
    """Whoever looked had not heard of its ID; others of the batch come to no harm."""
    room_id, other = await one.create(), await one.create()
    room = await conn.fetchval("SELECT room_nid FROM rooms WHERE room_id = $1", room_id)
    draft = Draft("m.room.message", ANN, {"body": "received"}, None, room_id)
    needs = Submission([draft]).needs(V12)
    head = (await one.heads.get(conn, {room: needs}))[room]
    made = Work(head, V12, SIGNER, 1_800_000_000_000, iter(["e"])).make(draft)
    assert isinstance(made, Event)
    await conn.execute("INSERT INTO event_ids (event_id) VALUES ($1)", made.event_id)
    before = await timeline(conn)
    received = Submission([], received=(made,), unheard=frozenset({made.event_id}))
    denied, said = await asyncio.gather(
        one.intake.submit(room_id, received), one.say(other, "meanwhile")
    )
    assert isinstance(denied, Denied)
    assert await timeline(conn) == [*before, event_id(said)]
    looked_up = Submission([], received=(made,))
    assert event_id(await one.intake.submit(room_id, looked_up)) == made.event_id
    assert await timeline(conn) == [*before, event_id(said), made.event_id]
