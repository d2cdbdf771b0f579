"""What is gathered for the rules of visibility, and that no more is asked than needed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from federation.identifiers import RoomID, ServerName, UserID
from federation.room_versions import V10, V12
from homeserver.rooms.bundling import Bundling
from homeserver.rooms.lifetimes import Lifetimes, Range
from homeserver.rooms.moments import Moments
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader, Standings, departure
from homeserver.rooms.visibility import Visibility, joined_after
from homeserver.storage import history
from homeserver.storage.history import Placed
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import Connection, Database
from homeserver.storage.standings import Change
from homeserver.storage.state_groups import EventNid
from homeserver.storage.states import States
from tests.federation.rooms import ANN
from tests.rooms.workers import Worker, worker

BOB = UserID("@bob:one.test")
SERVER = ServerName("one.test")


@dataclass
class Counting:
    """A connection that counts what it is asked."""

    conn: Connection
    asked: list[str] = field(default_factory=list)

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        self.asked.append(query)
        return await self.conn.fetch(query, *args)

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        self.asked.append(query)
        return await self.conn.fetchrow(query, *args)

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        self.asked.append(query)
        return await self.conn.fetchval(query, *args)

    async def execute(self, query: str, /, *args: Any) -> str:
        self.asked.append(query)
        return await self.conn.execute(query, *args)


@dataclass
class Scene:
    """Ann's rooms, and a reader."""

    one: Worker
    conn: Counting
    numbers: Numbers
    standings: Standings
    visibility: Visibility
    showing: Showing

    async def reader(self, user: UserID, **more: Any) -> Reader:
        users = await self.numbers.users.find(self.conn, [user])
        return Reader(users[user], user, **more)

    async def events(self, *rooms: int) -> list[Placed]:
        spans = {RoomNid(room): (None, None) for room in rooms}
        found = await history.pages(self.conn, spans, 100)
        return [event for events in found.values() for event in events]

    async def visible_to(self, reader: Reader, *rooms: int) -> list[str]:
        found = await self.visibility.visible(self.conn, reader, await self.events(*rooms))
        return [e.event.content["body"] for e in found if e.event.type == "m.room.message"]


async def nobody(_: Connection) -> tuple[str, ...]:
    """Nobody was erased."""
    return ()


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    async with worker(database) as one, database.reader() as conn:
        numbers = Numbers()
        moments = Moments(numbers, States())
        standings = Standings(numbers, moments, one.log)
        lifetimes = Lifetimes(Range(None, None, None), lambda: 0)
        visibility = Visibility(SERVER, standings, moments, lifetimes)
        bundling = Bundling(visibility, standings)
        yield Scene(
            one,
            Counting(conn),
            numbers,
            standings,
            visibility,
            Showing(SERVER, standings, moments, bundling, lambda: 2_000_000_000_000, nobody),
        )


async def opened(scene: Scene, visibility: str) -> RoomID:
    room_id = await scene.one.create()
    content = {"history_visibility": visibility}
    await scene.one.send(room_id, "m.room.history_visibility", content, state_key="")
    return room_id


async def test_many_rooms_at_a_time(scene: Scene) -> None:
    """What is open is seen and what is not is not, in queries that do not grow with the rooms."""
    asked: list[int] = []
    for count in (2, 6):
        for number in range(count - len(asked) * 2):
            room_id = await opened(scene, "joined" if number % 2 else "shared")
            await scene.one.say(room_id, f"{number % 2}")
            await scene.one.member(room_id, BOB, "join")
            await scene.one.say(room_id, "after")
        reader = await scene.reader(BOB)
        events = await scene.events(*range(1, count + 1))
        scene.conn.asked.clear()
        visible = await scene.visibility.visible(scene.conn, reader, events)
        asked.append(len(scene.conn.asked))
        bodies = [e.event.content.get("body") for e in visible]
        assert (bodies.count("0"), bodies.count("1"), bodies.count("after")) == (
            count // 2,
            0,
            count,
        )
    assert asked[1] <= asked[0] <= 8


async def test_nothing_is_asked_for_what_is_sure(scene: Scene) -> None:
    """Messages that were sent while the reader was in the room, standings known."""
    room_id = await opened(scene, "joined")
    await scene.one.member(room_id, BOB, "join")
    await scene.one.say(room_id, "hello")
    reader = await scene.reader(BOB)
    (event,) = (await scene.events(1))[-1:]
    standings = await scene.standings.read(scene.conn, reader, [event.room])
    scene.conn.asked.clear()
    assert await scene.visibility.visible(scene.conn, reader, [event], standings) == [event]
    (shown,) = await scene.showing.show(scene.conn, reader, [event], standings)
    assert shown["unsigned"]["membership"] == "join"
    assert scene.conn.asked == []


async def test_who_is_ignored_is_not_heard_but_still_rules(scene: Scene) -> None:
    room_id = await opened(scene, "shared")
    await scene.one.member(room_id, BOB, "join")
    await scene.one.say(room_id, "hello")
    await scene.one.say(room_id, "hi", sender=BOB)
    reader = await scene.reader(BOB, ignores=frozenset({ANN}))
    assert await scene.visible_to(reader, 1) == ["hi"]
    events = await scene.events(1)
    visible = await scene.visibility.visible(scene.conn, reader, events)
    assert [e for e in visible if e.key is not None] == [e for e in events if e.key is not None]


