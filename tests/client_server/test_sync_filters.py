"""What filters leave out of `/sync`, and what it says whatever they say.

https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.client_server.test_sync import V3, bodies, room_of, say, sync
from tests.servers import Client, Hearth


@dataclass
class Scene:
    """Ann's and Eve's news in two rooms that Bob is in, since a token of his."""

    ann: Client
    bob: Client
    eve: Client
    one: str
    two: str
    since: str

    def filled(self, wanted: Any) -> str:
        text = json.dumps(wanted)
        for name, value in (
            ("ONE", self.one),
            ("TWO", self.two),
            ("ANN", self.ann.user_id),
            ("EVE", self.eve.user_id),
        ):
            text = text.replace(name, value)
        return text

    async def told(self, wanted: Any, since: str | None = None) -> dict[str, str]:
        """What is told in each room, by the names of what it is."""
        answer = await sync(self.bob, since or self.since, filter=self.filled(wanted))
        rooms = answer.get("rooms", {}).get("join", {})
        names = {self.one: "one", self.two: "two"}
        return {names[room_id]: _summed_up(section) for room_id, section in rooms.items()}


def _summed_up(section: Any) -> str:
    """What there is in a section: bodies of messages, `topic`, and what else it has."""
    timeline = section.get("timeline", {"events": []})["events"]
    state = section.get("state", {"events": []})["events"]
    found = [event["content"].get("body", event["type"]) for event in timeline]
    found += [f"({event['type']})" for event in state]
    found += [event["type"] for event in section.get("ephemeral", {"events": []})["events"]]
    found += [event["type"] for event in section.get("account_data", {"events": []})["events"]]
    return " ".join(found)


@pytest.fixture
async def scene(hearth: Hearth) -> Scene:
    ann, bob, eve = [await hearth.user(name) for name in ("ann", "bob", "eve")]
    one, two = [await room_of(ann, bob, eve) for _ in range(2)]
    since = (await sync(bob))["next_batch"]
    await say(ann, one, "from ann")
    said = await say(eve, one, "from eve")
    (await ann.put(f"{V3}/rooms/{one}/state/m.room.topic", {"topic": "new"})).ok()
    picture = {"msgtype": "m.image", "body": "picture", "url": "mxc://one.test/a"}
    (await ann.put(f"{V3}/rooms/{two}/send/m.room.message/p", picture)).ok()
    (await eve.post(f"{V3}/rooms/{one}/receipt/m.read/{said}")).ok()
    path = f"{V3}/user/{bob.user_id}/rooms/{one}/account_data/a.kind"
    (await bob.put(path, {"a": 1})).ok()
    return Scene(ann, bob, eve, one, two, since)


_ALL_OF_ONE = "from ann from eve m.room.topic m.receipt a.kind"
_REST_OF_ONE = "m.receipt a.kind"
CASES: list[tuple[Any, dict[str, str]]] = [
    ({}, {"one": _ALL_OF_ONE, "two": "picture"}),
    ({"rooms": ["ONE"]}, {"one": _ALL_OF_ONE}),
    ({"rooms": []}, {}),
    ({"not_rooms": ["ONE"]}, {"two": "picture"}),
    ({"rooms": ["ONE", "TWO"], "not_rooms": ["ONE"]}, {"two": "picture"}),
    (
        {"timeline": {"senders": ["EVE"]}},
        {"one": f"from eve (m.room.topic) {_REST_OF_ONE}"},
    ),
    (
        {"timeline": {"not_senders": ["EVE"]}},
        {"one": f"from ann m.room.topic {_REST_OF_ONE}", "two": "picture"},
    ),
    (
        {"timeline": {"types": ["m.room.topic"]}},
        {"one": f"m.room.topic {_REST_OF_ONE}"},
    ),
    (
        {"timeline": {"not_types": ["m.room.*"]}},
        {"one": f"(m.room.topic) {_REST_OF_ONE}"},
    ),
    ({"timeline": {"types": []}, "state": {"types": []}}, {"one": _REST_OF_ONE}),
    (
        {"timeline": {"contains_url": True}},
        {"one": f"(m.room.topic) {_REST_OF_ONE}", "two": "picture"},
    ),
    ({"timeline": {"contains_url": False}}, {"one": _ALL_OF_ONE}),
    (
        {"timeline": {"rooms": ["TWO"]}},
        {"one": f"(m.room.topic) {_REST_OF_ONE}", "two": "picture"},
    ),
    (
        {"timeline": {"types": []}, "state": {"senders": ["EVE"]}},
        {"one": _REST_OF_ONE},
    ),
    (
        {"timeline": {"types": []}, "state": {"not_senders": ["EVE"]}},
        {"one": f"(m.room.topic) {_REST_OF_ONE}"},
    ),
    (
        {"ephemeral": {"types": []}, "account_data": {"not_types": ["a.*"]}},
        {"one": "from ann from eve m.room.topic", "two": "picture"},
    ),
    (
        {"timeline": {"types": ["m.room.message"], "senders": ["ANN"], "contains_url": False}},
        {"one": f"from ann (m.room.topic) {_REST_OF_ONE}"},
    ),
]


async def test_filters_of_rooms_in_all_their_fields(scene: Scene) -> None:
    found = {json.dumps(wanted): await scene.told({"room": wanted}) for wanted, _ in CASES}
    expected = {json.dumps(wanted): told for wanted, told in CASES}
    assert found == expected


async def test_a_limit_of_what_a_filter_lets_through(scene: Scene) -> None:
    wanted = {"room": {"timeline": {"types": ["m.room.message"], "limit": 1}}}
    answer = await sync(scene.bob, scene.since, filter=scene.filled(wanted))
    one = answer["rooms"]["join"][scene.one]
    assert (bodies(one), one["timeline"]["limited"]) == (["from eve"], True)
    assert not answer["rooms"]["join"][scene.two]["timeline"]["limited"]
    # And none at all, which some bridges want.
    wanted = {"room": {"timeline": {"limit": 0}}}
    answer = await sync(scene.bob, scene.since, filter=scene.filled(wanted))
    one = answer["rooms"]["join"][scene.one]
    assert (one["timeline"]["events"], one["timeline"]["limited"]) == ([], True)


async def test_limits_of_account_data(scene: Scene) -> None:
    """What changed last is kept, push rules in their place among the rest."""
    account = f"{V3}/user/{scene.bob.user_id}"
    for path in ("account_data/z.first", f"rooms/{scene.one}/account_data/z.first"):
        (await scene.bob.put(f"{account}/{path}", {"a": 1})).ok()
    muted = f"{V3}/pushrules/global/room/{scene.one}"
    (await scene.bob.put(muted, {"actions": []})).ok()
    (await scene.bob.put(f"{account}/account_data/a.last", {"a": 1})).ok()

    async def told(limit: int | None, since: str | None) -> tuple[list[str], list[str]]:
        section = {"types": ["m.push_rules", "*.first", "*.last"], "limit": limit}
        wanted = {"account_data": section, "room": {"account_data": {"limit": limit}}}
        answer = await sync(scene.bob, since, filter=json.dumps(wanted))
        room = answer.get("rooms", {}).get("join", {}).get(scene.one, {})
        both = [section.get("account_data", {"events": []})["events"] for section in (answer, room)]
        return [event["type"] for event in both[0]], [event["type"] for event in both[1]]

    in_account, in_room = ["z.first", "m.push_rules", "a.last"], ["a.kind", "z.first"]
    for since in (scene.since, None):
        assert await told(None, since) == (in_account, in_room)
        assert await told(2, since) == (in_account[1:], in_room)
        assert await told(1, since) == (in_account[2:], in_room[1:])
        assert await told(0, since) == ([], [])


async def test_limits_of_presence(scene: Scene) -> None:
    """Those are told who changed last."""
    for who in (scene.ann, scene.eve):
        (await who.put(f"{V3}/presence/{who.user_id}/status", {"presence": "online"})).ok()
    (await scene.ann.put(f"{V3}/presence/{scene.ann.user_id}/status", {"presence": "offline"})).ok()
    ann, eve = scene.ann.user_id, scene.eve.user_id
    for since in (scene.since, None):
        for limit, expected in ((None, {ann, eve}), (2, {ann, eve}), (1, {ann}), (0, set())):
            section = {"not_senders": [scene.bob.user_id], "limit": limit}
            answer = await sync(scene.bob, since, filter=json.dumps({"presence": section}))
            events = answer.get("presence", {"events": []})["events"]
            assert {event["sender"] for event in events} == expected


async def test_limits_of_what_does_not_stay(scene: Scene) -> None:
    """Of one room: who has read, which is told once, goes before who types."""
    for room_id in (scene.one, scene.two):
        path = f"{V3}/rooms/{room_id}/typing/{scene.ann.user_id}"
        (await scene.ann.put(path, {"typing": True, "timeout": 20_000})).ok()
    typing, receipt = "m.typing", "m.receipt"
    for limit, one, two in (
        (None, [typing, receipt], [typing]),
        (2, [typing, receipt], [typing]),
        (1, [receipt], [typing]),
        (0, [], []),
    ):
        wanted = json.dumps({"room": {"ephemeral": {"limit": limit}}})
        rooms = (await sync(scene.bob, scene.since, filter=wanted))["rooms"]["join"]
        for room_id, expected in ((scene.one, one), (scene.two, two)):
            events = rooms[room_id].get("ephemeral", {"events": []})["events"]
            assert [event["type"] for event in events] == expected


async def test_state_is_whole_whatever_the_limit(scene: Scene) -> None:
    told = []
    for state in ({}, {"limit": 1}, {"limit": 0}):
        answer = await sync(scene.bob, filter=json.dumps({"room": {"state": state}}))
        events = answer["rooms"]["join"][scene.one]["state"]["events"]
        told.append({event["event_id"] for event in events})
    assert told[0] == told[1] == told[2] != set()


async def test_filters_of_what_is_about_no_room(scene: Scene) -> None:
    path = f"{V3}/user/{scene.bob.user_id}/account_data"
    for kind in ("one.kind", "other.kind"):
        (await scene.bob.put(f"{path}/{kind}", {"a": 1})).ok()
    for who in (scene.ann, scene.eve):
        (await who.put(f"{V3}/presence/{who.user_id}/status", {"presence": "online"})).ok()

    async def told(wanted: Any) -> tuple[set[str], set[str]]:
        answer = await sync(scene.bob, scene.since, filter=scene.filled(wanted))
        data = answer.get("account_data", {"events": []})["events"]
        presence = answer.get("presence", {"events": []})["events"]
        others = {event["sender"] for event in presence} - {scene.bob.user_id}
        return {event["type"] for event in data}, others

    ann, eve = scene.ann.user_id, scene.eve.user_id
    assert await told({}) == ({"one.kind", "other.kind"}, {ann, eve})
    assert await told({"account_data": {"types": ["one.*"]}}) == ({"one.kind"}, {ann, eve})
    assert await told({"account_data": {"not_types": ["*"]}}) == (set(), {ann, eve})
    assert (await told({"presence": {"senders": ["ANN"]}}))[1] == {ann}
    assert (await told({"presence": {"not_senders": ["ANN"]}}))[1] == {eve}
    assert (await told({"presence": {"types": []}}))[1] == set()


async def test_the_whole_state_on_demand(scene: Scene) -> None:
    """`full_state`: at once, though nothing is new; members as they speak, if that is wanted."""
    token = (await sync(scene.bob))["next_batch"]
    async with asyncio.timeout(20):
        answer = await sync(scene.bob, token, full_state="true", timeout=60_000)
    for room_id in (scene.one, scene.two):
        path = f"{V3}/rooms/{room_id}/state"
        truth = {event["event_id"] for event in (await scene.bob.get(path)).ok()}
        section = answer["rooms"]["join"][room_id]
        assert {event["event_id"] for event in section["state"]["events"]} == truth
        assert section["timeline"]["events"] == []
    lazily = json.dumps({"room": {"state": {"lazy_load_members": True}}})
    query = {"filter": lazily, "use_state_after": "true"}
    answer = await sync(scene.bob, scene.since, full_state="true", **query)
    state = answer["rooms"]["join"][scene.two]["state_after"]["events"]
    assert {"m.room.create", "m.room.power_levels"} <= {event["type"] for event in state}


async def test_who_is_ignored_is_not_heard(scene: Scene) -> None:
    """But what they change of rooms is told; and it begins, and ends, at once."""
    path = f"{V3}/user/{scene.bob.user_id}/account_data/m.ignored_user_list"
    ignored: Any = {"ignored_users": {scene.eve.user_id: {}}}
    (await scene.bob.put(path, ignored)).ok()
    assert (await scene.told({}))["one"] == "from ann m.room.topic m.receipt a.kind"
    since = (await sync(scene.bob))["next_batch"]
    member = f"{V3}/rooms/{scene.one}/state/m.room.member/{scene.eve.user_id}"
    content = {"membership": "join", "displayname": "Evil"}
    (await scene.eve.put(member, content)).ok()
    await say(scene.eve, scene.one, "unheard")
    invited = await room_of(scene.eve, preset="private_chat", invite=[scene.bob.user_id])
    assert await scene.told({}, since) == {"one": "m.room.member"}
    answer = await sync(scene.bob, since)
    assert invited not in answer["rooms"].get("invite", {})
    (await scene.bob.put(path, {"ignored_users": {}})).ok()
    await say(scene.eve, scene.one, "heard")
    assert bodies((await sync(scene.bob, answer["next_batch"]))["rooms"]["join"][scene.one]) == [
        "heard"
    ]
