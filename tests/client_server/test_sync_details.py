"""What of `/sync` is easily missed: filters, departures, presence of people just met.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from tests.client_server.test_device_lists import SLIDING
from tests.client_server.test_sync import V3, bodies, room_of, say, sync
from tests.servers import Client, Hearth
from tests.statements import Asked

_BOTH = ("state_after", "org.matrix.msc4222.state_after")


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


def of(events: Any, kind: str) -> list[Any]:
    return [event for event in events if event["type"] == kind]


async def name_in(who: Client, room_id: str, name: str) -> None:
    """Have a name in one room only."""
    content = {"membership": "join", "displayname": name}
    path = f"{V3}/rooms/{room_id}/state/m.room.member/{who.user_id}"
    (await who.put(path, content)).ok()


async def test_state_after_is_always_there_under_both_names(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    await say(ann, room_id, "nothing changes")
    query = {"org.matrix.msc4222.use_state_after": "true"}
    answer = await sync(bob, since, **query)
    for name in _BOTH:
        assert answer["rooms"]["join"][room_id][name] == {"events": []}
    assert "state" not in answer["rooms"]["join"][room_id]
    # Also where there is nothing new but what is no event of the room.
    path = f"{V3}/user/{bob.user_id}/rooms/{room_id}/account_data/a.kind"
    (await bob.put(path, {"a": 1})).ok()
    answer = await sync(bob, answer["next_batch"], **query)
    for name in _BOTH:
        assert answer["rooms"]["join"][room_id][name] == {"events": []}
    (await ann.post(f"{V3}/rooms/{room_id}/kick", {"user_id": bob.user_id})).ok()
    left = (await sync(bob, answer["next_batch"], **query))["rooms"]["leave"][room_id]
    for name in _BOTH:
        assert [e["content"]["membership"] for e in left[name]["events"]] == ["leave"]
    assert "state" not in left


async def test_a_change_that_a_filter_hides_is_told_as_state(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    await say(ann, room_id, "one")
    topic = f"{V3}/rooms/{room_id}/state/m.room.topic"
    (await ann.put(topic, {"topic": "hidden"})).ok()
    await say(ann, room_id, "two")
    wanted = json.dumps({"room": {"timeline": {"not_types": ["m.room.topic"]}}})
    room = (await sync(bob, since, filter=wanted))["rooms"]["join"][room_id]
    assert bodies(room) == ["one", "two"]
    assert [e["content"] for e in room["state"]["events"]] == [{"topic": "hidden"}]


async def test_a_member_is_shown_as_before_the_timeline(ann: Client, bob: Client) -> None:
    """Who renames themselves amidst a timeline was somebody else when it began."""
    room_id = await room_of(ann, bob)
    await name_in(bob, room_id, "Old")
    wanted = json.dumps({"room": {"state": {"lazy_load_members": True}}})
    since = (await sync(ann, filter=wanted))["next_batch"]
    for number in range(11):  # further back than the first answer reached
        await say(ann, room_id, f"{number}")
    since = (await sync(ann, since, filter=wanted))["next_batch"]
    await say(bob, room_id, "as Old")
    await name_in(bob, room_id, "New")
    await say(bob, room_id, "as New")
    room = (await sync(ann, since, filter=wanted))["rooms"]["join"][room_id]
    names = [e["content"].get("displayname") for e in of(room["timeline"]["events"], MEMBER)]
    assert names == ["New"]
    before = [e for e in room["state"]["events"] if e["state_key"] == bob.user_id]
    assert [e["content"]["displayname"] for e in before] in ([], ["Old"])
    fresh = await sync(await ann.log_in_again(), filter=wanted)
    told = fresh["rooms"]["join"][room_id]["state"]["events"]
    assert [e["content"]["displayname"] for e in told if e["state_key"] == bob.user_id] == ["Old"]


MEMBER = "m.room.member"


async def test_filters_of_rooms_hold_for_data_and_for_typing(ann: Client, bob: Client) -> None:
    one, two = await room_of(ann, bob), await room_of(ann, bob)
    since = (await sync(ann))["next_batch"]
    for room_id in (one, two):
        data = f"{V3}/user/{ann.user_id}/rooms/{room_id}/account_data/a.kind"
        (await ann.put(data, {"of": room_id})).ok()
        typing = f"{V3}/rooms/{room_id}/typing/{bob.user_id}"
        (await bob.put(typing, {"typing": True, "timeout": 20_000})).ok()
    only, never = {"rooms": [one]}, {"not_rooms": [two]}
    for wanted in ({"ephemeral": only, "account_data": never}, {"ephemeral": never}):
        answer = await sync(ann, since, filter=json.dumps({"room": wanted}))
        rooms = answer["rooms"]["join"]
        assert [r for r in rooms if "ephemeral" in rooms[r]] == [one]
        expected = {one} if "account_data" in wanted else {one, two}
        assert {r for r in rooms if "account_data" in rooms[r]} == expected


RELATED: list[tuple[dict[str, Any], list[str]]] = [
    ({"related_by_rel_types": ["m.thread"]}, ["root"]),
    ({"related_by_rel_types": ["m.thread", "m.annotation"]}, ["root", "liked"]),
    ({"related_by_senders": ["BOB"]}, ["liked"]),
    ({"related_by_senders": ["BOB"], "related_by_rel_types": ["m.thread"]}, []),
    ({"related_by_rel_types": []}, []),
    ({"related_by_rel_types": ["m.thread"], "not_senders": ["ANN"]}, []),
]


async def test_events_by_what_is_related_to_them(ann: Client, bob: Client) -> None:
    """MSC3440; in `/sync`, `/messages` and searches alike."""
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    root, liked = await say(ann, room_id, "root"), await say(ann, room_id, "liked")

    async def relate(who: Client, kind: str, rel_type: str, to: str, **more: Any) -> None:
        content = {"m.relates_to": {"rel_type": rel_type, "event_id": to, **more}}
        path = f"{V3}/rooms/{room_id}/send/{kind}/{rel_type}"
        (await who.put(path, {"body": "related", "msgtype": "m.text", **content})).ok()

    await relate(ann, "m.room.message", "m.thread", root)
    await relate(bob, "m.reaction", "m.annotation", liked, key="+")
    wrong = {}
    for wanted, expected in RELATED:
        text = json.dumps(wanted).replace("BOB", bob.user_id).replace("ANN", ann.user_id)
        timeline = f'{{"room": {{"timeline": {text}}}}}'
        rooms = (await sync(bob, since, filter=timeline)).get("rooms", {}).get("join", {})
        page = (await bob.get(f"{V3}/rooms/{room_id}/messages", dir="f", filter=text)).ok()
        criteria = {"search_term": "root", "keys": ["content.body"], "filter": json.loads(text)}
        body = {"search_categories": {"room_events": criteria}}
        answer = (await bob.post(f"{V3}/search", body)).ok()["search_categories"]["room_events"]
        found = [
            bodies(rooms[room_id]) if room_id in rooms else [],
            [e["content"]["body"] for e in page["chunk"]],
            [one["result"]["content"]["body"] for one in answer["results"]],
        ]
        if found != [expected, expected, [text for text in expected if text == "root"]]:
            wrong[str(wanted)] = found
    assert wrong == {}


VISIBLE = {
    "world_readable": ["before", "invited", "joined"],
    "shared": ["before", "invited", "joined"],
    "invited": ["invited", "joined"],
    "joined": ["joined"],
}


async def test_who_comes_in_is_shown_what_they_may_see(ann: Client, bob: Client) -> None:
    """By the visibility of the history, in both kinds of sync, and once they have left."""
    began = (await sync(bob))["next_batch"]
    everything = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 20}}}
    pos = (await bob.post(SLIDING, everything)).ok()["pos"]
    rooms = {}
    for visibility in VISIBLE:
        content = {"history_visibility": visibility}
        entry = {"type": "m.room.history_visibility", "content": content}
        room_id = await room_of(ann, preset="private_chat", initial_state=[entry])
        await say(ann, room_id, "before")
        (await ann.post(f"{V3}/rooms/{room_id}/invite", {"user_id": bob.user_id})).ok()
        await say(ann, room_id, "invited")
        (await bob.post(f"{V3}/join/{room_id}")).ok()
        await say(ann, room_id, "joined")
        rooms[visibility] = room_id
    joined = (await sync(bob, began, filter=LONG))["rooms"]["join"]
    assert {name: bodies(joined[room]) for name, room in rooms.items()} == VISIBLE
    slid = (await bob.post(SLIDING, everything, pos=pos)).ok()
    told = {
        name: bodies({"timeline": {"events": slid["rooms"][room]["timeline"]}})
        for name, room in rooms.items()
    }
    assert told == VISIBLE
    for room_id in rooms.values():
        (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
        await say(ann, room_id, "after")
    left = (await sync(bob, began, filter=LONG))["rooms"]["leave"]
    assert {name: bodies(left[room]) for name, room in rooms.items()} == VISIBLE
    slid = (await bob.post(SLIDING, everything, pos=slid["pos"])).ok()
    assert "after" not in json.dumps(slid["rooms"])


LONG = json.dumps({"room": {"timeline": {"limit": 50}}})


async def test_people_just_met_are_told_as_what_they_are(hearth: Hearth) -> None:
    ann, bob, cat = [await hearth.user(name) for name in ("ann", "bob", "cat")]
    for who in (ann, bob, cat):
        path = f"{V3}/presence/{who.user_id}/status"
        (await who.put(path, {"presence": "online", "status_msg": f"I am {who.user_id}"})).ok()
    room_id = await room_of(ann, cat)
    first = {who.user_id: await sync(who) for who in (ann, bob)}
    # Bob comes in: he learns what the others are, and they what he is.
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    for who, met in ((bob, {ann.user_id, cat.user_id}), (ann, {bob.user_id})):
        answer = await sync(who, first[who.user_id]["next_batch"])
        told = {e["sender"]: e["content"]["status_msg"] for e in answer["presence"]["events"]}
        assert met <= told.keys()
        assert all(status == f"I am {user}" for user, status in told.items())


async def test_ones_own_departure_is_told_once(hearth: Hearth, ann: Client, bob: Client) -> None:
    """Kicked, banned, having rejected an invitation: whatever the filter and the visibility."""
    left, banned, rejected = (
        await room_of(ann, bob),
        await room_of(ann, bob),
        await room_of(ann, preset="private_chat", invite=[bob.user_id]),
    )
    since = (await sync(bob))["next_batch"]
    (await bob.post(f"{V3}/rooms/{left}/leave")).ok()
    (await ann.post(f"{V3}/rooms/{banned}/ban", {"user_id": bob.user_id})).ok()
    (await bob.post(f"{V3}/rooms/{rejected}/leave")).ok()
    answer = await sync(bob, since)
    gone = answer["rooms"]["leave"]
    assert set(gone) == {left, banned, rejected}
    for room_id, membership in ((left, "leave"), (banned, "ban"), (rejected, "leave")):
        events = [*gone[room_id]["timeline"]["events"], *gone[room_id]["state"]["events"]]
        own = [e for e in of(events, MEMBER) if e["state_key"] == bob.user_id]
        assert own[-1]["content"]["membership"] == membership, room_id
    assert "invite" not in answer["rooms"]
    # The same token again says the same; the next one says nothing of it.
    assert (await sync(bob, since))["rooms"]["leave"].keys() == gone.keys()
    assert "rooms" not in await sync(bob, answer["next_batch"])
    assert "rooms" not in await sync(await bob.log_in_again())
    asked = json.dumps({"room": {"include_leave": True}})
    assert set((await sync(bob, filter=asked))["rooms"]["leave"]) == {left, banned, rejected}
    (await bob.post(f"{V3}/rooms/{left}/forget")).ok()
    assert set((await sync(bob, filter=asked))["rooms"]["leave"]) == {banned, rejected}


async def test_whom_a_room_is_named_after_is_told(ann: Client, bob: Client) -> None:
    """Though they say nothing, and members are loaded as they speak; once only."""
    room_id = await room_of(ann, bob)
    wanted = json.dumps({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}})
    await say(bob, room_id, "hello")
    first = await sync(bob, filter=wanted)
    room = first["rooms"]["join"][room_id]
    assert room["summary"]["m.heroes"] == [ann.user_id]
    members = {e["state_key"] for e in of(room["state"]["events"], MEMBER)}
    assert members == {ann.user_id, bob.user_id}
    await name_in(bob, room_id, "Bob")
    room = (await sync(bob, first["next_batch"], filter=wanted))["rooms"]["join"][room_id]
    assert room["summary"]["m.heroes"] == [ann.user_id]
    assert ann.user_id not in {e["state_key"] for e in room["state"]["events"]}


async def test_a_room_that_loses_its_name_is_named_after_people(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob, name="a room")
    first = await sync(bob)
    assert "m.heroes" not in first["rooms"]["join"][room_id]["summary"]
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.name", {"name": ""})).ok()
    second = await sync(bob, first["next_batch"])
    for answer in (second, await sync(bob)):
        assert answer["rooms"]["join"][room_id]["summary"]["m.heroes"] == [ann.user_id]


async def test_who_never_was_in_a_room_learns_nothing_of_it(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, preset="private_chat", invite=[bob.user_id])
    since = (await sync(bob))["next_batch"]
    topic = f"{V3}/rooms/{room_id}/state/m.room.topic"
    (await ann.put(topic, {"topic": "secret"})).ok()
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    for query in ({}, {"use_state_after": "true"}):
        left = (await sync(bob, since, **query))["rooms"]["leave"][room_id]
        assert "secret" not in json.dumps(left)
    archive = json.dumps({"room": {"include_leave": True}})
    assert "secret" not in json.dumps(await sync(bob, filter=archive))


async def test_a_room_that_was_left_with_all_its_state(
    hearth: Hearth, ann: Client, bob: Client
) -> None:
    """And with what its member noted of it; members as they speak, if that is wanted."""
    eve = await hearth.user("eve")
    room_id = await room_of(ann, bob, eve, name="a room")
    path = f"{V3}/user/{bob.user_id}/rooms/{room_id}/account_data/a.kind"
    (await bob.put(path, {"is": "noted"})).ok()
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    await say(ann, room_id, "not for bob")
    for is_lazy in (False, True):
        wanted = {"include_leave": True, "state": {"lazy_load_members": is_lazy}}
        wanted["timeline"] = {"limit": 1}
        left = (await sync(bob, filter=json.dumps({"room": wanted})))["rooms"]["leave"][room_id]
        state = left["state"]["events"]
        assert [e["content"] for e in of(state, "m.room.name")] == [{"name": "a room"}]
        members = {e["state_key"] for e in of(state, MEMBER)} - {bob.user_id}
        assert members == (set() if is_lazy else {ann.user_id, eve.user_id})
        assert left["account_data"] == {"events": [{"type": "a.kind", "content": {"is": "noted"}}]}
        assert "not for bob" not in json.dumps(left)


async def test_who_comes_in_sees_who_is_typing(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann)
    typing = f"{V3}/rooms/{room_id}/typing/{ann.user_id}"
    (await ann.put(typing, {"typing": True, "timeout": 30_000})).ok()
    since = (await sync(bob))["next_batch"]
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    answer = await sync(bob, since)
    [event] = of(answer["rooms"]["join"][room_id]["ephemeral"]["events"], "m.typing")
    assert event["content"] == {"user_ids": [ann.user_id]}
    assert "rooms" not in await sync(bob, answer["next_batch"])


async def test_an_invitation_from_elsewhere_rejected(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, bob = await here.user("ann"), await there.user("bob")
    since = (await sync(bob))["next_batch"]
    room_id = await room_of(ann, preset="private_chat", invite=[bob.user_id], name="secret")
    answer = await sync(bob, since, timeout=5000)
    invited = answer["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert {"name": "secret"} in [e["content"] for e in invited]
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    after = await sync(bob, answer["next_batch"])
    assert after["rooms"]["leave"].keys() == {room_id}
    # The room itself is the other server's.
    [left] = after["rooms"]["leave"][room_id]["timeline"]["events"]
    assert (left["sender"], left["content"]) == (bob.user_id, {"membership": "leave"})
    assert "invite" not in after["rooms"]
    assert "rooms" not in await sync(bob, after["next_batch"])
    assert "rooms" not in await sync(bob)


async def test_many_departures_cost_no_more_queries(ann: Client, bob: Client, asked: Asked) -> None:
    rooms = [await room_of(ann, bob) for _ in range(6)]
    costs = []
    for leaving in (rooms[:1], rooms[1:]):
        since = (await sync(bob))["next_batch"]
        for room_id in leaving:
            (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
        costs.append(await asked.by(partial(sync, bob, since)))
    assert costs[0] == costs[1]


async def test_fields_and_formats(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    await say(ann, room_id, "hello")
    wanted = json.dumps({"event_format": "federation"})
    (event,) = (await sync(bob, since, filter=wanted))["rooms"]["join"][room_id]["timeline"][
        "events"
    ]
    assert {"auth_events", "prev_events", "hashes", "signatures", "depth"} <= event.keys()
    wanted = json.dumps({"event_fields": ["content.body", "sender"]})
    (event,) = (await sync(bob, since, filter=wanted))["rooms"]["join"][room_id]["timeline"][
        "events"
    ]
    assert event == {"content": {"body": "hello"}, "sender": ann.user_id}


@pytest.mark.parametrize(
    "wanted",
    [
        {"room": {"timeline": {"limit": -1}}},
        {"room": {"rooms": ["nonsense"]}},
        {"presence": {"senders": ["nonsense"]}},
        {"event_format": "other"},
        {"room": []},
        [],
    ],
)
async def test_filters_that_are_none(ann: Client, wanted: Any) -> None:
    answer = await ann.get(f"{V3}/sync", filter=json.dumps(wanted))
    expected = "M_INVALID_PARAM" if wanted == [] else "M_BAD_JSON"
    assert (answer.status, answer.errcode) == (400, expected)


async def test_ephemeral_data_names_no_room(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    since = (await sync(ann))["next_batch"]
    event_id = await say(ann, room_id, "read me")
    (await bob.post(f"{V3}/rooms/{room_id}/receipt/m.read/{event_id}")).ok()
    (await bob.post(f"{V3}/rooms/{room_id}/receipt/m.read/{event_id}", {"thread_id": "main"})).ok()
    path = f"{V3}/rooms/{room_id}/typing/{bob.user_id}"
    (await bob.put(path, {"typing": True, "timeout": 20_000})).ok()
    events = (await sync(ann, since))["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert {e["type"] for e in events} == {"m.typing", "m.receipt"}
    assert all("room_id" not in event for event in events)
    # The unthreaded receipt stands for both, as it covers the thread (MSC4102).
    (receipt,) = of(events, "m.receipt")
    assert "thread_id" not in receipt["content"][event_id]["m.read"][bob.user_id]


async def test_a_new_member_who_left_and_came_again(ann: Client, bob: Client) -> None:
    """Rejoined between two syncs: the room is new again, with its whole state."""
    room_id = await room_of(ann, bob)
    since = (await sync(bob))["next_batch"]
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    for number in range(12):
        await say(ann, room_id, f"while away {number}")
    topic = f"{V3}/rooms/{room_id}/state/m.room.topic"
    (await ann.put(topic, {"topic": "changed meanwhile"})).ok()
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    await say(ann, room_id, "welcome back")
    answer = await sync(bob, since)
    room = answer["rooms"]["join"][room_id]
    told = [*room["state"]["events"], *room["timeline"]["events"]]
    assert {"topic": "changed meanwhile"} in [e["content"] for e in told]
    assert room["timeline"]["limited"]
    assert bodies(room)[-1] == "welcome back"
    assert room_id not in answer["rooms"].get("leave", {})
    answer = await asyncio.wait_for(sync(bob, answer["next_batch"]), 5)
    assert "rooms" not in answer
