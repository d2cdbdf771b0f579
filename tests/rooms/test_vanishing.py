"""Messages that say when they vanish."""

import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from federation.events import Event
from homeserver.config.settings import Rooms
from homeserver.rooms.lifetimes import vanishes_at
from homeserver.storage.process import Process
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.remains import remains
from tests.servers import Client, Hearth, eventually, federating, own_database, serving
from tests.servers import test_settings as settings_for

V3 = "/_matrix/client/v3"
AFTER = "org.matrix.self_destruct_after"
LATER = 10**13
_numbers = itertools.count()


@pytest.fixture
async def hearth(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    settings = settings_for("one.test", tmp_path, rooms=Rooms(expiry=True))
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as server,
    ):
        yield server


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def room_of(who: Client, *others: Client) -> str:
    room = (await who.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    for other in others:
        (await other.post(f"{V3}/join/{room}", {}, server_name=who.hearth.name)).ok()
    return str(room)


async def say(who: Client, room: str, text: str, **content: Any) -> str:
    path = f"{V3}/rooms/{room}/send/m.room.message/{next(_numbers)}"
    return str(
        (await who.put(path, {"msgtype": "m.text", "body": text, **content})).ok()["event_id"]
    )


async def texts(who: Client, room: str) -> list[str | None]:
    chunk = (await who.get(f"{V3}/rooms/{room}/messages", dir="b", limit=100)).ok()["chunk"]
    return [e["content"].get("body") for e in reversed(chunk) if e["type"] == "m.room.message"]


async def pass_time(hearth: Hearth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time come of all that vanishes."""
    parts = hearth.parts
    late = LATER + 1
    monkeypatch.setattr(parts.rooms.lifetimes, "_now", lambda: late)
    process = parts.base.process
    moved = Process(
        process.server, process.database, process.numbers, process.clock, process.tail, lambda: late
    )
    monkeypatch.setattr(parts.writing.vanishing, "_process", moved)


@pytest.mark.parametrize(
    ("content", "ts"),
    [
        ({AFTER: 5}, 5),
        ({"m.self_destruct_after": 6, AFTER: 5}, 6),
        ({"m.self_destruct_after": "x", AFTER: 5}, 5),
        ({AFTER: 0}, 0),
        ({AFTER: -1}, None),
        ({AFTER: True}, None),
        ({AFTER: 2**53}, None),
        ({AFTER: None}, None),
        ({"x": {AFTER: 5}}, None),
        ({}, None),
    ],
)
def test_what_messages_say(content: Mapping[str, Any], ts: int | None) -> None:
    class Said:
        is_state = False

        def __init__(self, content: Mapping[str, Any]) -> None:
            self.content = content

    said: Event = Said(content)  # type: ignore[assignment]
    assert vanishes_at(said) == ts


async def test_it_vanishes(hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    room = await room_of(ann)
    vanishing = hearth.parts.writing.vanishing
    event = await say(ann, room, "secret", **{AFTER: LATER})
    await say(ann, room, "plain")
    assert await vanishing.round() == 0
    assert await texts(ann, room) == ["secret", "plain"]
    await pass_time(hearth, monkeypatch)
    # It is shown to nobody, before anything is done.
    assert await texts(ann, room) == ["plain"]
    assert (await ann.get(f"{V3}/rooms/{room}/event/{event}")).status == 404
    body = {"search_categories": {"room_events": {"search_term": "secret"}}}
    found = (await ann.post(f"{V3}/search", body)).ok()["search_categories"]["room_events"]
    assert found["results"] == []
    assert await vanishing.round() == 1
    assert await vanishing.round() == 0
    assert await remains(hearth.parts.base.process.database, "secret") == set()
    shown = (await ann.get(f"{V3}/rooms/{room}/event/{event}")).ok()
    assert shown["content"] == {}


async def test_at_once(hearth: Hearth, ann: Client) -> None:
    room = await room_of(ann)
    await say(ann, room, "gone", **{AFTER: 1})

    async def vanished() -> bool:
        return await remains(hearth.parts.base.process.database, "gone") == set()

    assert await texts(ann, room) == []
    await hearth.parts.writing.vanishing.round()
    await eventually(vanished)
    # State does not.
    path = f"{V3}/rooms/{room}/state/m.room.topic"
    (await ann.put(path, {"topic": "stays", AFTER: 1})).ok()
    await hearth.parts.writing.vanishing.round()
    assert (await ann.get(path)).ok()["topic"] == "stays"


async def test_it_needs_the_setting(postgres: Server, tmp_path: Path) -> None:
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings_for("one.test", tmp_path), where) as hearth,
    ):
        ann = await hearth.user("ann")
        room = await room_of(ann)
        await say(ann, room, "stays", **{AFTER: 1})
        assert await hearth.parts.writing.vanishing.round() == 0
        assert await texts(ann, room) == ["stays"]


async def test_between_servers(
    postgres: Server,
    tmp_path: Path,
    loopback_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others say vanishes too, what comes live and what is fetched later."""
    async with (
        federating(postgres, tmp_path, loopback_authority, 1) as one,
        federating(postgres, tmp_path, loopback_authority, 2, rooms=Rooms(expiry=True)) as other,
    ):
        ann, bob = await one.user("ann"), await other.user("bob")
        room = await room_of(ann)
        await say(ann, room, "before", **{AFTER: LATER})
        (await bob.post(f"{V3}/join/{room}", {}, server_name=one.name)).ok()
        await say(ann, room, "after", **{AFTER: LATER})

        async def all_here() -> bool:
            return await texts(bob, room) == ["before", "after"]

        await eventually(all_here)
        await pass_time(other, monkeypatch)
        assert await texts(bob, room) == []
        assert await other.parts.writing.vanishing.round() == 2
        for text in ("before", "after"):
            assert await remains(other.parts.base.process.database, f'"{text}"') == set()
