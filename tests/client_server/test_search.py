"""Search: by words, of what one may see, until it is redacted."""

from dataclasses import replace
from typing import Any

import pytest

from federation.identifiers import RoomID
from homeserver.rooms import searching
from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


@pytest.fixture
async def room(ann: Client) -> Stage:
    return await staged(ann)


async def search(who: Client, term: str, page: str | None = None, **more: Any) -> Any:
    body = {"search_categories": {"room_events": {"search_term": term} | more}}
    query = {"next_batch": page} if page else {}
    found = (await who.post("/_matrix/client/v3/search", body, **query)).ok()
    return found["search_categories"]["room_events"]


def ids(found: Any) -> list[str]:
    return [one["result"]["event_id"] for one in found["results"]]


async def test_words_are_found(room: Stage, ann: Client) -> None:
    first = await room.say(ann, "Martians and men")
    await room.say(ann, "men only")
    best = await room.say(ann, "martians, martians, martians and men")
    found = await search(ann, "MEN martians")
    assert ids(found) == [best, first]
    assert (found["count"], found["highlights"]) == (2, ["martians", "men"])
    assert found["results"][0]["rank"] > found["results"][1]["rank"]
    await room.say(ann, "nothing")
    last = await room.say(ann, "men, martians")
    assert ids(await search(ann, "martians men", order_by="recent")) == [last, best, first]


async def test_keys(room: Stage, ann: Client) -> None:
    body = await room.say(ann, "cats")
    name = await room.state("m.room.name", {"name": "cats"})
    rich = {"m.text": [{"body": "cats"}, {"mimetype": "text/html", "body": "<b>dogs</b>"}]}
    topic = await room.state("m.room.topic", {"topic": "", "m.topic": rich})
    assert set(ids(await search(ann, "cats"))) == {body, name, topic}
    for key, event_id in (("body", body), ("name", name), ("topic", topic)):
        assert ids(await search(ann, "cats", keys=[f"content.{key}"])) == [event_id]
    assert ids(await search(ann, "dogs")) == []


async def test_what_is_redacted_or_encrypted_is_not_found(room: Stage, ann: Client) -> None:
    event_id, kept = await room.say(ann, "cats"), await room.say(ann, "cats")
    (await ann.put(f"{room.path}/redact/{event_id}/1")).ok()
    assert ids(await search(ann, "cats")) == [kept]
    await room.state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    assert ids(await search(ann, "cats")) == []


async def test_only_what_one_may_see_is_found(room: Stage, ann: Client, bob: Client) -> None:
    await room.history_visibility("joined")
    await room.say(ann, "cats before")
    assert ids(await search(bob, "cats")) == []
    await room.member(bob, "join")
    seen = await room.say(ann, "cats")
    await room.member(bob, "leave")
    await room.say(ann, "cats after")
    found = await search(bob, "cats", event_context={"before_limit": 9, "after_limit": 9})
    assert ids(found) == [seen]
    around = found["results"][0]["context"]
    texts = [e["content"].get("body") for e in around["events_before"] + around["events_after"]]
    assert not {"cats before", "cats after"} & set(texts)


