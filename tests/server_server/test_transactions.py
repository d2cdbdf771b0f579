"""What other servers send, and what becomes of it.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
import json
from typing import Any

import pytest

from federation.auth import select
from federation.building import Place
from federation.identifiers import EventID, ServerName, UserID
from federation.signing import SigningKey
from homeserver.peers.answers import TRIMMED_AFTER, Answers
from homeserver.storage import answered
from homeserver.storage.answered import MOST_OF_ORIGIN
from homeserver.storage.process import DAY
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import eventually


async def test_an_event_arrives(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    event = peer.say(scene.room, "hello", eve)
    assert await peer.send([event]) == {event.event_id: {}}
    assert await scene.texts() == ["hello"]


async def test_a_transaction_again_is_not_taken_again(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    event = peer.say(scene.room, "hello", eve)
    first = await peer.send([event], txn="same")
    scene.room.add(event)
    other = peer.say(scene.room, "more", eve)
    assert await peer.send([other], txn="same") == first
    assert await scene.texts() == ["hello"]


async def test_a_transaction_again_is_known_to_every_process(scene: Scene) -> None:
    """One that did not answer it itself looks; messages to devices are not taken again."""
    peer, eve = scene.peer, scene.peer.user("eve")
    event = peer.say(scene.room, "hello", eve)
    typing = {"room_id": scene.room.room_id, "user_id": eve, "typing": True}
    first = await peer.send([event], [{"edu_type": "m.typing", "content": typing}], txn="same")
    scene.hearth.parts.server_house.answers._last.clear()
    message = {"sender": eve, "type": "t", "message_id": "m", "messages": {
        scene.ann.user_id: {scene.ann.device_id: {"body": "psst"}}}}  # fmt: skip
    edus = [{"edu_type": "m.direct_to_device", "content": message}]
    assert await peer.send([event], edus, txn="same") == first
    assert "to_device" not in (await scene.ann.get(f"{V3}/sync")).ok()
    assert await scene.texts() == ["hello"]


async def test_what_was_refused_is_refused_again(scene: Scene) -> None:
    """By a process that did not answer the transaction itself, and in another transaction."""
    peer, eve = scene.peer, scene.peer.user("eve")
    good, bad = peer.say(scene.room, "hello", eve), peer.say(scene.room, "hi", peer.user("nobody"))
    for txn in ("same", "same", "other"):
        results = await peer.send([good, bad], txn=txn)
        assert results[good.event_id] == {}
        assert results[bad.event_id].keys() == {"error"}
        scene.hearth.parts.server_house.answers._last.clear()
    assert await scene.texts() == ["hello"]


async def test_answers_take_little_room(scene: Scene) -> None:
    """Of one server and of all, the newest are kept; whoever comes late is answered the same."""
    peer, eve, process = scene.peer, scene.peer.user("eve"), scene.hearth.parts.base.process
    good, bad = peer.say(scene.room, "hello", eve), peer.say(scene.room, "hi", peer.user("nobody"))
    message = {"sender": eve, "type": "t", "message_id": "once", "messages": {
        scene.ann.user_id: {scene.ann.device_id: {"body": "psst"}}}}  # fmt: skip
    edus = [{"edu_type": "m.direct_to_device", "content": message}]
    first = await peer.send([good, bad], edus, txn="first")
    assert first[good.event_id] == {}
    assert first[bad.event_id]["error"]
    answers = Answers(process)
    await answers.keep(ServerName("other.test"), "1", b"other")
    for number in range(2 * MOST_OF_ORIGIN // 50_000):
        await answers.keep(peer.name, f"{number}", b"x" * 50_000)
    async with process.database.reader() as conn:
        count = "SELECT count(*), sum(octet_length(answer)) FROM incoming_transactions"
        kept, size = await conn.fetchrow(f"{count} WHERE origin = $1", peer.name)
    assert kept > 10
    assert size <= MOST_OF_ORIGIN + TRIMMED_AFTER
    assert await answers.find(peer.name, "first") is None
    assert await answers.find(peer.name, f"{number}") == b"x" * 50_000
    assert await answers.find(ServerName("other.test"), "1") == b"other"
    again = await peer.send([good, bad], edus, txn="first")
    assert again[good.event_id] == {}
    assert await scene.texts() == ["hello"]
    synced = (await scene.ann.get(f"{V3}/sync", timeout=0)).ok()
    assert [one["content"]["body"] for one in synced["to_device"]["events"]] == ["psst"]
    async with process.database.reader() as conn:
        await answered.trim(conn, process.now(), MOST_OF_ORIGIN, 200_000)
        kept, size = await conn.fetchrow(count)
    assert kept > 1
    assert size <= 200_000
    # Those of a server that is never heard of again go, too.
    async with process.database.reader() as conn:
        await answered.trim(conn, process.now() + DAY + 1)
        assert await conn.fetchval("SELECT count(*) FROM incoming_transactions") == 0


async def test_a_refusal_is_short(scene: Scene) -> None:
    """However long what names the refused event is."""
    raw = {"room_id": scene.room.room_id, "event_id": "$" + "x" * 100_000, "type": "y" * 50_000}
    elsewhere = raw | {"room_id": f"!elsewhere:{scene.peer.name}"}
    status, answer = await scene.peer.ask("PUT", f"{V1}/send/long", {"pdus": [raw, elsewhere]})
    assert status == 200
    assert len(json.dumps(answer)) < 2000


async def test_the_same_at_the_same_moment(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    event = peer.say(scene.room, "hello", eve)
    answers = await asyncio.gather(*(peer.send([event], txn=str(n % 3)) for n in range(9)))
    assert all(answer == {event.event_id: {}} for answer in answers)
    assert await scene.texts() == ["hello"]


async def test_what_is_between_is_fetched(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    for number in range(30):
        scene.room.add(peer.say(scene.room, f"{number}", eve))
    last = peer.say(scene.room, "last", eve)
    assert await peer.send([last]) == {last.event_id: {}}
    assert await scene.texts() == ["last", *(f"{n}" for n in reversed(range(30)))]


async def test_a_fork_is_one_room(scene: Scene) -> None:
    """Both sides speak at once; whoever speaks next has heard both."""
    peer, eve = scene.peer, scene.peer.user("eve")
    theirs = peer.say(scene.room, "theirs", eve)
    await scene.say("ours")
    await peer.send([theirs])
    assert set(await scene.texts()) == {"ours", "theirs"}
    process = scene.hearth.parts.base.process
    async with process.database.reader() as conn:
        tips = await conn.fetchval("SELECT cardinality(extremities) FROM rooms")
    assert tips == 2
    await scene.say("after")
    async with process.database.reader() as conn:
        assert await conn.fetchval("SELECT cardinality(extremities) FROM rooms") == 1


async def test_conflicting_states_are_resolved(scene: Scene) -> None:
    """A ban here and a message there at the same time: the message is soft failed."""
    peer, eve = scene.peer, scene.peer.user("eve")
    before = list(scene.room.tips)
    ban = (await scene.ann.post(f"{scene.path}/ban", {"user_id": eve})).ok()
    assert ban == {}
    late = peer.say(scene.room, "i was here before", eve, place=None)
    assert late.prev_events == tuple(event.event_id for event in before)
    assert await peer.send([late]) == {late.event_id: {}}, "soft failure is not told"
    assert await scene.texts() == []
    members = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert eve not in members


async def test_what_is_wrongly_signed_or_hashed(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    good = json.loads(peer.say(scene.room, "good", eve).json)
    forged = {**good, "sender": scene.ann.user_id}
    unsigned = {**good, "signatures": {}}
    changed = {**good, "content": {"msgtype": "m.text", "body": "changed"}}
    results = await peer.send([forged, unsigned])
    assert all("error" in result for result in results.values())
    # A wrong hash leaves what a redaction would.
    await peer.send([changed])
    assert await scene.texts() == [None]


async def test_what_is_no_event(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    good = peer.say(scene.room, "good", eve)
    fields = json.loads(good.json)
    wrong: list[Any] = [
        None, 5, "event", [], {}, {"room_id": 5}, {"room_id": scene.room.room_id},
        {**fields, "type": 5}, {**fields, "depth": -1}, {**fields, "depth": "1"},
        {**fields, "prev_events": "none"}, {**fields, "prev_events": [[["x"]]]},
        {**fields, "auth_events": [5]}, {**fields, "content": []},
        {**fields, "content": {"body": "x" * 70_000}}, {**fields, "sender": "nobody"},
        {**fields, "origin_server_ts": 2**60}, {**fields, "hashes": 5},
        {**fields, "signatures": {scene.peer.name: 5}}, {**fields, "state_key": 5},
    ]  # fmt: skip
    results = await peer.send([*wrong, good])
    assert results[good.event_id] == {}
    assert await scene.texts() == ["good"]


async def test_who_may_not(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    stranger = peer.user("stranger")
    alone = peer.say(scene.room, "let me in", stranger)
    name = peer.make(scene.room, "m.room.name", {"name": "mine"}, eve, "")
    results = await peer.send([alone, name])
    assert all("error" in results[event.event_id] for event in (alone, name))
    assert await scene.texts() == []
    assert (await scene.ann.get(f"{scene.path}/state/m.room.name")).status == 404


async def test_ancestors_that_nobody_has(scene: Scene) -> None:
    """An event over a gap cannot be judged: it is not taken, and harms nobody."""
    peer, eve = scene.peer, scene.peer.user("eve")
    lost = peer.say(scene.room, "lost", eve)
    del peer.known[lost.event_id]
    scene.room.add(lost)
    orphan = peer.say(scene.room, "orphan", eve)
    results = await peer.send([orphan])
    assert results[orphan.event_id] != {}
    assert await scene.texts() == []
    await scene.say("we go on")
    assert await scene.texts() == ["we go on"]


async def test_authority_that_nobody_can_show(scene: Scene) -> None:
    """What cites an event that nobody has is not rejected for ever: it is taken when it comes."""
    peer, eve = scene.peer, scene.peer.user("eve")
    content = {"membership": "join", "displayname": "Eve"}
    join = peer.make(scene.room, "m.room.member", content, eve, eve)
    known = {**scene.room.state, ("m.room.member", eve): join}
    auth = [known[key] for key in select("m.room.message", eve, None, {}, scene.room.version)]
    said = peer.say(scene.room, "who am i", eve, place=Place(scene.room.tips, auth))
    later = peer.say(scene.room, "me again", eve, place=Place([said], auth))
    del peer.known[join.event_id]
    results = await peer.send([said, later])
    assert all("cannot be had" in results[e.event_id]["error"] for e in (said, later))
    # Once the join comes, the events do too.
    peer.known[join.event_id] = join
    assert await peer.send([join]) == {join.event_id: {}}
    assert await peer.send([later]) == {later.event_id: {}}
    await scene.say("now i hear you")
    assert set(await scene.texts()) == {"now i hear you", "me again", "who am i"}


async def test_a_circle_of_events(scene: Scene) -> None:
    """Ancestors that lead to each other are never asked for without end."""
    peer, eve = scene.peer, scene.peer.user("eve")
    ids = []
    for number in range(12):
        event = peer.say(scene.room, f"{number}", eve)
        scene.room.add(event)
        ids.append(event.event_id)
    # The peer answers the same few events whatever it is asked for.
    first = ids[0]
    del peer.known[first]
    last = peer.say(scene.room, "last", eve)
    async with asyncio.timeout(10):
        await peer.send([last])
    assert len([path for path in peer.asked if "get_missing_events" in path]) <= 5


async def test_many_parents_and_auth_events(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    forks = [peer.say(scene.room, f"{n}", eve) for n in range(20)]
    await peer.send(forks)
    merge = peer.say(
        scene.room,
        "merge",
        eve,
        place=Place(forks, scene.room.place("m.room.message", eve, None, {}).auth_events),
    )
    assert await peer.send([merge]) == {merge.event_id: {}}
    assert len(await scene.texts()) == 21
    await scene.say("after")
    assert (await scene.texts())[0] == "after"


async def test_a_flood_of_forks_is_kept_down(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    forks = [peer.say(scene.room, f"{n}", eve) for n in range(120)]
    for start in range(0, 120, 40):
        await peer.send(forks[start : start + 40])
    event_id = await scene.say("merging")
    status, answer = await peer.ask("GET", f"{V1}/event/{event_id}")
    assert status == 200
    assert len(answer["pdus"][0]["prev_events"]) <= 20
    for number in range(12):
        await scene.say(f"more {number}")
    process = scene.hearth.parts.base.process
    async with process.database.reader() as conn:
        assert await conn.fetchval("SELECT cardinality(extremities) FROM rooms") == 1


async def test_another_key_than_the_servers(scene: Scene) -> None:
    peer = scene.peer
    other = SigningKey.from_seed("ed25519:peer", bytes(32))
    body = {"origin": peer.name, "origin_server_ts": 1, "pdus": [], "edus": []}
    status, answer = await peer.ask("PUT", f"{V1}/send/1", body, key=other)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_too_much_at_once(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    body = {"origin": peer.name, "origin_server_ts": 1, "pdus": [{}] * 51, "edus": []}
    status, answer = await peer.ask("PUT", f"{V1}/send/big", body)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")
    # What is ephemeral beyond the limit is no reason to lose events.
    content = {"room_id": scene.room.room_id, "user_id": eve, "typing": True}
    edus = [{"edu_type": "m.x", "content": {}}] * 100
    said = peer.say(scene.room, "hello", eve)
    assert await peer.send([said], [*edus, {"edu_type": "m.typing", "content": content}]) == {
        said.event_id: {}
    }
    assert await typing_in(scene) == []
    await peer.send([], [{"edu_type": "m.typing", "content": content}])
    assert await typing_in(scene) == [eve]


async def typing_in(scene: Scene) -> list[str]:
    """Who is told to type."""
    sync = (await scene.ann.get("/_matrix/client/v3/sync", timeout=0)).ok()
    shown = sync["rooms"]["join"][scene.room.room_id].get("ephemeral", {}).get("events", [])
    told = [event["content"]["user_ids"] for event in shown if event["type"] == "m.typing"]
    return told[0] if told else []


async def test_who_is_typing_is_told_by_their_own_server(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    for user in (scene.ann.user_id, peer.user("stranger"), eve):
        content = {"room_id": scene.room.room_id, "user_id": user, "typing": True}
        await peer.send([], [{"edu_type": "m.typing", "content": content}])
    assert await typing_in(scene) == [eve]


async def test_receipts_come_from_the_users_own_server(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    event_id = await scene.say("read me")
    receipt = {"event_ids": [event_id], "data": {"ts": 1}}
    users = {scene.ann.user_id: receipt, eve: receipt, peer.user("stranger"): receipt}
    await peer.send(
        [], [{"edu_type": "m.receipt", "content": {scene.room.room_id: {"m.read": users}}}]
    )
    sync = (await scene.ann.get("/_matrix/client/v3/sync", timeout=0)).ok()
    shown = sync["rooms"]["join"][scene.room.room_id]["ephemeral"]["events"]
    (read,) = [event["content"] for event in shown if event["type"] == "m.receipt"]
    assert set(read[event_id]["m.read"]) == {eve}


async def test_numbers_that_one_event_must_not_have(scene: Scene) -> None:
    """They spoil it alone, not what comes with it.

    https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
    """
    peer, eve = scene.peer, scene.peer.user("eve")
    good = peer.say(scene.room, "good", eve)
    fields = json.loads(peer.say(scene.room, "bad", eve).json)
    wrong = [{**fields, "content": {"body": "bad", "n": n}} for n in (1.5, 2**53, -(2**70))]
    assert await peer.send([*wrong, good]) == {good.event_id: {}}
    assert await scene.texts() == ["good"]


async def test_a_server_that_the_acl_keeps_out(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    acl = {"allow": ["*"], "deny": [peer.name.split(":")[0]]}
    (await scene.ann.put(f"{scene.path}/state/m.room.server_acl", acl)).ok()
    event = peer.say(scene.room, "hello", eve)
    results = await peer.send(
        [event],
        [
            {
                "edu_type": "m.typing",
                "content": {"room_id": scene.room.room_id, "user_id": eve, "typing": True},
            }
        ],
    )
    assert "error" in results[event.event_id]
    assert await scene.texts() == []
    status, _ = await peer.ask(
        "GET", f"{V1}/state_ids/{scene.room.room_id}?event_id={event.event_id}"
    )
    assert status == 403
    sync = (await scene.ann.get("/_matrix/client/v3/sync", timeout=0)).ok()
    shown = sync["rooms"]["join"][scene.room.room_id].get("ephemeral", {}).get("events", [])
    assert [event for event in shown if event["type"] == "m.typing"] == []


async def test_nonsense_in_edus(scene: Scene) -> None:
    peer = scene.peer
    nothing: list[Any] = [None, 5, [], {}, {"edu_type": 5, "content": {}}, {"edu_type": "m.typing"}]
    kinds = ["m.typing", "m.receipt", "m.presence", "m.device_list_update", "m.direct_to_device",
             "m.signing_key_update", "m.unknown"]  # fmt: skip
    contents: list[Any] = [None, [], {}, {"room_id": 5}, {"push": 5}, {"user_id": []},
                {"messages": 5}, {"!x:y": 5},
                {"sender": 5, "type": 5, "message_id": 5, "messages": {"@a:b": 5}}]  # fmt: skip
    edus = [{"edu_type": kind, "content": content} for kind in kinds for content in contents]
    for start in range(0, len(edus), 100):
        await peer.send([], edus[start : start + 100])
    await peer.send([], nothing)
    await scene.say("still here")


@pytest.mark.parametrize("name", [[], {}, None, 5])
async def test_typing_beside_nonsense(scene: Scene, name: Any) -> None:
    eve = scene.peer.user("eve")
    contents = [
        {"room_id": room_id, "user_id": eve, "typing": True}
        for room_id in (name, scene.room.room_id)
    ]
    await scene.peer.send([], [{"edu_type": "m.typing", "content": one} for one in contents])
    assert await typing_in(scene) == [eve]


async def test_a_redaction_before_its_event(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    secret = peer.say(scene.room, "regrettable", eve)
    taken_back = peer.make(
        scene.room, "m.room.redaction", {"redacts": secret.event_id}, eve, redacts=secret.event_id
    )
    assert await peer.send([taken_back]) == {taken_back.event_id: {}}
    assert await peer.send([secret]) == {secret.event_id: {}}
    shown = (await scene.ann.get(f"{scene.path}/event/{secret.event_id}")).ok()
    assert shown["content"] == {}
    assert shown["unsigned"]["redacted_because"]["event_id"] == taken_back.event_id
    process = scene.hearth.parts.base.process
    async with process.database.reader() as conn:
        assert not await conn.fetchval(
            "SELECT count(*) FROM events WHERE position('regrettable'::bytea IN json) > 0"
        )


async def test_a_redaction_together_with_its_event(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    secret = peer.say(scene.room, "regrettable", eve)
    taken_back = peer.make(
        scene.room, "m.room.redaction", {"redacts": secret.event_id}, eve, redacts=secret.event_id
    )
    await peer.send([secret, taken_back])
    shown = (await scene.ann.get(f"{scene.path}/event/{secret.event_id}")).ok()
    assert shown["content"] == {}
    assert shown["unsigned"]["redacted_because"]["event_id"] == taken_back.event_id
    assert "regrettable" not in json.dumps((await scene.ann.get(f"{V3}/sync")).ok())


async def test_a_redaction_of_somebody_elses_event_before_it(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    dan = peer.user("dan")
    join = peer.make(scene.room, "m.room.member", {"membership": "join"}, dan, dan)
    await peer.send([join])
    scene.room.add(join)
    said = peer.say(scene.room, "dan's", dan)
    # Servers let one redact events of one's own server; so this must be of another's.
    nothing = await scene.say("ann's")
    taken_back = peer.make(
        scene.room, "m.room.redaction", {"redacts": nothing}, eve, redacts=EventID(nothing)
    )
    await peer.send([taken_back])
    await peer.send([said])
    assert set(await scene.texts()) == {"ann's", "dan's"}


async def test_rooms_that_we_are_not_in(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    event = peer.say(scene.room, "anybody?", eve)
    assert "error" in (await peer.send([event]))[event.event_id]


async def test_invitations_are_taken_back_by_who_sent_them(scene: Scene) -> None:
    """Of a room that the server is not in."""
    peer, eve, mallory = scene.peer, scene.peer.user("eve"), scene.peer.user("mallory")
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    ben = await scene.hearth.user("ben")
    scene.room.add(await peer.invite(scene.room, eve, ben.user_id))

    async def invited() -> bool:
        sync = (await ben.get("/_matrix/client/v3/sync", timeout=0)).ok()
        return scene.room.room_id in sync.get("rooms", {}).get("invite", {})

    assert await invited()
    for sender, stands in ((mallory, True), (UserID(ben.user_id), True), (eve, False)):
        kick = peer.make(scene.room, "m.room.member", {"membership": "leave"}, sender, ben.user_id)
        await peer.send([kick])
        assert await invited() is stands


async def test_everything_is_passed_on(scene: Scene) -> None:
    """In order, and each event once."""
    for number in range(60):
        await scene.say(f"{number}")

    async def all_there() -> bool:
        return len(bodies()) >= 60

    def bodies() -> list[str]:
        pdus = [pdu for txn in scene.peer.told for pdu in txn["pdus"]]
        return [pdu["content"]["body"] for pdu in pdus if pdu["type"] == "m.room.message"]

    await eventually(all_there)
    assert bodies() == [f"{number}" for number in range(60)]
    assert all(len(txn["pdus"]) <= 50 for txn in scene.peer.told)


async def test_a_message_to_devices_comes_once(scene: Scene) -> None:
    """However often, in however many transactions; only from who may speak for its sender."""
    ann, peer = scene.ann, scene.peer

    def edu(message_id: str, sender: str) -> Any:
        content = {
            "sender": sender,
            "type": "m.test",
            "message_id": message_id,
            "messages": {ann.user_id: {"*": {"id": message_id}}},
        }
        return {"edu_type": "m.direct_to_device", "content": content}

    eve = peer.user("eve")
    await peer.send(edus=[edu("1", eve), edu("1", eve), edu("2", "@eve:elsewhere.test")])
    await peer.send(edus=[edu("1", eve), edu("3", eve)])
    events = (await ann.get(f"{V3}/sync", timeout=0)).ok()["to_device"]["events"]
    assert [event["content"]["id"] for event in events] == ["1", "3"]


async def test_messages_to_devices_beside_what_is_none(scene: Scene) -> None:
    """Nobody's message is lost for what another one is like."""
    ann, ben = scene.ann, await scene.hearth.user("ben")
    messages = {
        ben.user_id: {"*": {"large": 70_000 * "x"}, "\0": {}},
        "nobody": {"*": {}},
        "@eve:elsewhere.test": {"*": {}},
        ann.user_id: {f"{ann.device_id}\0": {"id": 0}, ann.device_id: {"id": 1}, "GONE": 5},
    }
    content = {"sender": scene.peer.user("eve"), "type": "m.test", "message_id": "1"}
    edu = {"edu_type": "m.direct_to_device", "content": {**content, "messages": messages}}
    await scene.peer.send(edus=[edu])
    events = (await ann.get(f"{V3}/sync", timeout=0)).ok()["to_device"]["events"]
    assert [event["content"] for event in events] == [{"id": 1}]
    assert (await ben.get(f"{V3}/sync", timeout=0)).ok().get("to_device") is None
