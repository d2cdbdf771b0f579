"""Events that are brought to everybody in a room for a while.

https://github.com/matrix-org/matrix-spec-proposals/pull/4354
https://github.com/matrix-org/matrix-spec-proposals/pull/4480 (sliding sync)
"""

import asyncio
from typing import Any

import pytest

from homeserver.app.housekeeping import tidy
from homeserver.sync import sticky as sticky_sync
from tests.client_server.test_sliding_sync import listing, sliding
from tests.client_server.test_sync import room_of, say
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"
PARAMETER = "org.matrix.msc4354.sticky_duration_ms"
EXTENSION = "org.matrix.msc4354.sticky_events"
TTL = "msc4354_sticky_duration_ttl_ms"
SHORT = '{"room": {"timeline": {"limit": 1}}}'


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


async def stick(who: Client, room_id: str, name: str, duration: int = 60_000, **query: Any) -> str:
    path = f"{V3}/rooms/{room_id}/send/org.call/{name}"
    answer = (await who.put(path, {"name": name}, **{PARAMETER: duration}, **query)).ok()
    return str(answer.get("event_id", ""))


async def synced(who: Client, since: str | None = None, **query: Any) -> Any:
    more = {"since": since} if since else {}
    return (await who.get(f"{V3}/sync", timeout=0, **more, **query)).ok()


def sticking(sync: Any, room_id: str) -> list[str]:
    room = sync.get("rooms", {}).get("join", {}).get(room_id, {})
    return [event["content"]["name"] for event in room.get("msc4354_sticky", {}).get("events", ())]


def extension(since: str | None = None, **more: Any) -> dict[str, Any]:
    asked = {"enabled": True, **({"since": since} if since else {}), **more}
    return listing(timeline_limit=1) | {"extensions": {EXTENSION: asked}}


async def test_what_a_timeline_leaves_out_is_told_once(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await synced(bob))["next_batch"]
    event_id = await stick(ann, room_id, "one")
    await stick(ann, room_id, "over", duration=0)
    sync = await synced(bob, since)
    first, _ = sync["rooms"]["join"][room_id]["timeline"]["events"]
    assert first["event_id"] == event_id
    assert first["msc4354_sticky"] == {"duration_ms": 60_000}
    assert 50_000 < first["unsigned"][TTL] <= 60_000
    assert sticking(sync, room_id) == []
    await stick(ann, room_id, "two")
    await say(ann, room_id, "and more")
    # What the timeline has no room for, and what its filter leaves out.
    short = await synced(bob, sync["next_batch"], filter=SHORT)
    assert sticking(short, room_id) == ["two"]
    event = short["rooms"]["join"][room_id]["msc4354_sticky"]["events"][0]
    assert "room_id" not in event
    assert 50_000 < event["unsigned"][TTL] <= 60_000
    none = '{"room": {"timeline": {"not_types": ["org.call"]}}}'
    assert sticking(await synced(bob, sync["next_batch"], filter=none), room_id) == ["two"]
    assert sticking(await synced(bob, short["next_batch"]), room_id) == []
    assert sticking(await synced(bob, filter=SHORT), room_id) == ["one", "two"]


async def test_who_comes_in_is_told_whatever_history_they_see(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, preset="public_chat")
    visibility = f"{V3}/rooms/{room_id}/state/m.room.history_visibility"
    (await ann.put(visibility, {"history_visibility": "joined"})).ok()
    since = (await synced(bob))["next_batch"]
    pos = (await sliding(bob, extension()))["pos"]
    await stick(ann, room_id, "one")
    await stick(ann, room_id, "two")
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    sync = await synced(bob, since)
    assert sticking(sync, room_id) == ["one", "two"]
    found = await sliding(bob, extension(), pos)
    told = found["extensions"][EXTENSION]
    assert [e["content"]["name"] for e in told["rooms"][room_id]["events"]] == ["one", "two"]
    ignored = f"{V3}/user/{bob.user_id}/account_data/m.ignored_user_list"
    (await bob.put(ignored, {"ignored_users": {ann.user_id: {}}})).ok()
    assert sticking(await synced(bob), room_id) == []
    # Who is outside is told nothing.
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    assert "msc4354" not in str(await synced(bob))


