"""What clients are shown by simplified sliding sync.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.client_server.stage import staged
from tests.client_server.test_sync import room_of, say, sync
from tests.servers import Answer, Client, Hearth

V3 = "/_matrix/client/v3"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
STATE = [["m.room.create", ""], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]
LIST = {"ranges": [[0, 19]], "required_state": STATE, "timeline_limit": 10}
ALL = {"lists": {"all": LIST}}


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


async def asked(who: Client, body: Any, pos: str | None = None, **query: Any) -> Answer:
    if pos is not None:
        query["pos"] = pos
    return await who.post(SLIDING, body, **query)


async def sliding(who: Client, body: Any, pos: str | None = None, **query: Any) -> Any:
    return (await asked(who, body, pos, **query)).ok()


def listing(**more: Any) -> dict[str, Any]:
    return {"lists": {"all": LIST | more}}


def subscription(room_id: str, **more: Any) -> dict[str, Any]:
    wanted = {"required_state": [], "timeline_limit": 10, **more}
    return {"room_subscriptions": {room_id: wanted}}


def texts(room: Any) -> list[str]:
    return [e["content"]["body"] for e in room.get("timeline", ()) if "body" in e["content"]]


def state_of(room: Any) -> dict[tuple[str, str], Any]:
    return {(e["type"], e["state_key"]): e.get("content") for e in room.get("required_state", ())}


async def test_first_and_next(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob, name="a room")
    await say(ann, room_id, "one")
    first = await sliding(bob, ALL | {"txn_id": "t1"})
    assert (first["lists"], first["txn_id"]) == ({"all": {"count": 1}}, "t1")
    room = first["rooms"][room_id]
    assert (room["initial"], room["name"], room["membership"]) == (True, "a room", "join")
    assert (room["joined_count"], room["invited_count"], room["lists"]) == (2, 0, ["all"])
    assert (texts(room), room["num_live"], room["limited"]) == (["one"], 0, False)
    members = {key for kind, key in state_of(room) if kind == "m.room.member"}
    assert members == {ann.user_id, bob.user_id}
    assert ("m.room.create", "") in state_of(room)
    assert "room_id" not in room["timeline"][-1]
    await say(ann, room_id, "two")
    second = await sliding(bob, ALL, first["pos"])
    room = second["rooms"][room_id]
    assert (texts(room), room["num_live"], "initial" in room) == (["two"], 1, False)
    assert "required_state" not in room
    assert room["bump_stamp"] > first["rooms"][room_id]["bump_stamp"]
    # The same position again gives the same; the next one nothing.
    again = await sliding(bob, ALL, first["pos"])
    assert texts(again["rooms"][room_id]) == ["two"]
    assert (await sliding(bob, ALL, second["pos"]))["rooms"] == {}


async def test_what_is_no_message_bumps_nothing(ann: Client, bob: Client) -> None:
    """It brings the room to the top of lists all the same."""
    quiet, other = await room_of(ann, bob), await room_of(ann, bob)
    first = await sliding(bob, ALL)
    stamps = {room: first["rooms"][room]["bump_stamp"] for room in (quiet, other)}
    assert stamps[quiet] < stamps[other]
    topic = f"{V3}/rooms/{quiet}/state/m.room.topic"
    (await ann.put(topic, {"topic": "new"})).ok()
    second = await sliding(bob, listing(ranges=[[0, 0]]), first["pos"])
    assert list(second["rooms"]) == [quiet]
    assert second["rooms"][quiet].get("bump_stamp", stamps[quiet]) == stamps[quiet]
    anew = await sliding(bob, ALL)
    assert {room: anew["rooms"][room]["bump_stamp"] for room in (quiet, other)} == stamps


async def test_a_position_is_one_of_messages(ann: Client) -> None:
    room_id = await room_of(ann)
    for number in range(4):
        await say(ann, room_id, str(number))
    found = await sliding(ann, listing(timeline_limit=1))
    room = found["rooms"][room_id]
    assert (texts(room), room["limited"]) == (["3"], True)
    for token, expected in ((room["prev_batch"], "2"), (found["pos"], "3")):
        page = await ann.get(f"{V3}/rooms/{room_id}/messages", **{"from": token, "dir": "b"})
        assert page.ok()["chunk"][0]["content"]["body"] == expected


async def test_waiting_for_something(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    pos = (await sliding(bob, ALL))["pos"]
    waiting = asyncio.create_task(sliding(bob, ALL, pos, timeout="20000"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await say(ann, room_id, "wake up")
    async with asyncio.timeout(5):
        found = await waiting
    assert texts(found["rooms"][room_id]) == ["wake up"]


async def test_waiting_in_vain(ann: Client) -> None:
    await room_of(ann)
    pos = (await sliding(ann, ALL))["pos"]
    found = await sliding(ann, ALL, pos, timeout="50")
    assert (found["rooms"], found["lists"]) == ({}, {"all": {"count": 1}})


async def test_a_remote_join_arrives_at_once(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, eve = await here.user("ann"), await there.user("eve")
    room_id = await room_of(ann)
    body = ALL | {"extensions": {"e2ee": {"enabled": True}}}
    pos = (await sliding(ann, body))["pos"]
    waiting = asyncio.create_task(sliding(ann, body, pos, timeout="20000"))
    await asyncio.sleep(0.1)
    (await eve.post(f"{V3}/join/{room_id}", server_name=here.name)).ok()
    async with asyncio.timeout(5):
        found = await waiting
    room = found["rooms"][room_id]
    assert room["joined_count"] == 2
    assert [e["state_key"] for e in room["timeline"]] == [eve.user_id]
    assert state_of(room)["m.room.member", eve.user_id]["membership"] == "join"
    assert found["extensions"]["e2ee"]["device_lists"]["changed"] == [eve.user_id]
    # And the room in a list of the one who joined, with what was said before.
    theirs = await sliding(eve, ALL)
    assert theirs["rooms"][room_id]["membership"] == "join"


async def test_an_invitation_to_another_server(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, eve = await here.user("ann"), await there.user("eve")
    pos = (await sliding(eve, ALL))["pos"]
    waiting = asyncio.create_task(sliding(eve, ALL, pos, timeout="20000"))
    wanted = {"preset": "private_chat", "invite": [eve.user_id]}
    room_id = await room_of(ann, **wanted, creation_content={"type": "m.space"})
    async with asyncio.timeout(5):
        found = await waiting
    assert found["rooms"][room_id]["membership"] == "invite"
    spaces = listing(filters={"room_types": ["m.space"]})
    assert set((await sliding(eve, spaces))["rooms"]) == {room_id}
    (await eve.post(f"{V3}/rooms/{room_id}/leave")).ok()
    found = await sliding(eve, ALL, found["pos"])
    room = found["rooms"][room_id]
    assert room["membership"] == "leave"
    assert [e["content"] for e in room["stripped_state"]] == [{"membership": "leave"}]
    (await ann.post(f"{V3}/rooms/{room_id}/invite", {"user_id": eve.user_id})).ok()
    found = await sliding(eve, ALL, found["pos"])
    assert found["rooms"][room_id]["membership"] == "invite"
    (await eve.post(f"{V3}/join/{room_id}", server_name=here.name)).ok()
    found = await sliding(eve, ALL, found["pos"])
    room = found["rooms"][room_id]
    assert (room["membership"], room["initial"], room["joined_count"]) == ("join", True, 2)


async def test_ranges(ann: Client) -> None:
    rooms = [await room_of(ann) for _ in range(4)]
    first = await sliding(ann, listing(ranges=[[0, 1]]))
    assert (set(first["rooms"]), first["lists"]["all"]["count"]) == (set(rooms[2:]), 4)
    wider = await sliding(ann, listing(ranges=[[0, 19]]), first["pos"])
    assert set(wider["rooms"]) == set(rooms[:2])
    # Whatever happens in a room moves it to the top.
    third = await sliding(ann, listing(ranges=[[0, 0]]))
    await say(ann, rooms[0], "up")
    top = await sliding(ann, listing(ranges=[[0, 0]]), third["pos"])
    assert (list(top["rooms"]), top["rooms"][rooms[0]]["num_live"]) == ([rooms[0]], 1)
    everything = await sliding(ann, {"lists": {"all": {"timeline_limit": 1}}})
    assert set(everything["rooms"]) == set(rooms)


async def test_a_room_that_was_out_of_sight(ann: Client, bob: Client) -> None:
    one, two = await room_of(ann, bob), await room_of(ann, bob)
    narrow = listing(ranges=[[0, 0]])
    pos = (await sliding(bob, listing()))["pos"]
    await say(ann, one, "missed")
    await say(ann, two, "seen")
    found = await sliding(bob, narrow, pos)
    assert list(found["rooms"]) == [two]
    await say(ann, two, "again")
    found = await sliding(bob, narrow, found["pos"])
    assert texts(found["rooms"][two]) == ["again"]
    back = await sliding(bob, listing(), found["pos"])
    room = back["rooms"][one]
    assert (texts(room), "initial" in room, room["num_live"]) == (["missed"], False, 0)
    assert two not in back["rooms"]
    assert (await sliding(bob, listing(), back["pos"]))["rooms"] == {}


async def test_a_lost_answer(ann: Client) -> None:
    rooms = [await room_of(ann) for _ in range(3)]
    first = await sliding(ann, listing(ranges=[[0, 0]]))
    lost = await sliding(ann, listing(), first["pos"])
    assert set(lost["rooms"]) == set(rooms[:2])
    again = await sliding(ann, listing(), first["pos"])
    assert again["rooms"].keys() == lost["rooms"].keys()
    assert all(room["initial"] for room in again["rooms"].values())
    assert (await sliding(ann, listing(), again["pos"]))["rooms"] == {}


async def test_more_of_a_timeline(ann: Client) -> None:
    room_id = await room_of(ann)
    for number in range(5):
        await say(ann, room_id, str(number))
    short = listing(timeline_limit=1)
    first = await sliding(ann, short)
    assert texts(first["rooms"][room_id]) == ["4"]
    longer = await sliding(ann, short | subscription(room_id, timeline_limit=3), first["pos"])
    room = longer["rooms"][room_id]
    assert (texts(room), room["num_live"]) == (["2", "3", "4"], 0)
    assert room["expanded_timeline"] is room["unstable_expanded_timeline"] is True
    assert "initial" not in room
    assert room["limited"]
    # It has them now, whatever it asks for meanwhile.
    less = await sliding(ann, short, longer["pos"])
    assert less["rooms"] == {}
    more = await sliding(ann, short | subscription(room_id, timeline_limit=3), less["pos"])
    assert more["rooms"] == {}


async def test_more_of_a_state(ann: Client) -> None:
    room_id = await room_of(ann, topic="a topic")
    first = await sliding(ann, listing(required_state=[["m.room.create", ""]]))
    assert set(state_of(first["rooms"][room_id])) == {("m.room.create", "")}
    wanted = listing(required_state=[["m.room.create", ""], ["m.room.topic", ""]])
    second = await sliding(ann, wanted, first["pos"])
    room = second["rooms"][room_id]
    assert set(state_of(room)) == {("m.room.topic", "")}
    assert "timeline" not in room
    assert (await sliding(ann, wanted, second["pos"]))["rooms"] == {}


async def test_wildcards(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob, topic="a topic")
    await say(ann, room_id, "hello")
    every = await sliding(ann, listing(required_state=[["*", "*"]]))
    keys = set(state_of(every["rooms"][room_id]))
    assert {("m.room.topic", ""), ("m.room.member", bob.user_id)} <= keys
    lazily = listing(required_state=[["*", "*"], ["m.room.member", "$LAZY"]], timeline_limit=1)
    keys = set(state_of((await sliding(ann, lazily))["rooms"][room_id]))
    assert {("m.room.topic", ""), ("m.room.member", ann.user_id)} <= keys
    assert ("m.room.member", bob.user_id) not in keys
    members = listing(required_state=[["m.room.member", "*"]])
    keys = set(state_of((await sliding(ann, members))["rooms"][room_id]))
    assert keys == {("m.room.member", ann.user_id), ("m.room.member", bob.user_id)}
    named = listing(required_state=[["*", bob.user_id]])
    keys = set(state_of((await sliding(ann, named))["rooms"][room_id]))
    assert keys == {("m.room.member", bob.user_id)}


async def test_required_state_as_the_proposal_has_it(ann: Client) -> None:
    room_id = await room_of(ann, topic="a topic")
    wanted = {"include": [{}], "exclude": [{"type": "m.room.topic"}], "lazy_members": True}
    rule = {"range": [0, 9], "timeline_limit": 0, "required_state": wanted}
    body = {"lists": {"all": rule}, "conn_id": "main"}
    first = (await ann.post("/_matrix/client/v4/sync", body)).ok()
    kinds = {kind for kind, _ in state_of(first["rooms"][room_id])}
    assert "m.room.create" in kinds
    assert not kinds & {"m.room.topic", "m.room.member"}
    await say(ann, room_id, "hello")
    found = (await ann.post("/_matrix/client/v4/sync", body | {"pos": first["pos"]})).ok()
    assert found["rooms"][room_id]["limited"]


async def test_members_as_they_turn_up(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    for number in range(3):
        await say(bob, room_id, str(number))
    wanted = listing(required_state=[["m.room.member", "$LAZY"]], timeline_limit=2)
    first = await sliding(bob, wanted)
    assert set(state_of(first["rooms"][room_id])) == {("m.room.member", bob.user_id)}
    await say(ann, room_id, "hi")
    for _ in range(2):
        second = await sliding(bob, wanted, first["pos"])
        assert set(state_of(second["rooms"][room_id])) == {("m.room.member", ann.user_id)}
    await say(ann, room_id, "still me")
    third = await sliding(bob, wanted, second["pos"])
    assert "required_state" not in third["rooms"][room_id]
    (await ann.put(f"{V3}/profile/{ann.user_id}/displayname", {"displayname": "Ann"})).ok()
    fourth = await sliding(bob, wanted, third["pos"])
    member = state_of(fourth["rooms"][room_id])["m.room.member", ann.user_id]
    assert member["displayname"] == "Ann"


async def test_nobody_is_named_after_what_is_no_user(ann: Client, bob: Client) -> None:
    stage = await staged(ann)
    for number, wrong in enumerate(("", "x", "@x", "@x:", "@:", "@y:bad server", "y:one.test")):
        # The rules of rooms let others do this; our people cannot.
        await stage.send(ann, "m.room.member", {"membership": "invite", "n": number}, wrong)
    await stage.member(bob, "join")
    synced = (await bob.get(f"{V3}/sync")).ok()
    summary = synced["rooms"]["join"][stage.room_id]["summary"]
    assert summary["m.heroes"] == [ann.user_id]
    room = (await sliding(bob, ALL))["rooms"][stage.room_id]
    assert [hero["user_id"] for hero in room["heroes"]] == [ann.user_id]


async def test_names_and_heroes(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    first = await sliding(ann, ALL)
    room = first["rooms"][room_id]
    assert "name" not in room
    assert [hero["user_id"] for hero in room["heroes"]] == [bob.user_id]
    path = f"{V3}/rooms/{room_id}/state"
    (await ann.put(f"{path}/m.room.name", {"name": "now with a name"})).ok()
    (await ann.put(f"{path}/m.room.avatar", {"url": "mxc://one.test/a"})).ok()
    second = await sliding(ann, ALL, first["pos"])
    room = second["rooms"][room_id]
    assert (room["name"], room["avatar"]) == ("now with a name", "mxc://one.test/a")
    assert "heroes" not in room
    (await ann.put(f"{path}/m.room.name", {})).ok()
    third = await sliding(ann, ALL, second["pos"])
    room = third["rooms"][room_id]
    assert room["name"] is None
    assert "avatar" not in room
    # Who knew the room by its name has to be told after whom it is named now.
    assert [hero["user_id"] for hero in room["heroes"]] == [bob.user_id]
    anew = (await sliding(ann, ALL))["rooms"][room_id]
    assert [hero["user_id"] for hero in anew["heroes"]] == [bob.user_id]
    alias = "#lounge:one.test"
    (await ann.put(f"{V3}/directory/room/{quote(alias)}", {"room_id": room_id})).ok()
    (await ann.put(f"{path}/m.room.canonical_alias", {"alias": alias})).ok()
    assert "heroes" in (await sliding(ann, ALL))["rooms"][room_id]


async def test_an_invitation_and_what_becomes_of_it(ann: Client, bob: Client) -> None:
    first = await sliding(bob, ALL)
    waiting = asyncio.create_task(sliding(bob, ALL, first["pos"], timeout="20000"))
    room_id = await room_of(ann, invite=[bob.user_id], preset="private_chat", name="secret")
    async with asyncio.timeout(5):
        second = await waiting
    room = second["rooms"][room_id]
    assert (room["membership"], room["initial"]) == ("invite", True)
    assert room["invite_state"] == room["stripped_state"]
    assert {"m.room.name", "m.room.member"} <= {event["type"] for event in room["invite_state"]}
    assert not room.keys() & {"timeline", "required_state", "joined_count"}
    assert (await sliding(bob, ALL, second["pos"]))["rooms"] == {}
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    third = await sliding(bob, ALL, second["pos"])
    room = third["rooms"][room_id]
    assert (room["membership"], room["initial"], room["name"]) == ("join", True, "secret")
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    await say(ann, room_id, "not for bob")
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.name", {"name": "nor this"})).ok()
    fourth = await sliding(bob, listing(required_state=[["*", "*"]]), third["pos"])
    room = fourth["rooms"][room_id]
    assert (room["membership"], texts(room), "initial" in room) == ("leave", [], False)
    assert [e["type"] for e in room["timeline"]] == ["m.room.member"]
    assert set(state_of(room)) == {("m.room.member", bob.user_id)}
    assert state_of(room)["m.room.member", bob.user_id]["membership"] == "leave"
    assert "name" not in room
    await say(ann, room_id, "neither")
    assert (await sliding(bob, ALL, fourth["pos"]))["rooms"] == {}
    assert room_id not in (await sliding(bob, ALL))["rooms"]


async def test_a_knock_and_what_becomes_of_it(ann: Client, bob: Client) -> None:
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    wanted = {"preset": "private_chat", "name": "a door", "initial_state": [rules]}
    room_id = await room_of(ann, **wanted, room_version="11")
    pos, v3 = (await sliding(bob, ALL))["pos"], (await sync(bob))["next_batch"]

    async def news(section: str) -> tuple[Any, Any]:
        nonlocal pos, v3
        found, told = await sliding(bob, ALL, pos), await sync(bob, v3)
        pos, v3 = found["pos"], told["next_batch"]
        assert set(told["rooms"]) == {section}
        return found["rooms"][room_id], told["rooms"][section][room_id]

    (await bob.post(f"{V3}/knock/{room_id}", {"reason": "tap"})).ok()
    room, told = await news("knock")
    assert room["membership"] == "knock"
    for state in (room["stripped_state"], told["knock_state"]["events"]):
        assert {"name": "a door"} in [event["content"] for event in state]
        own = [e for e in state if e.get("state_key") == bob.user_id]
        assert own[0]["content"]["membership"] == "knock"
    assert room.keys().isdisjoint({"timeline", "required_state", "name", "joined_count"})
    (await ann.post(f"{V3}/rooms/{room_id}/kick", {"user_id": bob.user_id})).ok()
    room, told = await news("leave")
    assert room["membership"] == "leave"
    (await bob.post(f"{V3}/knock/{room_id}")).ok()
    assert (await news("knock"))[0]["membership"] == "knock"
    (await ann.post(f"{V3}/rooms/{room_id}/invite", {"user_id": bob.user_id})).ok()
    assert (await news("invite"))[0]["membership"] == "invite"
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    room, _ = await news("join")
    assert (room["membership"], room["initial"]) == ("join", True)


async def test_a_rejected_invitation(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, invite=[bob.user_id], preset="private_chat", name="secret")
    first = await sliding(bob, ALL)
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    room = (await sliding(bob, ALL, first["pos"]))["rooms"][room_id]
    assert (room["membership"], set(state_of(room))) == (
        "leave",
        {("m.room.member", bob.user_id)},
    )
    # Who never was in it is shown no more than this of the room.
    assert [e["content"] for e in room["stripped_state"]] == [{"membership": "leave"}]
    assert "secret" not in str(room)


async def test_a_room_that_another_client_left_and_forgot(ann: Client, bob: Client) -> None:
    """It is told once that they are out, by a list and by a subscription."""
    rooms = [await room_of(ann, bob) for _ in range(3)]
    wanted = listing(ranges=[[0, 1]]) | subscription(rooms[0])
    first = await sliding(bob, wanted)
    assert set(first["rooms"]) == set(rooms)
    for room_id in rooms[:2]:
        await say(ann, room_id, "not for bob")
        (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
        (await bob.post(f"{V3}/rooms/{room_id}/forget")).ok()
        await say(ann, room_id, "not for bob")
    second = await sliding(bob, wanted, first["pos"])
    assert {r: room["membership"] for r, room in second["rooms"].items()} == dict.fromkeys(
        rooms[:2], "leave"
    )
    for room in second["rooms"].values():
        own = state_of(room)["m.room.member", bob.user_id]
        assert own["membership"] == "leave"
    third = await sliding(bob, wanted, second["pos"])
    assert (third["rooms"], third["lists"]["all"]["count"]) == ({}, 1)
    assert set((await sliding(bob, wanted))["rooms"]) == {rooms[2]}


async def test_who_is_sent_away_is_told(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob, topic="before")
    body = {"user_id": bob.user_id, "reason": "bye"}
    (await ann.post(f"{V3}/rooms/{room_id}/kick", body)).ok()
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.topic", {"topic": "after"})).ok()
    found = await sliding(bob, listing(required_state=[["m.room.topic", ""]]))
    room = found["rooms"][room_id]
    assert room["membership"] == "leave"
    assert state_of(room)["m.room.topic", ""]["topic"] == "before"
    assert room["timeline"][-1]["content"]["reason"] == "bye"


async def test_subscriptions_are_for_those_who_may(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann)
    for nobody in (subscription(room_id), subscription("!nowhere:one.test")):
        assert (await sliding(bob, nobody))["rooms"] == {}
    found = await sliding(ann, subscription(room_id, timeline_limit=1))
    assert "lists" not in found["rooms"][room_id]


async def test_unknown_positions(hearth: Hearth, ann: Client, bob: Client) -> None:
    await room_of(ann)
    pos = (await sliding(ann, ALL))["pos"]
    stream, _, own = pos.partition("~")
    later = f"{stream.replace('.', '.9999', 1)}~{own}"
    for bad in (
        "nonsense",
        later,
        stream,
        f"{stream}~999.1",
        pos.replace("h", "h9", 1),
        "h0.1.0.0~1.1",
    ):
        answer = await asked(ann, ALL, bad)
        assert (answer.status, answer.errcode) == (400, "M_UNKNOWN_POS"), bad
    for who, body in ((bob, ALL), (ann, ALL | {"conn_id": "other"})):
        assert (await asked(who, body, pos)).errcode == "M_UNKNOWN_POS"
    other = await ann.log_in_again()
    assert (await asked(other, ALL, pos)).errcode == "M_UNKNOWN_POS"


async def test_versions_say_so(hearth: Hearth) -> None:
    found = (await hearth.anybody.get("/_matrix/client/versions")).ok()
    assert found["unstable_features"]["org.matrix.simplified_msc3575"] is True


EVERYTHING = ALL | {
    "extensions": {name: {"enabled": True} for name in ("account_data", "receipts", "e2ee")}
}


def _forget_all(hearth: Hearth) -> None:
    """The process reads everything again."""
    parts = hearth.parts.client_house.sliding_sync._parts
    parts.sections._means.memory._rooms.clear()
    parts.extensions._under._kept.clear()
    parts.account._everything._known._kept.clear()


def _without_ages(answer: Any) -> Any:
    answer = answer | {"pos": None}
    for room in answer["rooms"].values():
        for event in room.get("timeline", ()):
            assert event["unsigned"].pop("age") >= 0
            event["unsigned"].get("redacted_because", {}).pop("unsigned", None)
    return answer


async def test_who_begins_anew_is_told_how_it_is_now(hearth: Hearth, ann: Client) -> None:
    """What was told before is told from memory, but for what has changed since."""
    bob, cat = await hearth.user("bob"), await hearth.user("cat")
    room_id = await room_of(ann, bob, name="a room")
    other = await room_of(ann, bob)
    path, mine = f"{V3}/rooms/{room_id}", f"{V3}/user/{bob.user_id}"
    said = await say(ann, room_id, "one")
    named = (await ann.put(f"{path}/state/m.room.name", {"name": "new"})).ok()["event_id"]
    changes: list[Callable[[], Awaitable[Any]]] = [
        lambda: say(ann, room_id, "two"),
        lambda: ann.put(f"{path}/state/m.room.avatar", {"url": "mxc://one.test/a"}),
        lambda: ann.put(f"{path}/redact/{named}/1", {}),
        lambda: cat.post(f"{path}/join"),
        lambda: cat.post(f"{path}/receipt/m.read/{said}", {}),
        lambda: bob.post(f"{path}/receipt/m.read.private/{said}", {}),
        lambda: bob.put(f"{mine}/account_data/a.kind", {"a": 1}),
        lambda: bob.put(f"{mine}/rooms/{room_id}/tags/u.tag", {}),
        lambda: bob.delete(f"{mine}/rooms/{room_id}/tags/u.tag"),
        lambda: cat.post(f"{path}/leave"),
        lambda: say(ann, other, "elsewhere"),
        lambda: bob.put(f"{V3}/profile/{bob.user_id}/displayname", {"displayname": "Bob"}),
    ]
    conn_ids = (f"{number}" for number in range(100))

    async def begun() -> Any:
        return _without_ages(await sliding(bob, EVERYTHING | {"conn_id": next(conn_ids)}))

    before = await begun()
    for change in changes:
        await change()
        first, second = await begun(), await begun()
        _forget_all(hearth)
        third = await begun()
        assert first == second
        assert second == third
        assert third != before
        before = first
