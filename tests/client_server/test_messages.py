"""Rooms read back: pages, filters, what is around an event, and who may see what."""

import json
from typing import Any

import pytest

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth

VISIBILITIES = ("world_readable", "shared", "invited", "joined")


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


@pytest.fixture
async def room(ann: Client) -> Stage:
    return await staged(ann)


async def test_a_room_read_backwards_page_by_page(room: Stage, ann: Client) -> None:
    for number in range(7):
        await room.say(ann, str(number))
    seen: list[Any] = []
    token, pages = None, 0
    while True:
        query: dict[str, str] = {"from": token} if token else {}
        page = (await ann.get(f"{room.path}/messages", dir="b", limit=3, **query)).ok()
        assert len(page["chunk"]) <= 3
        assert page["start"] == (token or page["start"])
        seen += page["chunk"]
        pages += 1
        if "end" not in page:
            break
        token = page["end"]
    texts = [e["content"]["body"] for e in seen if e["type"] == "m.room.message"]
    assert texts == ["6", "5", "4", "3", "2", "1", "0"]
    assert seen[-1]["type"] == "m.room.create"
    assert len({e["event_id"] for e in seen}) == len(seen)
    assert pages == -(-len(seen) // 3)


async def test_a_room_read_forwards(room: Stage, ann: Client) -> None:
    for number in range(3):
        await room.say(ann, str(number))
    first = (await ann.get(f"{room.path}/messages", dir="f", limit=2)).ok()
    assert [e["type"] for e in first["chunk"]] == ["m.room.create", "m.room.member"]
    query = {"from": first["end"], "limit": 100}
    rest = (await ann.get(f"{room.path}/messages", dir="f", **query)).ok()
    assert [e["content"].get("body") for e in rest["chunk"]][-3:] == ["0", "1", "2"]
    assert "end" not in rest


async def test_to_ends_a_page(room: Stage, ann: Client) -> None:
    await room.say(ann, "before")
    edge = (await ann.get(f"{room.path}/messages", dir="b", limit=1)).ok()["start"]
    await room.say(ann, "after")
    assert await room.texts(ann, to=edge) == ["after"]


async def test_events_have_what_clients_need_and_no_more(room: Stage, ann: Client) -> None:
    await room.say(ann, "hello")
    page = (await ann.get(f"{room.path}/messages", dir="b", limit=1)).ok()
    (event,) = page["chunk"]
    unsigned = event.pop("unsigned")
    assert event.keys() == {
        "type", "content", "sender", "event_id", "room_id", "origin_server_ts"
    }  # fmt: skip
    assert event["room_id"] == room.room_id
    assert -1000 < unsigned["age"] < 60_000
    assert unsigned["membership"] == unsigned["io.element.msc4115.membership"] == "join"


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({}, ["text", "picture", "note"]),
        ({"types": ["m.room.*"]}, ["text", "picture"]),
        ({"types": []}, []),
        ({"not_types": ["m.room.message"]}, ["note"]),
        ({"types": ["*"], "not_types": ["*"]}, []),
        ({"contains_url": True}, ["picture"]),
        ({"contains_url": False}, ["text", "note"]),
        ({"senders": ["@bob:one.test"]}, []),
        ({"not_senders": ["@ann:one.test"]}, []),
        ({"not_rooms": ["{room}"]}, []),
        ({"rooms": ["!other:one.test"]}, []),
    ],
)
async def test_filters(room: Stage, ann: Client, wanted: Any, left: list[str]) -> None:
    await room.say(ann, "text")
    await room.send(
        ann, "m.room.message", {"msgtype": "m.image", "body": "picture", "url": "mxc://one.test/a"}
    )
    await room.send(ann, "org.example.note", {"body": "note"})
    text = json.dumps(wanted).replace("{room}", room.room_id)
    page = (await ann.get(f"{room.path}/messages", dir="b", filter=text, limit=50)).ok()
    bodies = [e["content"]["body"] for e in page["chunk"] if "body" in e["content"]]
    assert bodies == left[::-1]
    assert "end" not in page