async def test_who_is_ignored_is_not_found(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    said = [await room.say(who, "cats") for who in (bob, ann, bob)]
    path = f"/_matrix/client/v3/user/{ann.user_id}/account_data/m.ignored_user_list"
    (await ann.put(path, {"ignored_users": {bob.user_id: {}}})).ok()
    found = await search(ann, "cats", event_context={})
    assert ids(found) == [said[1]]
    assert bob.user_id not in {e["sender"] for e in found["results"][0]["context"]["events_after"]}
    assert set(ids(await search(bob, "cats"))) == set(said)


async def test_pages_filters_and_groups(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    said = [await room.say(who, "cats") for who in (ann, bob, ann)]
    first = await search(ann, "cats", order_by="recent", filter={"limit": 2})
    await room.say(ann, "cats again")
    rest = await search(ann, "cats", first["next_batch"], order_by="recent", filter={"limit": 2})
    assert ids(first) + ids(rest) == said[::-1]
    assert "next_batch" not in rest
    assert ids(await search(ann, "cats", filter={"senders": [bob.user_id]})) == [said[1]]
    by = {"group_by": [{"key": "sender"}, {"key": "room_id"}]}
    groups = (await search(ann, "cats", groupings=by))["groups"]
    assert groups["sender"][bob.user_id]["results"] == [said[1]]
    assert len(groups["room_id"][room.room_id]["results"]) == 4


async def test_a_room_is_searched_with_those_that_it_replaced(room: Stage, ann: Client) -> None:
    old = await room.say(ann, "cats of old")
    elsewhere = await staged(ann)
    await elsewhere.say(ann, "cats elsewhere")
    here = room
    for version in ("11", "12"):
        upgrade = await ann.post(f"{here.path}/upgrade", {"new_version": version})
        here = replace(here, room_id=RoomID(upgrade.ok()["replacement_room"]))
    new = await here.say(ann, "cats")
    found = await search(ann, "cats", filter={"rooms": [here.room_id]}, order_by="recent")
    assert ids(found) == [new, old]
    assert ids(await search(ann, "cats", filter={"rooms": [room.room_id]})) == [old]


async def test_what_is_found_elsewhere_hides_nothing(
    room: Stage, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_LOOKED_AT", 2)
    wanted = await room.say(ann, "cats")
    elsewhere = await staged(ann)
    for _ in range(3):
        await elsewhere.say(ann, "cats, cats, cats")
    assert ids(await search(ann, "cats", filter={"rooms": [room.room_id]})) == [wanted]
    assert ids(await search(ann, "cats", filter={"not_rooms": [elsewhere.room_id]})) == [wanted]


async def test_context(room: Stage, ann: Client) -> None:
    said = [await room.say(ann, text) for text in ("1", "2", "cats", "3", "4")]
    around = {"before_limit": 2, "after_limit": 1}
    far = (await search(ann, "cats", event_context={"before_limit": 1000}))["results"]
    assert len(far[0]["context"]["events_before"]) == 8
    (found,) = (await search(ann, "cats", event_context=around))["results"]
    context = found["context"]
    assert [e["event_id"] for e in context["events_before"]] == [said[1], said[0]]
    assert [e["event_id"] for e in context["events_after"]] == [said[3]]
    query = {"from": context["end"], "dir": "f"}
    later = (await ann.get(f"{room.path}/messages", **query)).ok()["chunk"]
    assert [e["event_id"] for e in later] == [said[4]]


async def test_what_is_found_comes_with_its_edit(room: Stage, ann: Client) -> None:
    event = str(await room.say(ann, "martians"))
    edit = {
        "msgtype": "m.text",
        "body": "* men",
        "m.new_content": {"msgtype": "m.text", "body": "men"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }
    sent = (await ann.put(f"{room.path}/send/m.room.message/edit", edit)).ok()["event_id"]
    (found,) = (await search(ann, "martians"))["results"]
    assert found["result"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == sent


async def test_profiles_of_then_and_state_of_now(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    named = {"membership": "join", "displayname": "Old Bob"}
    await room.send(bob, "m.room.member", named, bob.user_id)
    await room.say(bob, "cats")
    await room.send(bob, "m.room.member", named | {"displayname": "New"}, bob.user_id)
    wanted: dict[str, Any] = {
        "event_context": {"include_profile": True, "before_limit": 0, "after_limit": 0},
        "include_state": True,
    }
    found = await search(ann, "cats", **wanted)
    assert found["results"][0]["context"]["profile_info"] == {
        bob.user_id: {"displayname": "Old Bob"}
    }
    state = {(e["type"], e["state_key"]): e["content"] for e in found["state"][room.room_id]}
    assert state[("m.room.member", bob.user_id)]["displayname"] == "New"
    await room.member(bob, "leave")
    assert (await search(bob, "cats", **wanted))["state"] == {}


@pytest.mark.parametrize(
    "asked",
    [{}, {"search_term": 7}, {"search_term": "x", "order_by": "y"}, {"search_term": "x" * 1001}],
)
async def test_bad_searches(ann: Client, asked: Any) -> None:
    body = {"search_categories": {"room_events": asked}}
    assert (await ann.post("/_matrix/client/v3/search", body)).status == 400


async def test_strange_searches_find_nothing(room: Stage, ann: Client) -> None:
    await room.say(ann, "nul\0cats")
    for term in ("", "\0", "' | & !", "(((", "x" * 1000):
        assert ids(await search(ann, term)) == []
    assert len(ids(await search(ann, "cats"))) == 1
