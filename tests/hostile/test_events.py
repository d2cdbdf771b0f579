"""Events that are wrong, or that lie about where they belong.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

import asyncio
import json
from typing import Any

from federation.building import Place
from federation.canonical_json import JsonObject
from federation.events import Event
from federation.identifiers import RoomID, UserID
from tests.hostile.harm import forged, nested, over, unharmed
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import Room


async def test_what_is_malformed_though_signed(scene: Scene) -> None:
    """Each is signed as it is, so that only its form speaks against it."""
    peer, eve = scene.peer, scene.peer.user("eve")
    base = peer.say(scene.room, "base", eve)
    changes: list[JsonObject] = [
        {"depth": -1}, {"depth": 2**63}, {"depth": "7"}, {"depth": 1.5}, {"depth": None},
        {"origin_server_ts": -(2**70)}, {"origin_server_ts": "now"},
        {"content": {"body": "x" * 66_000}}, {"content": nested(600)}, {"content": {"n": 2**53}},
        {"content": {"n": 0.5}}, {"content": []},
        {"type": "x" * 256}, {"state_key": "é" * 128}, {"sender": "@eve"},
        {"sender": f"@{'e' * 250}:{peer.name}"}, {"sender": f"@e\0:{peer.name}"},
        {"prev_events": ["$x"] * 10_000}, {"prev_events": ["$x"] * 21},
        {"auth_events": ["$x"] * 11}, {"auth_events": {"a": 1}}, {"prev_events": [["$x", {}]]},
        {"event_id": base.event_id}, {"room_id": "!elsewhere"}, {"unsigned": [1]},
        {"prev_events": ["$\0"]}, {"auth_events": ["$\0"]}, {"room_id": "!\0"},
    ]  # fmt: skip
    events = [_forged(scene, base, change) for change in changes]
    async with unharmed(scene):
        for event in events:  # some cannot travel in one body with others
            await peer.ask("PUT", f"/_matrix/federation/v1/send/m{id(event)}", _body(scene, event))
    assert [text for text in await scene.texts() if not text.startswith("still-here")] == []
    assert (await peer.send([base])) == {base.event_id: {}}


async def test_the_largest_that_may_be(scene: Scene) -> None:
    """Just within the limits is taken; nesting that canonical JSON allows too."""
    peer, eve = scene.peer, scene.peer.user("eve")
    base = peer.say(scene.room, "base", eve)
    spare = 65_536 - len(base.json) - len(',"x":""')
    large = forged(scene, base, {"content": {**base.content, "x": "x" * spare}})
    deep = forged(scene, base, {"content": {"body": "deep", "x": nested(100)}})
    deepest = forged(scene, base, {"depth": 2**53 - 1})
    results = await peer.send([large, deep, deepest])
    assert list(results.values()) == [{}, {}, {}]
    # The largest depth there is cannot be counted beyond.
    await scene.say("next")
    await scene.say("after-next")
    assert (await scene.texts())[:2] == ["after-next", "next"]


async def test_odd_things_in_events_that_are_none_the_less_good(scene: Scene) -> None:
    """NUL is JSON; so are relations, mentions and thumbnails of any shape."""
    peer, eve, room = scene.peer, scene.peer.user("eve"), scene.room
    odd: list[Any] = [None, 5, [], {}, "\0", "$\0", "x" * 9000, [{}], {"\0": {"\0": ["\0"]}}]
    keys = ("body", "formatted_body", "m.relates_to", "m.mentions", "m.new_content", "info", "url",
            "msgtype", "redacts", "membership", "via", "displayname", "m.text")  # fmt: skip
    contents: list[JsonObject] = [{key: value} for key in keys for value in odd]
    contents += [
        {"m.relates_to": {"rel_type": kind} | dict.fromkeys(("event_id", "key"), value)}
        for value in odd
        for kind in ("m.annotation", "m.thread", "m.replace", "m.reference", "\0", 5)
    ]  # fmt: skip
    contents += [{"m.mentions": {"user_ids": value, "room": value}} for value in odd]
    kinds = ("m.room.message", "m.reaction", "m.room.redaction", "m.room.encrypted", "\0", "")
    events = [
        peer.make(room, kinds[number % len(kinds)], content, eve)
        for number, content in enumerate(contents)
    ]
    targets = [
        peer.make(room, "m.room.member", {"membership": "invite", "displayname": 5}, eve, target)
        for target in ("", "x", "@x", "@x:y", "@:y", f"@ghost:{scene.hearth.name}")
    ]
    nul = [{"state_key": "\0"}, {"state_key": "@\0:x"}, {"type": "\0", "state_key": ""}]
    wrong = [forged(scene, targets[0], changed) for changed in nul]
    answers: dict[str, Any] = {}
    for start in range(0, len(events), 40):
        answers |= await peer.send(events[start : start + 40])
    answers |= await peer.send([*wrong, *targets])
    assert not [a for a in answers.values() if a.get("error") == "internal error"]
    assert sum(answers[e.event_id] == {} for e in events) > 150
    for path in ("messages?dir=b&limit=250", "members", "state"):
        (await scene.ann.get(f"{scene.path}/{path}")).ok()
    (await scene.ann.get(f"{V3}/sync", timeout=0)).ok()
    await scene.say("still-here")


async def test_whoever_speaks_for_others(scene: Scene) -> None:
    peer, eve, ann = scene.peer, scene.peer.user("eve"), UserID(scene.ann.user_id)
    as_ann = peer.make(scene.room, "m.room.name", {"name": "mine"}, ann, "")
    as_nobody = peer.say(scene.room, "hi", UserID("@x:nowhere.invalid"))
    own_key = peer.stranger("nowhere.invalid")
    by_stranger = peer.say(scene.room, "hi", ann, signer=own_key)
    await scene.say("ours")
    status, answer = await peer.ask(
        "GET", f"/_matrix/federation/v1/event/{await scene.say('theirs')}"
    )
    assert status == 200
    relabelled = {**answer["pdus"][0], "content": {"msgtype": "m.text", "body": "not ann"}}
    async with unharmed(scene):
        results = await peer.send([as_ann, as_nobody, by_stranger, relabelled])
    assert all("error" in result for result in results.values() if result)
    shown = await scene.texts()
    assert not {"not ann", "hi"} & set(shown)
    assert eve in (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]


async def test_a_wrong_hash_leaves_what_a_redaction_would(scene: Scene) -> None:
    """And the true event, which comes later under the same ID, changes nothing any more."""
    peer, eve = scene.peer, scene.peer.user("eve")
    good = peer.say(scene.room, "true", eve)
    fields = json.loads(good.json)
    false = fields | {"content": {"msgtype": "m.text", "body": "false"}}
    assert await peer.send([false]) == {good.event_id: {}}
    assert await peer.send([good]) == {good.event_id: {}}
    assert await scene.texts() == [None]


async def test_equivocation(scene: Scene) -> None:
    """Two contents under one ID, at the same moment: one of them it is, for everybody."""
    peer, eve = scene.peer, scene.peer.user("eve")
    good = peer.say(scene.room, "true", eve)
    false = json.loads(good.json) | {"content": {"body": "false"}}
    async with unharmed(scene):
        await asyncio.gather(*(peer.send([one]) for one in [good, false] * 4))
    assert [t for t in await scene.texts() if t in {None, "true"}] in ([None], ["true"])
    # Twice in one transaction, it counts once.
    other = peer.say(scene.room, "other", eve)
    await peer.send([other, other, json.loads(other.json)])
    assert (await scene.texts()).count("other") == 1


async def test_good_and_bad_copies_together(scene: Scene) -> None:
    """Of one event in one transaction: what is wrong with one copy does not spoil the other."""
    peer, eve = scene.peer, scene.peer.user("eve")
    for number in range(4):
        event = peer.say(scene.room, f"{number}", eve)
        good = json.loads(event.json)
        unsigned = good | {"signatures": {peer.name: {peer.key.key_id: "A" * 86}}}
        changed = good | {"content": {"body": "changed"}}
        copies = [unsigned, changed, good]
        copies = copies[number % 3 :] + copies[: number % 3]
        if number == 3:
            copies = [*copies, *[unsigned, changed] * 15]
        assert await peer.send(copies) == {event.event_id: {}}
    assert await scene.texts() == ["3", "2", "1", "0"]


async def test_one_transaction_id_for_several(scene: Scene) -> None:
    """At the same moment: each is taken or not, and what was answered first is repeated."""
    peer, eve = scene.peer, scene.peer.user("eve")
    events = [peer.say(scene.room, f"{number}", eve) for number in range(6)]
    async with unharmed(scene):
        answers = await asyncio.gather(*(peer.send([event], txn="same") for event in events))
    assert all(answer in [{event.event_id: {}} for event in events] for answer in answers)
    assert (await peer.send([], txn="same")) in answers
    taken = [event for event in events if {event.event_id: {}} in answers]
    said = [text for text in await scene.texts() if text and text.isdigit()]
    assert sorted(said) == [event.content["body"] for event in taken]


async def test_parents_of_another_room(scene: Scene) -> None:
    """Whoever rules one room does not rule another by building on their own room's events."""
    peer, eve = scene.peer, scene.peer.user("eve")
    before = await _lair(scene, "11")
    scene = await _room_of_version(scene, "11")
    for lair in (before, await _lair(scene, "11"), await _lair(scene, "10")):
        honest = scene.room.place("m.room.message", eve, None, {})
        async with unharmed(scene):
            for parents in (lair.tips, [*lair.tips, *honest.prev_events]):
                for auth in (honest.auth_events, [*lair.state.values()][:3]):
                    results = await peer.send(_stolen(scene, eve, Place(parents, auth)))
                    assert all("error" in result for result in results.values())


