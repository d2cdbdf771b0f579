"""Who is online, and who may know."""

import asyncio
from typing import Any

import pytest

from federation.identifiers import ServerName, UserID
from homeserver.rooms.presence import GONE_AFTER, Presence, parse
from homeserver.rooms.standings import Reader
from homeserver.storage.bus import Bus
from tests.client_server.stage import staged
from tests.servers import Client, Hearth

BOB = UserID("@bob:two.test")


def path(of: Client) -> str:
    return f"/_matrix/client/v3/presence/{of.user_id}/status"


async def test_presence(hearth: Hearth) -> None:
    ann, bob, cat = [await hearth.user(name) for name in ("ann", "bob", "cat")]
    room = await staged(ann)
    await room.member(bob, "join")
    assert (await bob.get(path(ann))).ok() == {"presence": "offline"}
    status = {"presence": "online", "status_msg": "reading"}
    assert (await ann.put(path(ann), status)).ok() == {}
    found = (await bob.get(path(ann))).ok()
    assert 0 <= found.pop("last_active_ago") < 60_000
    assert found == status | {"currently_active": True}
    assert (await cat.get(path(ann))).errcode == "M_FORBIDDEN"
    assert (await cat.get(path(bob).replace("bob", "nobody"))).errcode == "M_FORBIDDEN"
    assert (await bob.put(path(ann), status)).errcode == "M_FORBIDDEN"
    assert (await ann.put(path(ann), {"presence": "unavailable"})).ok() == {}
    assert (await ann.get(path(ann))).ok()["presence"] == "unavailable"


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"presence": "busy"}, "M_INVALID_PARAM"),
        ({"presence": 1}, "M_BAD_JSON"),
        ({"presence": "online", "status_msg": "x" * 2000}, "M_INVALID_PARAM"),
        ({"presence": "online", "status_msg": 5}, "M_BAD_JSON"),
    ],
)
async def test_bad_bodies(hearth: Hearth, body: object, errcode: str) -> None:
    ann = await hearth.user("ann")
    answer = await ann.put(path(ann), body)
    assert (answer.status, answer.errcode) == (400, errcode)


async def _presence(hearth: Hearth, **more: Any) -> tuple[Presence, Reader]:
    ann = await hearth.user("ann")
    assert ann.token
    session = await hearth.parts.accounts.sessions.get(ann.token)
    given = {"enabled": True, "idle_after": 10_000} | more
    presence = Presence(hearth.parts.base.process, Bus(), **given)
    return presence, Reader(session.user, session.user_id)


async def test_where_it_is_off_everybody_is_offline(hearth: Hearth) -> None:
    presence, ann = await _presence(hearth, enabled=False)
    await presence.set(ann, "online", "here")
    await presence.seen(ann, "online")
    assert await presence.get(ann, ann.user_id) == {"presence": "offline"}
    assert await presence.get(ann, BOB) == {"presence": "offline"}
    assert presence.since([ann.user_id], 0) == []


async def test_changes_since(hearth: Hearth) -> None:
    presence, ann = await _presence(hearth)
    heard: list[UserID] = []
    presence.on_change(heard.append)
    start = presence.latest
    await presence.seen(ann, "online")
    (event,) = presence.since([ann.user_id], start)
    assert (event["type"], event["sender"]) == ("m.presence", ann.user_id)
    assert event["content"]["presence"] == "online"
    online = presence.latest
    await presence.seen(ann, "online")
    await presence.set(ann, "online", None)
    assert presence.since([ann.user_id], online) == []
    assert presence.since([BOB], start) == []
    await presence.set(ann, "online", "busy")
    assert len(presence.since([ann.user_id], online)) == 1
    assert heard == [ann.user_id] * 2