async def test_a_filter_goes_over_more_than_one_page(room: Stage, ann: Client) -> None:
    for number in range(4):
        await room.send(ann, "org.example.note", {"body": str(number)})
        await room.say(ann, "between")
    wanted = json.dumps({"types": ["org.example.note"]})
    page = (await ann.get(f"{room.path}/messages", dir="b", filter=wanted, limit=3)).ok()
    assert [e["content"]["body"] for e in page["chunk"]] == ["3", "2", "1"]
    query = {"from": page["end"], "filter": wanted}
    rest = (await ann.get(f"{room.path}/messages", dir="b", **query)).ok()
    assert [e["content"]["body"] for e in rest["chunk"]] == ["0"]


async def test_lazy_members_come_with_the_page(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    await room.say(ann, "hello")
    wanted = json.dumps({"lazy_load_members": True})
    page = (await ann.get(f"{room.path}/messages", dir="b", filter=wanted, limit=1)).ok()
    assert [(e["type"], e["state_key"]) for e in page["state"]] == [("m.room.member", ann.user_id)]
    await room.say(bob, "hi")
    page = (await ann.get(f"{room.path}/messages", dir="b", filter=wanted, limit=2)).ok()
    assert {e["state_key"] for e in page["state"]} == {ann.user_id, bob.user_id}
    assert "state" not in (await ann.get(f"{room.path}/messages", dir="b", limit=1)).ok()


@pytest.mark.parametrize(
    ("visibility", "before_invite", "while_invited"),
    [
        ("world_readable", True, True),
        ("shared", True, True),
        ("invited", False, True),
        ("joined", False, False),
    ],
)
async def test_what_a_newcomer_sees(
    room: Stage, ann: Client, bob: Client, visibility: str, before_invite: bool, while_invited: bool
) -> None:
    await room.history_visibility(visibility)
    await room.say(ann, "early")
    await room.member(bob, "invite", ann)
    await room.say(ann, "invited")
    await room.member(bob, "join")
    await room.say(ann, "joined")
    seen = await room.texts(bob)
    assert seen[0] == "joined"
    assert ("early" in seen, "invited" in seen) == (before_invite, while_invited)


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_who_left_sees_up_to_then(
    room: Stage, ann: Client, bob: Client, visibility: str
) -> None:
    await room.history_visibility(visibility)
    await room.member(bob, "join")
    await room.say(ann, "with bob")
    await room.member(bob, "leave")
    await room.say(ann, "without bob")
    expected = ["with bob"]
    if visibility == "world_readable":
        expected.insert(0, "without bob")
    assert await room.texts(bob) == expected
    forwards = (await bob.get(f"{room.path}/messages", dir="f", limit=100)).ok()
    bodies = [e["content"]["body"] for e in forwards["chunk"] if "body" in e["content"]]
    assert bodies == expected[::-1]
    first = forwards["chunk"][0]
    assert (first["type"], first["unsigned"]["membership"]) == ("m.room.create", "leave")


async def test_an_invitation_to_come_back_opens_nothing(
    room: Stage, ann: Client, bob: Client
) -> None:
    await room.history_visibility("invited")
    await room.member(bob, "join")
    before = await room.say(ann, "before")
    await room.member(bob, "leave")
    await room.member(bob, "invite", ann)
    after = await room.say(ann, "after")
    assert await room.texts(bob) == ["before"]
    statuses = [(await bob.get(f"{room.path}/event/{e}")).status for e in (before, after)]
    assert statuses == [200, 404]


async def test_who_comes_back_sees_what_was_shared_meanwhile(
    room: Stage, ann: Client, bob: Client
) -> None:
    await room.member(bob, "join")
    await room.member(bob, "leave")
    await room.say(ann, "meanwhile")
    assert await room.texts(bob) == []
    await room.member(bob, "join")
    assert await room.texts(bob) == ["meanwhile"]
    await room.member(bob, "leave")
    await room.say(ann, "afterwards")
    assert await room.texts(bob) == ["meanwhile"]


async def test_a_change_of_visibility_holds_from_then_on(
    room: Stage, ann: Client, bob: Client
) -> None:
    await room.history_visibility("joined")
    await room.say(ann, "hidden")
    await room.history_visibility("shared")
    await room.say(ann, "shared")
    await room.member(bob, "join")
    await room.history_visibility("joined")
    await room.history_visibility("shared")
    assert await room.texts(bob) == ["shared"]


async def test_messages_of_ignored_users(room: Stage, ann: Client, bob: Client) -> None:
    """The list is followed at once."""
    await room.member(bob, "join")
    await room.say(bob, "noise")
    event_id = await room.say(ann, "signal")
    path = f"/_matrix/client/v3/user/{ann.user_id}/account_data/m.ignored_user_list"
    assert await room.texts(ann) == ["signal", "noise"]
    (await ann.put(path, {"ignored_users": {bob.user_id: {}}})).ok()
    assert await room.texts(ann) == ["signal"]
    assert await room.texts(bob) == ["signal", "noise"]
    context = (await ann.get(f"{room.path}/context/{event_id}")).ok()
    senders = {e["sender"] for e in context["events_before"] if "state_key" not in e}
    assert senders == set()
    (await ann.put(path, {"ignored_users": {}})).ok()
    assert await room.texts(ann) == ["signal", "noise"]


async def test_what_is_forgotten_is_not_read(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    await room.say(ann, "hello")
    await room.member(bob, "leave")
    assert await room.texts(bob) == ["hello"]
    (await bob.post(f"{room.path}/forget")).ok()
    assert (await bob.get(f"{room.path}/messages", dir="b")).errcode == "M_FORBIDDEN"
    await room.member(bob, "join")
    assert await room.texts(bob) == ["hello"]


WHO = ("joined", "left", "kicked", "banned", "invited", "knocked", "rejected", "stranger")


async def _become(room: Stage, whom: Client, what: str) -> None:
    steps = {
        "joined": ["join"],
        "left": ["join", "leave"],
        "kicked": ["join", "kick"],
        "banned": ["join", "ban"],
        "invited": ["invite"],
        "knocked": ["knock"],
        "rejected": ["invite", "leave"],
        "stranger": [],
    }[what]
    for step in steps:
        by = room.owner if step in {"kick", "ban", "invite"} else whom
        await room.member(whom, "leave" if step == "kick" else step, by)


@pytest.mark.parametrize("what", WHO)
async def test_who_may_read(ann: Client, bob: Client, what: str) -> None:
    room = await staged(ann)
    if what == "knocked":
        await room.state("m.room.join_rules", {"join_rule": "knock"})
    event_id = await room.say(ann, "hello")
    await _become(room, bob, what)
    was_in = what in {"joined", "left", "kicked", "banned"}
    statuses = {
        path: (await bob.get(f"{room.path}/{path}")).status
        for path in (
            "messages?dir=b",
            f"context/{event_id}",
            f"event/{event_id}",
            "state",
            "state/m.room.create",
            "members",
            "joined_members",
        )
    }
    expected = dict.fromkeys(statuses, 200 if was_in else 403)
    expected["joined_members"] = 200 if what == "joined" else 403
    if not was_in:
        expected[f"event/{event_id}"] = 404
    assert statuses == expected


@pytest.mark.parametrize("what", ["left", "banned", "rejected", "stranger"])
async def test_the_world_reads_what_is_open_to_it(ann: Client, bob: Client, what: str) -> None:
    room = await staged(ann)
    await room.history_visibility("world_readable")
    await _become(room, bob, what)
    event_id = await room.say(ann, "hello world")
    assert await room.texts(bob) == ["hello world"]
    for path in (f"context/{event_id}", f"event/{event_id}", "state", "members"):
        (await bob.get(f"{room.path}/{path}")).ok()
    assert (await bob.get(f"{room.path}/joined_members")).status == 403


async def test_context(room: Stage, ann: Client) -> None:
    ids = [await room.say(ann, str(number)) for number in range(7)]
    found = (await ann.get(f"{room.path}/context/{ids[3]}", limit=4)).ok()
    assert found["event"]["event_id"] == ids[3]
    assert [e["event_id"] for e in found["events_before"]] == [ids[2], ids[1]]
    assert [e["event_id"] for e in found["events_after"]] == [ids[4], ids[5]]
    assert ("m.room.create", "") in {(e["type"], e["state_key"]) for e in found["state"]}
    older = (
        await ann.get(f"{room.path}/messages", dir="b", limit=1, **{"from": found["start"]})
    ).ok()
    assert [e["event_id"] for e in older["chunk"]] == [ids[0]]
    newer = (await ann.get(f"{room.path}/messages", dir="f", **{"from": found["end"]})).ok()
    assert [e["event_id"] for e in newer["chunk"]] == [ids[6]]


async def test_context_of_nothing_else(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    event_id = await room.say(ann, "hello")
    wanted = json.dumps({"lazy_load_members": True})
    found = (await ann.get(f"{room.path}/context/{event_id}", limit=0, filter=wanted)).ok()
    assert (found["events_before"], found["events_after"]) == ([], [])
    members = [e["state_key"] for e in found["state"] if e["type"] == "m.room.member"]
    assert members == [ann.user_id]


async def test_no_context_of_what_one_may_not_see(room: Stage, ann: Client, bob: Client) -> None:
    await room.history_visibility("joined")
    event_id = await room.say(ann, "hidden")
    await room.member(bob, "join")
    for path in ("event", "context"):
        answer = await bob.get(f"{room.path}/{path}/{event_id}")
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
        other = await bob.get(f"{room.path}/{path}/$nothing")
        assert (other.status, other.json) == (404, answer.json)


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"dir": "x"}, "M_INVALID_PARAM"),
        ({"dir": "b", "limit": "-1"}, "M_INVALID_PARAM"),
        ({"dir": "b", "limit": "many"}, "M_INVALID_PARAM"),
        ({"dir": "b", "from": "t1"}, "M_INVALID_PARAM"),
        ({"dir": "b", "to": "t1"}, "M_INVALID_PARAM"),
        ({"dir": "b", "filter": "{"}, "M_BAD_JSON"),
        ({"dir": "b", "filter": '{"limit": "x"}'}, "M_BAD_JSON"),
        ({"dir": "b", "filter": "7"}, "M_BAD_JSON"),
    ],
)
async def test_bad_queries(room: Stage, ann: Client, query: dict[str, str], errcode: str) -> None:
    answer = await ann.get(f"{room.path}/messages", **query)
    assert (answer.status, answer.errcode) == (400, errcode)


async def test_who_was_erased_is_heard_by_those_only_who_were_there(
    hearth: Hearth, room: Stage, ann: Client, bob: Client
) -> None:
    await room.member(bob, "join")
    said = await room.say(bob, "regrettable")
    (await ann.get(f"{room.path}/event/{said}")).ok()
    parts = hearth.parts
    process = parts.base.process
    async with process.database.reader() as conn:
        nid = (await process.numbers.users.find(conn, [bob.user_id]))[bob.user_id]
    await parts.accounts.management.deactivate(nid, erase=True)
    cat = await hearth.user("cat")
    await room.member(cat, "join")
    assert (await ann.get(f"{room.path}/event/{said}")).ok()["content"]["body"] == "regrettable"
    assert (await cat.get(f"{room.path}/event/{said}")).ok()["content"] == {}
    assert "regrettable" not in str((await cat.get("/_matrix/client/v3/sync", timeout=0)).ok())
    assert "regrettable" in str((await ann.get("/_matrix/client/v3/sync", timeout=0)).ok())