async def test_authority_of_another_room(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    lair = peer.found(eve)
    (await scene.ann.post(f"{V3}/join/{lair.room_id}?via={peer.name}")).ok()
    keys = ["m.room.create", "m.room.power_levels"]
    auth = [lair.state[(key, "")] for key in keys] + [lair.state[("m.room.member", eve)]]
    async with unharmed(scene):
        results = await peer.send(_stolen(scene, eve, Place(scene.room.tips, auth)))
    assert all("error" in result for result in results.values())


async def test_circles_where_ids_are_chosen(scene: Scene) -> None:
    """In rooms of version 1 events can be each other's parents, and each other's authority."""
    peer, eve = scene.peer, scene.peer.user("eve")
    old = await _room_of_version(scene, "1")
    first, second = peer.say(old.room, "first", eve), peer.say(old.room, "second", eve)
    circle = [
        forged(old, one, {"prev_events": [[other.event_id, {"sha256": "x"}]]})
        for one, other in ((first, second), (second, first))
    ]
    chain = [
        forged(old, one, {"auth_events": [*_cited(one), [other.event_id, {}]]})
        for one, other in ((first, second), (second, first))
    ]
    itself = forged(
        old, first, {"prev_events": [[first.event_id, {}]], "auth_events": [[first.event_id, {}]]}
    )  # fmt: skip
    async with unharmed(old), asyncio.timeout(20):
        for events in (circle, chain, [itself]):
            await peer.send(events)
    assert len([path for path in peer.asked if "get_missing_events" in path]) <= 15


async def test_an_id_that_is_taken(scene: Scene) -> None:
    """Where IDs are chosen, nobody takes another event's, nor one that a hash may make."""
    peer, eve = scene.peer, scene.peer.user("eve")
    old = await _room_of_version(scene, "1")
    ours = await old.say("ours")
    base = peer.say(old.room, "stolen", eve)
    hashed = peer.say(scene.room, "to come", eve)
    wanted = [ours, hashed.event_id, "$x", f"$x:{scene.hearth.name}", "$x:nowhere.invalid"]
    taken = [forged(old, base, {"event_id": i}) for i in wanted]
    async with unharmed(old):
        results = await peer.send(taken)
    assert all("error" in result for result in results.values())
    assert "stolen" not in await old.texts()
    assert await peer.send([hashed]) == {hashed.event_id: {}}
    # One's own may be used twice, but the first stands.
    again = forged(old, base, {"content": {"body": "again"}})
    await peer.send([base])
    await peer.send([again])
    assert [t for t in await old.texts() if t in {"stolen", "again"}] == ["stolen"]


async def test_the_same_name_in_two_rooms(scene: Scene) -> None:
    """An event of one room under an ID that one in another room has already."""
    peer, eve = scene.peer, scene.peer.user("eve")
    one, other = await _room_of_version(scene, "1"), await _room_of_version(scene, "1")
    first = peer.say(one.room, "first", eve)
    await peer.send([first])
    double = forged(other, peer.say(other.room, "double", eve), {"event_id": first.event_id})
    later = peer.say(other.room, "later", eve, place=over(other, first))
    async with unharmed(other), unharmed(one):
        await peer.send([double])
        await peer.send([later])
    assert "first" in await one.texts()
    assert not {"double", "first"} & set(await other.texts())


async def test_bans_and_power_of_the_past(scene: Scene) -> None:
    """A moderator who was demoted cannot ban, promote or reset from before that."""
    peer, eve = scene.peer, scene.peer.user("eve")
    room, ann = scene.room, scene.ann
    levels = (await ann.get(f"{scene.path}/state/m.room.power_levels")).ok()
    for level in (50, 0):
        content = {**levels, "users": {**levels["users"], eve: level}}
        made = (await ann.put(f"{scene.path}/state/m.room.power_levels", content)).ok()
        if level:
            _, answer = await peer.ask("GET", f"/_matrix/federation/v1/event/{made['event_id']}")
            peer.take(room, answer["pdus"][0])
    long_ago = 1_000_000
    ban = peer.make(
        room, "m.room.member", {"membership": "ban"}, eve, "@x:nowhere.invalid", now=long_ago
    )
    kick_all = peer.make(room, "m.room.join_rules", {"join_rule": "invite"}, eve, "", now=long_ago)
    power = peer.make(room, "m.room.topic", {"topic": "mine"}, eve, "", now=long_ago)
    async with unharmed(scene):
        await peer.send([ban, kick_all, power])
        # What builds on both does not bring them back.
        (await ann.put(f"{scene.path}/send/m.room.message/merge", {"body": "merge"})).ok()
        merged = peer.say(room, "merge", eve, place=over(scene, ban, kick_all))
        await peer.send([merged])


async def test_states_that_are_made_up(scene: Scene) -> None:
    """Before a gap a peer tells any state it likes; the room's own stays."""
    peer, eve = scene.peer, scene.peer.user("eve")
    room = scene.room
    old_levels = room.state[("m.room.power_levels", "")]
    lie = peer.make(
        room, "m.room.power_levels", {**old_levels.content, "users": {eve: 100}}, eve, ""
    )
    lost = peer.say(room, "lost", eve)
    del peer.known[lost.event_id]
    event = peer.say(room, "over the gap", eve, place=over(scene, lost))
    cited = [*over(scene).auth_events[:-1], lie]
    crown = peer.make(room, "m.room.name", {"name": "mine"}, eve, "", place=Place([lost], cited))
    told = {**room.state, ("m.room.power_levels", ""): lie}
    told.pop(("m.room.join_rules", ""))
    peer.hosted[room.room_id] = Room(room.room_id, room.version, told, [])
    for one in (event, crown):
        peer.hosted[room.room_id].before[one.event_id] = told
    async with unharmed(scene):
        await peer.send([event, crown])
    assert (await scene.ann.get(f"{scene.path}/state/m.room.name")).status == 404


def _cited(event: Event) -> list[Any]:
    found: list[Any] = json.loads(event.json)["auth_events"]
    return found


def _forged(scene: Scene, base: Event, change: JsonObject) -> JsonObject:
    try:
        return forged(scene, base, change)
    except Exception:  # noqa: BLE001 - what cannot be written canonically is sent unsigned
        return json.loads(base.json) | change  # type: ignore[no-any-return]


def _body(scene: Scene, event: JsonObject) -> Any:
    text = json.dumps(event)
    return {"origin": scene.peer.name, "origin_server_ts": 1, "pdus": [json.loads(text)]}


def _stolen(scene: Scene, eve: UserID, place: Place) -> list[Event]:
    """What somebody without any power would do, placed there."""
    peer, room, ann = scene.peer, scene.room, scene.ann.user_id
    return [
        peer.make(room, "m.room.power_levels", {"users": {eve: 100}}, eve, "", place=place),
        peer.make(room, "m.room.member", {"membership": "ban"}, eve, ann, place=place),
        peer.make(room, "m.room.name", {"name": "mine"}, eve, "", place=place),
        peer.say(room, "from another room", eve, place=place),
    ]


async def _lair(scene: Scene, version: str) -> Room:
    """A room in which Eve rules, and Ann is."""
    peer, eve = scene.peer, scene.peer.user("eve")
    lair = peer.found(eve, version)
    (await scene.ann.post(f"{V3}/join/{lair.room_id}?via={peer.name}")).ok()
    crown = peer.say_state(lair, "m.room.power_levels", {"users": {eve: 100}}, eve)
    await peer.send([crown])
    return lair


async def _room_of_version(scene: Scene, version: str) -> Scene:
    wish = {"preset": "public_chat", "room_version": version}
    made = (await scene.ann.post(f"{V3}/createRoom", wish)).ok()
    room = await scene.peer.join(RoomID(made["room_id"]), scene.peer.user("eve"))
    return scene._replace(room=room)
