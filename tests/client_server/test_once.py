"""Once and only once: what is asked again, at the same moment, by way of several workers.

https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.database import Server
from tests.servers import Answer, Client, Hearth, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
MSC4140 = "/_matrix/client/unstable/org.matrix.msc4140"
TEXT = {"msgtype": "m.text", "body": "x"}
AT_ONCE = 6


@pytest.fixture
async def two(postgres: Server, tmp_path: Path) -> AsyncIterator[Hearth]:
    """A server of two workers."""
    settings = test_settings("one.test", tmp_path)
    async with (
        own_database(postgres, f"once_{id(tmp_path)}") as where,
        serving(settings, where, workers=2) as hearth,
    ):
        yield hearth


async def at_once(who: Client, method: str, *paths: str, body: Any = None) -> list[Answer]:
    """The same request many times, or one for each path, at the same moment."""
    each = paths if len(paths) > 1 else paths * AT_ONCE
    return await asyncio.gather(*(who.ask(method, path, body) for path in each))


def outcomes(answers: list[Answer]) -> Counter[tuple[int, str | None]]:
    return Counter((answer.status, answer.errcode) for answer in answers)


async def room_of(owner: Client, **wanted: Any) -> str:
    made = await owner.post(f"{V3}/createRoom", {"preset": "public_chat", **wanted})
    return str(made.ok()["room_id"])


async def timeline(reader: Client, room: str) -> list[dict[str, Any]]:
    page = await reader.get(f"{V3}/rooms/{room}/messages", dir="b", limit=100)
    found: list[dict[str, Any]] = page.ok()["chunk"]
    return found


async def memberships(reader: Client, room: str, whose: Client) -> list[str]:
    """All that became of somebody, the latest first."""
    events = await timeline(reader, room)
    mine = [e for e in events if e.get("state_key") == whose.user_id]
    return [event["content"]["membership"] for event in mine]


async def test_a_transaction_is_one_request(postgres: Server, tmp_path: Path) -> None:
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, f"once_{id(tmp_path)}") as where:
        async with serving(settings, where, workers=2) as hearth:
            ann = await hearth.user("ann", "PHONE")
            room = await room_of(ann)
            path = f"{V3}/rooms/{room}"
            said = (await ann.put(f"{path}/send/m.room.message/0", TEXT)).ok()["event_id"]
            later = {"delay_ms": 600_000, "content": TEXT}
            requests: list[tuple[str, Any]] = [
                (f"{path}/send/m.room.message/1", TEXT),
                (f"{path}/send/m.room.message/2?org.matrix.msc4140.delay=600000", TEXT),
                (f"{path}/redact/{said}/3", {"reason": "why"}),
                (f"{MSC4140}/rooms/{room}/delayed_event/m.room.message/4", later),
            ]
            first = []
            for where_to, body in requests:
                answers = await at_once(ann, "PUT", where_to, body=body)
                assert {str(answer.ok()) for answer in answers} == {str(answers[0].ok())}
                first.append(answers[0].ok())
            many = len(await timeline(ann, room))
        async with serving(settings, where, workers=2) as hearth:
            again = Client(hearth, ann.token, ann.user_id, ann.device_id)
            assert [(await again.put(to, body)).ok() for to, body in requests] == first
            assert len(await timeline(again, room)) == many
            waiting = (await again.get(f"{MSC4140}/delayed_events")).ok()["delayed_events"]
            assert len(waiting) == 2


async def test_state_and_memberships(two: Hearth) -> None:
    ann, ben = await two.user("ann"), await two.user("ben")
    room = await room_of(ann)
    path = f"{V3}/rooms/{room}"
    ids = {a.ok()["event_id"] for a in await at_once(ann, "PUT", f"{path}/state/x/", body={"a": 1})}
    assert len(ids) == 1
    for what, who, body, became in (
        ("join", ben, {}, "join"),
        ("leave", ben, {}, "leave"),
        ("invite", ann, {"user_id": ben.user_id}, "invite"),
        ("ban", ann, {"user_id": ben.user_id}, "ban"),
    ):
        before = await memberships(ann, room, ben)
        answers = await at_once(who, "POST", f"{path}/{what}", body=body)
        assert outcomes(answers) == {(200, None): AT_ONCE}, what
        assert await memberships(ann, room, ben) == [became, *before]
    for what, became in (("unban", "leave"), ("kick", "leave")):
        if what == "kick":
            (await ben.post(f"{path}/join")).ok()
        before = await memberships(ann, room, ben)
        answers = await at_once(ann, "POST", f"{path}/{what}", body={"user_id": ben.user_id})
        assert set(outcomes(answers)) <= {(200, None), (403, "M_FORBIDDEN")}, what
        assert await memberships(ann, room, ben) == [became, *before]
    (await ann.put(f"{path}/state/m.room.join_rules/", {"join_rule": "knock"})).ok()
    before = await memberships(ann, room, ben)
    answers = await at_once(ben, "POST", f"{V3}/knock/{room}", body={})
    assert outcomes(answers) == {(200, None): AT_ONCE}
    assert await memberships(ann, room, ben) == ["knock", *before]


async def test_what_excludes_each_other(two: Hearth) -> None:
    ann, ben = await two.user("ann"), await two.user("ben")
    room = await room_of(ann)
    path = f"{V3}/rooms/{room}"
    for _ in range(4):
        join, ban = await asyncio.gather(
            ben.post(f"{path}/join"), ann.post(f"{path}/ban", {"user_id": ben.user_id})
        )
        assert ban.status == 200
        assert (join.status, join.errcode) in {(200, None), (403, "M_FORBIDDEN")}
        assert (await memberships(ann, room, ben))[0] == "ban"
        (await ann.post(f"{path}/unban", {"user_id": ben.user_id})).ok()
    delayed = f"{MSC4140}/rooms/{room}/delayed_event/m.room.message"
    for number in range(4):
        body = {"delay_ms": 600_000, "content": TEXT}
        delay_id = (await ann.put(f"{delayed}/{number}", body)).ok()["delay_id"]
        action = f"{MSC4140}/delayed_events/{delay_id}"
        before = len(await timeline(ann, room))
        answers = await at_once(ann, "POST", f"{action}/send", f"{action}/cancel")
        assert outcomes(answers) == {(200, None): 1, (409, "M_UNKNOWN"): 1}
        was_sent = answers[0].status == 200
        assert len(await timeline(ann, room)) == before + was_sent


async def test_names(two: Hearth) -> None:
    ann = await two.user("ann")
    wanted = {"room_alias_name": "hall", "preset": "public_chat"}
    answers = await at_once(ann, "POST", f"{V3}/createRoom", body=wanted)
    assert outcomes(answers) == {(200, None): 1, (400, "M_ROOM_IN_USE"): AT_ONCE - 1}
    rooms = [await room_of(ann) for _ in range(AT_ONCE)]
    alias = f"{V3}/directory/room/%23other:one.test"
    answers = await asyncio.gather(*(ann.put(alias, {"room_id": room}) for room in rooms))
    assert outcomes(answers) == {(200, None): 1, (409, "M_UNKNOWN"): AT_ONCE - 1}
    winner = rooms[[answer.status for answer in answers].index(200)]
    assert (await ann.get(alias)).ok()["room_id"] == winner
    answers = await at_once(ann, "DELETE", alias)
    assert outcomes(answers) == {(200, None): 1, (404, "M_NOT_FOUND"): AT_ONCE - 1}


async def test_the_same_reaction(two: Hearth) -> None:
    ann = await two.user("ann")
    room = await room_of(ann)
    path = f"{V3}/rooms/{room}/send"
    said = (await ann.put(f"{path}/m.room.message/0", TEXT)).ok()["event_id"]
    relation = {"rel_type": "m.annotation", "event_id": said, "key": "+"}
    reactions = [f"{path}/m.reaction/{number}" for number in range(AT_ONCE)]
    answers = await at_once(ann, "PUT", *reactions, body={"m.relates_to": relation})
    assert outcomes(answers) == {(200, None): 1, (400, "M_DUPLICATE_ANNOTATION"): AT_ONCE - 1}


async def test_an_upgrade(two: Hearth) -> None:
    ann = await two.user("ann")
    room = await room_of(ann, room_alias_name="hall", visibility="public")
    path = f"{V3}/rooms/{room}/upgrade"
    answers = await at_once(ann, "POST", path, body={"new_version": "11"})
    assert set(outcomes(answers)) == {(200, None), (409, "M_UNKNOWN")}
    # One that comes once another is done upgrades the room again.
    new = [answer.json["replacement_room"] for answer in answers if answer.status == 200]
    joined = (await ann.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
    assert set(joined) == {room, *new}, "whoever came too late left nothing behind"
    kinds = Counter(event["type"] for event in await timeline(ann, room))
    assert kinds["m.room.tombstone"] == len(new)
