"""Messages that are too old are shown to nobody, and deleted."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from federation.identifiers import EventID, RoomID
from homeserver.config.settings import Retention
from homeserver.config.values import Duration
from homeserver.rooms.lifetimes import FOREVER, KEYS, Range, asked_for
from tests.database import Server
from tests.remains import remains
from tests.servers import Client, Hearth, eventually, own_database, serving
from tests.servers import test_settings as settings_for

V3 = "/_matrix/client/v3"
DAY = 86_400_000
STICKY = {"org.matrix.msc4354.sticky_duration_ms": 3_600_000}
_numbers = itertools.count()
CONFIGURATION = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration"


@asynccontextmanager
async def kept(
    postgres: Server, folder: Path, **retention: Any
) -> AsyncIterator[tuple[Hearth, Client, str]]:
    """A server with such settings, somebody, and a room of theirs."""
    settings = settings_for("one.test", folder, retention=Retention(**retention))
    async with (
        own_database(postgres, f"hearth_{id(folder)}") as where,
        serving(settings, where) as hearth,
    ):
        ann = await hearth.user("ann")
        yield hearth, ann, await room_of(ann)


async def room_of(ann: Client, **more: Any) -> str:
    body = {"preset": "public_chat", "room_version": "11", **more}
    return str((await ann.post(f"{V3}/createRoom", body)).ok()["room_id"])


async def say(
    who: Client, room_id: str, text: str, query: Mapping[str, Any] | None = None, **content: Any
) -> str:
    path = f"{V3}/rooms/{room_id}/send/m.room.message/{next(_numbers)}"
    body = {"msgtype": "m.text", "body": text, **content}
    return str((await who.put(path, body, **(query or {}))).ok()["event_id"])


async def keep_for(ann: Client, room_id: str, content: Any, kind: str = KEYS[0][0]) -> str:
    path = f"{V3}/rooms/{room_id}/state/{kind}"
    return str((await ann.put(path, content)).ok()["event_id"])


async def grow_old(hearth: Hearth, *events: str, days: int = 2) -> None:
    """As if these events had been sent days ago, for every reader of the database."""
    async with hearth.parts.base.process.database.reader() as conn:
        rows = await conn.fetch(
            """
            UPDATE events e
               SET origin_server_ts = e.origin_server_ts - $2,
                   json = convert_to(replace(convert_from(e.json, 'UTF8'),
                            e.origin_server_ts::text, (e.origin_server_ts - $2)::text), 'UTF8')
              FROM event_ids i
             WHERE i.event_nid = e.event_nid AND i.event_id = ANY ($1)
            RETURNING 1
            """,
            list(events),
            days * DAY,
        )
    assert len(rows) == len(events)


async def round_of(hearth: Hearth) -> int:
    return await hearth.parts.writing.expiring.round()


async def bodies(who: Client, room_id: str) -> list[str]:
    chunk = (await who.get(f"{V3}/rooms/{room_id}/messages", dir="f", limit=100)).ok()["chunk"]
    return [e["content"]["body"] for e in chunk if e["type"] == "m.room.message"]


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ({"max_lifetime": DAY}, DAY),
        ({"max_lifetime": 0}, 0),
        ({"min_lifetime": DAY}, FOREVER),
        ({"min_lifetime": DAY, "max_lifetime": None}, FOREVER),
        ({"min_lifetime": 2, "max_lifetime": 1}, None),
        ({"max_lifetime": "1d"}, None),
        ({"max_lifetime": True}, None),
        ({"max_lifetime": -1}, None),
        ({"max_lifetime": 2**53}, None),
        ({"max_lifetime": 1.0}, None),
        ({}, None),
    ],
)
def test_what_rooms_ask_for(content: Any, asked: int | None) -> None:
    class Said:
        def __init__(self, content: Any) -> None:
            self.content = content

    assert asked_for({KEYS[0]: Said(content)}.get) == asked  # type: ignore[arg-type]
    assert asked_for({KEYS[1]: Said(content)}.get) == asked  # type: ignore[arg-type]
    both = {KEYS[1]: Said({"max_lifetime": 7}), KEYS[0]: Said(content)}
    assert asked_for(both.get) == (7 if asked is None else asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("allowed", "asked", "lifetime"),
    [
        (Range(None, None, None), None, None),
        (Range(None, None, None), 5, 5),
        (Range(None, None, None), FOREVER, None),
        (Range(10, 20, 15), None, 15),
        (Range(10, 20, 15), 5, 10),
        (Range(10, 20, 15), 12, 12),
        (Range(10, 20, 15), FOREVER, 20),
        (Range(10, None, None), 5, 10),
    ],
)
def test_within_what_the_server_allows(
    allowed: Range, asked: int | None, lifetime: int | None
) -> None:
    assert allowed.lifetime(asked) == lifetime


async def test_old_messages_are_shown_nowhere_and_then_gone(hearth: Hearth) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    database = hearth.parts.base.process.database
    room_id = await room_of(ann)
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    root = await say(ann, room_id, "root")
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    old = await say(ann, room_id, "secretive bob", STICKY, **thread, **{"m.mentions": {}})
    start = (await bob.get(f"{V3}/sync")).ok()["next_batch"]
    after = await say(ann, room_id, "after it")
    await grow_old(hearth, old)
    assert "secretive bob" in await bodies(bob, room_id)
    await keep_for(ann, room_id, {"max_lifetime": DAY})

    assert await bodies(bob, room_id) == ["root", "after it"]
    path = f"{V3}/rooms/{room_id}"
    assert (await bob.get(f"{path}/event/{old}")).errcode == "M_NOT_FOUND"
    assert (await bob.get(f"{path}/context/{old}")).errcode == "M_NOT_FOUND"
    around = (await bob.get(f"{path}/context/{after}")).ok()
    relations = (await bob.get(f"/_matrix/client/v1/rooms/{room_id}/relations/{root}")).ok()
    wanted = {"search_categories": {"room_events": {"search_term": "secretive"}}}
    search = (await bob.post(f"{V3}/search", wanted)).ok()["search_categories"]["room_events"]
    threads = (await bob.get(f"/_matrix/client/v1/rooms/{room_id}/threads")).ok()
    notes = (await bob.get(f"{V3}/notifications")).ok()
    syncs = [(await bob.get(f"{V3}/sync", **q)).ok() for q in ({}, {"since": start})]
    sliding = (
        await bob.post(
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
            {"room_subscriptions": {room_id: {"timeline_limit": 50, "required_state": []}}},
        )
    ).ok()
    for answer in (around, relations, search["results"], threads, notes, *syncs, sliding):
        assert "secretive" not in str(answer)
    assert await remains(database, "secretive")

    assert await round_of(hearth) == 1
    assert await remains(database, "secretive") == set()
    assert await bodies(bob, room_id) == ["root", "after it"]
    await say(ann, room_id, "life goes on")
    assert await round_of(hearth) == 0


async def test_the_last_message_is_emptied(hearth: Hearth) -> None:
    """What comes next builds on it."""
    ann = await hearth.user("ann")
    database = hearth.parts.base.process.database
    room_id = await room_of(ann)
    await keep_for(ann, room_id, {"max_lifetime": DAY}, "org.matrix.msc1763.retention")
    last = await say(ann, room_id, "secretive")
    await grow_old(hearth, last)
    assert await round_of(hearth) == 1
    assert await remains(database, "secretive") == set()
    assert await bodies(ann, room_id) == []
    assert await round_of(hearth) == 0
    await say(ann, room_id, "life goes on")
    assert await round_of(hearth) == 1
    assert await bodies(ann, room_id) == ["life goes on"]


async def test_what_the_room_says_last_counts(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room_id = await room_of(
        ann, initial_state=[{"type": KEYS[0][0], "content": {"max_lifetime": DAY}}]
    )
    old = await say(ann, room_id, "old")
    await say(ann, room_id, "new")
    await grow_old(hearth, old)
    assert await bodies(ann, room_id) == ["new"]
    longer = await keep_for(ann, room_id, {"max_lifetime": 3 * DAY})
    assert await bodies(ann, room_id) == ["old", "new"]
    assert await round_of(hearth) == 0
    await keep_for(ann, room_id, {"max_lifetime": DAY})
    assert await bodies(ann, room_id) == ["new"]
    # A redacted wish is none, and one under the other name counts then.
    await keep_for(ann, room_id, {"max_lifetime": 3 * DAY}, KEYS[1][0])
    assert await bodies(ann, room_id) == ["new"]
    state = (await ann.get(f"{V3}/rooms/{room_id}/state")).ok()
    shorter = next(e["event_id"] for e in state if e["type"] == KEYS[0][0])
    assert shorter != longer
    (await ann.put(f"{V3}/rooms/{room_id}/redact/{shorter}/1")).ok()
    assert await bodies(ann, room_id) == ["old", "new"]


async def test_by_default_and_no_longer(postgres: Server, tmp_path: Path) -> None:
    settings = {"default": Duration.parse("1d"), "maximum": Duration.parse("3d")}
    async with kept(postgres, tmp_path, **settings) as (hearth, ann, room_id):
        found = (await ann.get(CONFIGURATION)).ok()
        assert found == {
            "policies": {"*": {"max_lifetime": DAY}},
            "limits": {"max_lifetime": {"max": 3 * DAY}},
        }
        old, older = await say(ann, room_id, "old"), await say(ann, room_id, "older")
        await say(ann, room_id, "new")
        await grow_old(hearth, old)
        await grow_old(hearth, older, days=4)
        assert await bodies(ann, room_id) == ["new"]
        await keep_for(ann, room_id, {"min_lifetime": 1})
        assert await bodies(ann, room_id) == ["old", "new"]
        assert await round_of(hearth) == 1
        assert await bodies(ann, room_id) == ["old", "new"]


async def test_nothing_is_asked_without_need(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    assert (await ann.get(CONFIGURATION)).ok() == {"policies": {}, "limits": {}}
    room_id = await room_of(ann)
    old = await say(ann, room_id, "old")
    await grow_old(hearth, old, days=10_000)
    assert await round_of(hearth) == 0
    assert await bodies(ann, room_id) == ["old"]


async def test_it_goes_on_by_itself(postgres: Server, tmp_path: Path) -> None:
    settings = {"interval": Duration.parse("50ms"), "default": Duration.parse("1d")}
    async with kept(postgres, tmp_path, **settings) as (hearth, ann, room_id):
        old = await say(ann, room_id, "secretive")
        await say(ann, room_id, "new")
        await grow_old(hearth, old)

        async def gone() -> bool:
            return not await remains(hearth.parts.base.process.database, "secretive")

        await eventually(gone)


async def lifetimes_of(hearth: Hearth) -> Sequence[int | None]:
    async with hearth.parts.base.process.database.reader() as conn:
        return [row[0] for row in await conn.fetch("SELECT lifetime FROM rooms")]


async def test_other_servers_are_not_told(pair: tuple[Hearth, Hearth]) -> None:
    """Who joins learns of the wish with the state; nobody is sent what is too old."""
    one, two = pair
    ann, bob = await one.user("ann"), await two.user("bob")
    room_id = await room_of(ann)
    old, new = await say(ann, room_id, "old"), await say(ann, room_id, "new")
    await grow_old(one, old)
    await keep_for(ann, room_id, {"max_lifetime": DAY})
    (await bob.post(f"{V3}/join/{room_id}", {}, server_name=one.name)).ok()
    assert await lifetimes_of(two) == [DAY]
    found = await two.parts.federating.remote.backfill(
        one.name, RoomID(room_id), [EventID(new)], 50
    )
    sent = [event["content"].get("body") for event in found]
    assert "new" in sent
    assert "old" not in sent
    await keep_for(ann, room_id, {"max_lifetime": 5 * DAY})

    async def follows() -> bool:
        return await lifetimes_of(two) == [5 * DAY]

    await eventually(follows)
    # What else the state says is minded, whether or not it was looked at before.
    async with two.parts.base.process.database.reader() as conn:
        two.parts.rooms.means.heads.drop(await conn.fetchval("SELECT room_nid FROM rooms"))
    await keep_for(ann, room_id, {"max_lifetime": 9 * DAY}, KEYS[1][0])
    last = await say(ann, room_id, "last")

    async def came() -> bool:
        return (await bob.get(f"{V3}/rooms/{room_id}/event/{last}")).status == 200

    await eventually(came)
    assert await lifetimes_of(two) == [5 * DAY]