async def test_outliers_are_in_no_history(scene: Scene) -> None:
    await opened(scene, "world_readable")
    reader = await scene.reader(ANN)
    outliers = [event._replace(order=None) for event in await scene.events(1)]
    assert await scene.visibility.visible(scene.conn, reader, outliers) == []


async def test_an_event_whose_state_is_not_known_is_not_shown(scene: Scene) -> None:
    """Unless it is sure without: the reader was in the room then."""
    room_id = await opened(scene, "joined")
    await scene.one.say(room_id, "early")
    await scene.one.member(room_id, BOB, "join")
    await scene.one.say(room_id, "late")
    reader = await scene.reader(BOB)
    events = [e._replace(group_before=None) for e in await scene.events(1)]
    visible = await scene.visibility.visible(scene.conn, reader, events)
    messages = [e.event.content["body"] for e in visible if e.event.type == "m.room.message"]
    assert messages == ["late"]


async def test_soft_failed_and_rejected_events_are_in_no_page(scene: Scene) -> None:
    room_id = await opened(scene, "world_readable")
    for fate in (1, 2):
        await scene.one.say(room_id, "bad")
        await scene.conn.execute(
            "UPDATE events SET fate = $1 WHERE event_nid = (SELECT max(event_nid) FROM events)",
            fate,
        )
    await scene.one.say(room_id, "good")
    assert await scene.visible_to(await scene.reader(ANN), 1) == ["good"]
    page = await history.page(scene.conn, RoomNid(1), None, None, 100, backwards=True)
    assert [e.event.content.get("body") for e in page][:2] == ["good", None]
    gone = await scene.conn.fetch(
        """
        SELECT i.event_id, e.event_nid
          FROM events e JOIN event_ids i ON i.event_nid = e.event_nid
         WHERE e.fate > 0
         ORDER BY e.fate
        """
    )
    for event_id, _ in gone:
        assert await history.by_id(scene.conn, RoomNid(1), event_id) is None
    assert [*await history.by_nid(scene.conn, [nid for _, nid in gone])] == [gone[0][1]]


@pytest.mark.parametrize("version", [V10, V12])
async def test_redacted_events_tell_why(scene: Scene, version: Any) -> None:
    room_id = await scene.one.create(version)
    await scene.one.say(room_id, "regret")
    await scene.one.send(room_id, "m.room.redaction", {"reason": "spam"})
    target, redaction = (await scene.events(1))[-2:]
    reader = await scene.reader(ANN)
    redacted = target._replace(redacted_by=redaction.nid)
    shown = await scene.showing.show_one(scene.conn, reader, redacted)
    because = shown["unsigned"]["redacted_because"]
    assert because["event_id"] == redaction.event.event_id
    assert because["content"] == {"reason": "spam"}
    assert because["unsigned"].keys() == {"age"}


async def test_pages_of_many_rooms(scene: Scene) -> None:
    for room in range(3):
        room_id = await scene.one.create()
        for number in range(4):
            await scene.one.say(room_id, f"{room}{number}")
    scene.conn.asked.clear()
    places = [e.order for e in await scene.events(2)]
    spans = {
        RoomNid(1): (None, None),
        RoomNid(2): (places[-4], places[-2]),
        RoomNid(3): (None, 0),
    }
    found = await history.pages(scene.conn, spans, 3)
    bodies = {room: [e.event.content.get("body") for e in events] for room, events in found.items()}
    assert bodies == {1: ["01", "02", "03"], 2: ["11", "12"], 3: []}
    assert len(scene.conn.asked) == 2
    assert all(e.pos == (e.order or 0) >> 24 for events in found.values() for e in events)


def changes(*memberships: str) -> list[Change]:
    """Of one member, the latest first; the first of them was at position 1."""

    class Told:
        def __init__(self, membership: str) -> None:
            self.membership = membership

    found = [
        Change(RoomNid(1), pos, EventNid(pos), Told(membership))  # type: ignore[arg-type]
        for pos, membership in enumerate(memberships, 1)
    ]
    return found[::-1]


@pytest.mark.parametrize(
    ("memberships", "left"),
    [
        ([], None),
        (["join"], None),
        (["invite", "leave"], None),
        (["knock"], None),
        (["join", "leave"], 2),
        (["join", "join", "ban", "leave"], 3),
        (["join", "leave", "join", "leave", "invite"], 4),
        (["join", "leave", "join"], None),
    ],
)
def test_departures(memberships: list[str], left: int | None) -> None:
    found = departure(changes(*memberships))
    assert (found.pos if found else None) == left


@pytest.mark.parametrize(
    ("memberships", "pos", "later"),
    [
        (["join"], 0, True),
        (["join"], 1, False),
        (["join", "leave"], 0, True),
        (["join", "leave"], 1, False),
        (["invite", "leave"], 0, False),
        (["join", "leave", "join", "leave"], 2, True),
    ],
)
def test_joining_later(memberships: list[str], pos: int, later: bool) -> None:
    event = Placed(EventNid(9), RoomNid(1), pos << 24, None, None, None, None, None, None)  # type: ignore[arg-type]
    assert joined_after(event, changes(*memberships)) is later