async def test_state_redactions_and_the_end(ann: Client, bob: Client, hearth: Hearth) -> None:
    room_id = await room_of(ann, bob)
    state = f"{V3}/rooms/{room_id}/state/org.state"
    one = (await ann.put(state, {"name": "state"}, **{PARAMETER: 60_000})).ok()["event_id"]
    # To say the same once more lets it stick for longer.
    assert (await ann.put(state, {"name": "state"}, **{PARAMETER: 60_000})).ok()["event_id"] != one
    gone = await stick(ann, room_id, "gone")
    (await ann.put(f"{V3}/rooms/{room_id}/redact/{gone}/1")).ok()
    await say(ann, room_id, "last")
    assert sticking(await synced(bob, filter=SHORT), room_id) == ["state", "state"]
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        await conn.execute("UPDATE sticky_events SET expires_ts = $1", process.now())
    assert sticking(await synced(bob, filter=SHORT), room_id) == []
    await tidy(hearth.parts)
    async with process.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM sticky_events") == 0


async def test_what_is_too_much_for_one_answer_comes_with_the_next(
    ann: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sticky_sync, "MOST", 2)
    room_id = await room_of(ann, bob)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        await stick(ann, room_id, name)
    await say(ann, room_id, "last")
    since, told = None, []
    for _ in range(3):
        sync = await synced(bob, since, filter=SHORT)
        told.append(sticking(sync, room_id))
        since = sync["next_batch"]
    assert told == [names[:2], names[2:4], names[4:]]
    assert (await synced(bob, since, filter=SHORT)).get("rooms") is None


async def test_in_sliding_sync(hearth: Hearth, ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    for name in ("one", "two", "three"):
        await stick(ann, room_id, name)
    first = await sliding(bob, extension(limit=1))
    told = first["extensions"][EXTENSION]
    assert [e["content"]["name"] for e in told["rooms"][room_id]["events"]] == ["one"]
    # The last one stands in the timeline.
    second = await sliding(bob, extension(told["next_batch"]), first["pos"])
    told = second["extensions"][EXTENSION]
    assert [e["content"]["name"] for e in told["rooms"][room_id]["events"]] == ["two", "three"]
    asked = extension(told["next_batch"])
    waiting = asyncio.create_task(sliding(bob, asked, second["pos"], timeout="20000"))
    await hearth.is_waited_on()
    await stick(ann, room_id, "four")
    async with asyncio.timeout(5):
        third = await waiting
    assert third["rooms"][room_id]["timeline"][-1]["content"]["name"] == "four"
    assert third["extensions"] == {}
    await stick(ann, room_id, "five")
    await say(ann, room_id, "last")
    fourth = await sliding(bob, asked, third["pos"])
    events = fourth["extensions"][EXTENSION]["rooms"][room_id]["events"]
    assert [event["content"]["name"] for event in events][-1] == "five"


async def test_sent_later(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    await stick(ann, room_id, "late", **{"org.matrix.msc4140.delay": 50})

    async def came() -> bool:
        return sticking(await synced(bob, filter=SHORT), room_id) == ["late"]

    async def is_sent() -> bool:
        page = (await bob.get(f"{V3}/rooms/{room_id}/messages", dir="b", limit=1)).ok()
        return bool(page["chunk"][0]["type"] == "org.call")

    await say(ann, room_id, "early")
    await eventually(is_sent)
    await say(ann, room_id, "last")
    await eventually(came)


@pytest.mark.parametrize("duration", ["-1", "3600001", "x", "1.5", ""])
async def test_bad_durations(ann: Client, duration: str) -> None:
    room_id = await room_of(ann)
    for path in ("send/org.call/1", "state/org.call"):
        answer = await ann.put(f"{V3}/rooms/{room_id}/{path}", {}, **{PARAMETER: duration})
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_a_server_that_comes_in_is_brought_what_sticks(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, bob = await here.user("ann"), await there.user("bob")
    room_id = await room_of(ann, preset="public_chat")
    visibility = f"{V3}/rooms/{room_id}/state/m.room.history_visibility"
    (await ann.put(visibility, {"history_visibility": "joined"})).ok()
    await stick(ann, room_id, "before")
    for number in range(12):
        await say(ann, room_id, f"{number}")
    (await bob.post(f"{V3}/join/{room_id}", server_name=here.name)).ok()

    async def come(*names: str) -> bool:
        return sticking(await synced(bob, filter=SHORT), room_id) == [*names]

    async def in_timeline(name: str) -> bool:
        sync = await synced(bob, filter=SHORT)
        events = sync["rooms"]["join"][room_id]["timeline"]["events"]
        return any(event["content"].get("name") == name for event in events)

    await eventually(lambda: come("before"), within=10)
    await stick(ann, room_id, "after")
    # Here it is the last of the timeline.
    await eventually(lambda: in_timeline("after"))
    await say(bob, room_id, "last")
    assert await come("before", "after")