async def test_silence_makes_idle_and_then_offline(hearth: Hearth) -> None:
    presence, ann = await _presence(hearth)
    await presence.seen(ann, "online")
    state = presence._states[ann.user_id]

    def ago(milliseconds: int) -> str:
        seen = state.seen - milliseconds
        presence._states[ann.user_id] = state._replace(active=seen, seen=seen)
        presence.expire()
        return presence._states[ann.user_id].presence

    assert ago(0) == "online"
    assert ago(20_000) == "unavailable"
    assert ago(GONE_AFTER + 5000) == "offline"


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, ("online", None, 10_000)),
        ({"last_active_ago": 4000}, ("online", None, 6000)),
        ({"last_active_ago": -1}, ("online", None, 10_000)),
        ({"last_active_ago": "x"}, ("online", None, 10_000)),
        ({"status_msg": "hi"}, ("online", "hi", 10_000)),
        ({"status_msg": 7}, ("online", None, 10_000)),
        ({"presence": "busy"}, None),
        ({"presence": []}, None),
        ({"user_id": "@bob:one.test"}, None),
        ({"user_id": "bob"}, None),
        ({"user_id": None}, None),
    ],
)
def test_what_another_server_tells(told: dict[str, Any], known: Any) -> None:
    pushed = {"user_id": BOB, "presence": "online", **told}
    found = [*parse({"push": [7, pushed]}, ServerName("two.test"), 10_000)]
    assert [(s.presence, s.status_msg, s.active) for s in found] == ([known] if known else [])


async def test_people_of_another_server(hearth: Hearth) -> None:
    presence, ann = await _presence(hearth)
    edus: list[Any] = []
    presence._bus.hear("edu", edus.append)
    process = hearth.parts.base.process
    pushed = [{"user_id": user, "presence": "online"} for user in (BOB, "@eve:two.test")]
    async with process.database.reader() as conn:
        await process.numbers.users.intern(conn, [BOB])
    await presence.receive(ServerName("two.test"), {"push": pushed})
    found = presence.since([BOB, UserID("@eve:two.test")], 0)
    assert [(e["sender"], e["content"]["presence"]) for e in found] == [(BOB, "online")]
    assert edus == []
    bobs = presence.latest
    await presence.seen(ann, "online")
    await presence.receive(ServerName("two.test"), {"push": pushed})
    assert presence.changed_after(0) == [ann.user_id, BOB]
    assert presence.changed_after(bobs) == [ann.user_id]


@pytest.mark.parametrize("content", [{}, {"push": {}}, {"push": ["x"]}, {"push": None}])
def test_nonsense_of_another_server(content: dict[str, Any]) -> None:
    assert [*parse(content, ServerName("two.test"), 10_000)] == []


async def test_a_waiting_sync_hears_of_it(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = (await ann.post("/_matrix/client/v3/createRoom", {"preset": "public_chat"})).ok()[
        "room_id"
    ]
    (await ben.post(f"/_matrix/client/v3/join/{room}")).ok()
    since = (await ann.get("/_matrix/client/v3/sync", timeout=0)).ok()["next_batch"]
    since = (await ann.get("/_matrix/client/v3/sync", timeout=0, since=since)).ok()["next_batch"]
    waiting = asyncio.create_task(ann.get("/_matrix/client/v3/sync", timeout=10_000, since=since))
    await asyncio.sleep(0.3)
    status = f"/_matrix/client/v3/presence/{ben.user_id}/status"
    (await ben.put(status, {"presence": "online", "status_msg": "awake"})).ok()
    async with asyncio.timeout(5):
        events = (await waiting).ok()["presence"]["events"]
    assert "awake" in {event["content"].get("status_msg") for event in events}


async def test_who_is_told_follows_who_shares_a_room(hearth: Hearth) -> None:
    """Whoever comes in is told of, whoever leaves no more, though rooms are remembered."""
    ann, bob, cat = [await hearth.user(name) for name in ("ann", "bob", "cat")]
    room = await staged(ann)
    sync = "/_matrix/client/v3/sync"

    async def told(status: str) -> set[str]:
        """Of whose new status Ann is told."""
        since = (await ann.get(sync)).ok()["next_batch"]
        for who in (bob, cat):
            (await who.put(path(who), {"presence": "online", "status_msg": status})).ok()
        events = (await ann.get(sync, since=since)).ok().get("presence", {}).get("events", [])
        return {e["sender"] for e in events if e["content"].get("status_msg") == status}

    assert await told("1") == set()
    await room.member(bob, "join")
    assert await told("2") == {bob.user_id}
    await room.member(cat, "join")
    assert await told("3") == {bob.user_id, cat.user_id}
    await room.member(bob, "leave")
    assert await told("4") == {cat.user_id}
