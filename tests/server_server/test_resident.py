"""What other servers are told of rooms, and what they may do in them.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
"""

import itertools
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from federation.building import Place, sign_event
from federation.canonical_json import JsonObject
from federation.events import Event
from federation.signing import SigningKey
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.policing import Policing
from homeserver.rooms.purging import Purging
from homeserver.server_server import shown
from homeserver.storage import federation_reads
from homeserver.storage.pool import DatabaseAwayError
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1, V2, Room, now_ms, read
from tests.servers import Client, Hearth
from tests.statements import Asked

ALL_VERSIONS = "&".join(f"ver={n}" for n in range(1, 13))


def _path(what: str, room_id: str, name: str, version: str = V1) -> str:
    return f"{version}/{what}/{quote(room_id)}/{quote(name)}"


async def _refusal(scene: Scene, method: str, path: str, body: Any = None) -> tuple[int, str]:
    status, answer = await scene.peer.ask(method, path, body)
    return status, answer.get("errcode", "") if isinstance(answer, dict) else ""


async def _template(scene: Scene, user: str, what: str = "join") -> JsonObject:
    path = _path(f"make_{what}", scene.room.room_id, user) + f"?{ALL_VERSIONS}"
    status, made = await scene.peer.ask("GET", path)
    assert status == 200, made
    found: JsonObject = made["event"]
    assert found["origin"] == scene.hearth.name
    return {**found, "origin_server_ts": now_ms()}


async def test_who_may_ask_for_a_template(scene: Scene) -> None:
    room_id, peer = scene.room.room_id, scene.peer
    fay = peer.user("fay")
    for what in ("make_join", "make_leave", "make_knock"):
        path = _path(what, room_id, scene.ann.user_id) + f"?{ALL_VERSIONS}"
        assert await _refusal(scene, "GET", path) == (403, "M_FORBIDDEN"), what
        path = _path(what, "!unknown:" + scene.hearth.name, fay) + f"?{ALL_VERSIONS}"
        assert await _refusal(scene, "GET", path) == (404, "M_NOT_FOUND"), what
    # Who is not in the room cannot leave it, and a public room takes no knocks.
    for what in ("make_leave", "make_knock"):
        path = _path(what, room_id, fay) + f"?{ALL_VERSIONS}"
        assert await _refusal(scene, "GET", path) == (403, "M_FORBIDDEN"), what


async def test_a_version_that_the_other_server_does_not_speak(scene: Scene) -> None:
    fay = scene.peer.user("fay")
    for what in ("make_join", "make_knock"):
        for query in ("", "?ver=1", "?ver=10&ver=12"):
            path = _path(what, scene.room.room_id, fay) + query
            status, answer = await scene.peer.ask("GET", path)
            assert (status, answer["errcode"]) == (400, "M_INCOMPATIBLE_ROOM_VERSION")
            assert answer["room_version"] == "11"


async def test_a_room_that_all_of_us_left(scene: Scene) -> None:
    peer, eve, fay = scene.peer, scene.peer.user("eve"), scene.peer.user("fay")
    event = sign_event(await _template(scene, fay), scene.room.version, peer.signer)
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    room_id = scene.room.room_id
    asked = [
        ("GET", _path("make_join", room_id, fay) + f"?{ALL_VERSIONS}", None),
        ("GET", _path("make_leave", room_id, eve), None),
        ("PUT", _path("send_join", room_id, event.event_id, V2), json.loads(event.json)),
        ("GET", f"{V1}/state/{quote(room_id)}?event_id={quote(event.event_id)}", None),
    ]
    for method, path, body in asked:
        assert await _refusal(scene, method, path, body) == (404, "M_NOT_FOUND"), path


Change = Callable[[Scene, JsonObject], JsonObject]
WRONG: dict[str, Change] = {
    "membership": lambda _, e: {**e, "content": {"membership": "leave"}},
    "no membership": lambda _, e: {**e, "content": {}},
    "state key": lambda s, e: {**e, "state_key": s.peer.user("gus")},
    "no state": lambda _, e: {k: v for k, v in e.items() if k != "state_key"},
    "type": lambda _, e: {**e, "type": "m.room.topic"},
    "sender": lambda s, e: {**e, "sender": s.ann.user_id, "state_key": s.ann.user_id},
    "room": lambda s, e: {**e, "room_id": "!other:" + s.peer.name},
    "unknown parents": lambda _, e: {**e, "prev_events": ["$" + "a" * 43]},
    "unknown auth events": lambda _, e: {**e, "auth_events": [*e["auth_events"], "$" + "a" * 43]},
}  # fmt: skip


@pytest.mark.parametrize("what", ["send_join", "send_leave"])
async def test_what_is_not_what_was_handed_out(scene: Scene, what: str) -> None:
    peer = scene.peer
    user = peer.user("fay" if what == "send_join" else "eve")
    made = await _template(scene, user, what.removeprefix("send_"))
    for name, change in WRONG.items():
        if name == "membership" and what == "send_leave":
            made["content"] = {"membership": "join"}
            change = WRONG["no membership"]
        event = sign_event(change(scene, made), scene.room.version, peer.signer)
        path = _path(what, scene.room.room_id, event.event_id, V2)
        refusal = await _refusal(scene, "PUT", path, json.loads(event.json))
        assert refusal == (400, "M_INVALID_PARAM"), name
    good = sign_event(made, scene.room.version, peer.signer)
    raw = json.loads(good.json)
    forged = {**raw, "signatures": {peer.name: {peer.key.key_id: "A" * 86}}}
    path = _path(what, scene.room.room_id, good.event_id, V2)
    assert await _refusal(scene, "PUT", path, forged) == (400, "M_INVALID_PARAM")
    other = _path(what, scene.room.room_id, "$" + "b" * 43, V2)
    assert await _refusal(scene, "PUT", other, raw) == (400, "M_INVALID_PARAM")
    members = (await scene.ann.get(f"{scene.path}/joined_members")).ok()["joined"]
    assert set(members) == {scene.ann.user_id, peer.user("eve")}


async def test_who_is_refused_is_refused_again(scene: Scene) -> None:
    """Banned between the template and the join; a repeat changes nothing."""
    peer, fay = scene.peer, scene.peer.user("fay")
    event = sign_event(await _template(scene, fay), scene.room.version, peer.signer)
    (await scene.ann.post(f"{scene.path}/ban", {"user_id": fay})).ok()
    path = _path("send_join", scene.room.room_id, event.event_id, V2)
    for _ in range(2):
        refusal = await _refusal(scene, "PUT", path, json.loads(event.json))
        assert refusal == (403, "M_FORBIDDEN")


async def test_older_servers_get_a_pair(scene: Scene) -> None:
    peer, fay = scene.peer, scene.peer.user("fay")
    event = sign_event(await _template(scene, fay), scene.room.version, peer.signer)
    path = _path("send_join", scene.room.room_id, event.event_id)
    status, (code, answer) = await peer.ask("PUT", path, json.loads(event.json))
    assert (status, code) == (200, 200)
    assert "m.room.create" in {one["type"] for one in answer["state"]}
    leave = sign_event(await _template(scene, fay, "leave"), scene.room.version, peer.signer)
    path = _path("send_leave", scene.room.room_id, leave.event_id)
    assert await peer.ask("PUT", path, json.loads(leave.json)) == (200, [200, {}])


async def test_a_room_that_is_not_for_other_servers(federated: Any) -> None:
    """https://spec.matrix.org/v1.19/client-server-api/#mroomcreate"""
    hearth, peer = federated
    ann = await hearth.user("ann")
    wish = {
        "preset": "public_chat",
        "room_version": "11",
        "creation_content": {"m.federate": False},
    }
    room_id = (await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"]
    scene = Scene(hearth, peer, ann, Room(room_id, None, {}, []))  # type: ignore[arg-type]
    fay = peer.user("fay")
    path = _path("make_join", room_id, fay) + f"?{ALL_VERSIONS}"
    assert await _refusal(scene, "GET", path) == (403, "M_FORBIDDEN")
    invite = await ann.post(f"{scene.path}/invite", {"user_id": fay})
    assert (invite.status, invite.errcode) == (403, "M_FORBIDDEN")
    assert peer.invited == []


# --- what is told of the past ---


async def test_states_of_what_can_be_known(scene: Scene) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    event_id = await scene.say("hello")
    refused = peer.make(scene.room, "m.room.name", {"name": "mine"}, eve, "")
    await peer.send([refused])
    room_id = quote(scene.room.room_id)
    for what in ("state", "state_ids"):
        path = f"{V1}/{what}/{room_id}"
        assert await _refusal(scene, "GET", path) == (400, "M_MISSING_PARAM")
        for unknown in (refused.event_id, "$" + "a" * 43):
            assert await _refusal(scene, "GET", f"{path}?event_id={quote(unknown)}") == (
                404,
                "M_NOT_FOUND",
            )
        status, answer = await peer.ask("GET", f"{path}?event_id={quote(event_id)}")
        assert status == 200
        assert answer
    other = (await scene.ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    path = f"{V1}/state/{quote(other)}?event_id={quote(event_id)}"
    assert await _refusal(scene, "GET", path) == (403, "M_FORBIDDEN")
    await peer.join(other, eve)
    assert await _refusal(scene, "GET", path) == (404, "M_NOT_FOUND")


async def _closed(scene: Scene) -> list[str]:
    """Ann says something before Fay's server may see it, and something after; the IDs."""
    await _set_visibility(scene, "joined")
    (await scene.ann.post(f"{scene.path}/kick", {"user_id": scene.peer.user("eve")})).ok()
    secret = await scene.say("secret")
    (await scene.ann.post(f"{scene.path}/invite", {"user_id": scene.peer.user("fay")})).ok()
    await scene.peer.join(scene.room.room_id, scene.peer.user("fay"))
    return [secret, await scene.say("open")]


async def _set_visibility(scene: Scene, value: str) -> None:
    path = f"{scene.path}/state/m.room.history_visibility"
    (await scene.ann.put(path, {"history_visibility": value})).ok()


async def _all_ways(scene: Scene, secret: str, last: str) -> list[list[JsonObject]]:
    """The events that lead to the last one, by each of the ways to ask for them."""
    room_id = quote(scene.room.room_id)
    _, one = await scene.peer.ask("GET", f"{V1}/event/{quote(secret)}")
    _, back = await scene.peer.ask("GET", f"{V1}/backfill/{room_id}?v={quote(last)}&limit=50")
    body = {"earliest_events": [], "latest_events": [last], "limit": 50}
    _, missing = await scene.peer.ask("POST", f"{V1}/get_missing_events/{room_id}", body)
    return [one["pdus"], back["pdus"], missing["events"]]


def _secret(events: list[JsonObject]) -> JsonObject:
    """The content of the only message among them but the last."""
    found = [e["content"] for e in events if e["type"] == "m.room.message"]
    return next(content for content in found if content.get("body") != "open")


async def test_what_a_server_may_not_see_is_redacted(scene: Scene) -> None:
    secret, last = await _closed(scene)
    for events in await _all_ways(scene, secret, last):
        assert _secret(events) == {}


async def test_a_server_of_many_people(scene: Scene) -> None:
    """However many of them left the room, or were never in it, somebody is there."""
    await _set_visibility(scene, "joined")
    event_id = await scene.say("for all who are here")
    async with scene.hearth.parts.base.process.database.reader() as conn:
        await conn.execute(
            """
            WITH gone AS (
                INSERT INTO users (user_nid, user_id) OVERRIDING SYSTEM VALUE
                SELECT -n, '@gone' || n || ':' || $2 FROM generate_series(1, 1100) n
                RETURNING user_nid)
            INSERT INTO memberships (room_nid, user_nid, membership, event_nid, pos)
            SELECT r.room_nid, g.user_nid, 0, 1, 1 FROM rooms r, gone g WHERE r.room_id = $1
            """,
            scene.room.room_id,
            scene.peer.name,
        )
        # Whoever is there comes last wherever the database looks.
        await conn.execute("UPDATE users SET user_id = user_id WHERE user_nid > 0")
        await conn.execute("UPDATE memberships SET pos = pos WHERE user_nid > 0")
    _, answer = await scene.peer.ask("GET", f"{V1}/event/{quote(event_id)}")
    assert answer["pdus"][0]["content"]["body"] == "for all who are here"


async def test_what_erased_people_said(scene: Scene) -> None:
    """Servers that were there had it; to those that came later it is not told any more.

    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
    """
    ben = await scene.hearth.user("ben")
    (await ben.post(f"{scene.path}/join")).ok()

    async def says(text: str) -> str:
        path = f"{scene.path}/send/m.room.message/{text}"
        return str((await ben.put(path, {"msgtype": "m.text", "body": text})).ok()["event_id"])

    heard = await says("heard")
    (await scene.ann.post(f"{scene.path}/kick", {"user_id": scene.peer.user("eve")})).ok()
    unheard = await says("unheard")
    await scene.peer.join(scene.room.room_id, scene.peer.user("fay"))
    last = await scene.say("open")
    bodies = [_secret(found) for found in await _all_ways(scene, unheard, last)]
    assert {content["body"] for content in bodies} <= {"heard", "unheard"}
    await _erase(scene.hearth, ben)
    for events in await _all_ways(scene, unheard, last):
        said = {e["content"].get("body") for e in events if e["type"] == "m.room.message"}
        assert "unheard" not in said
    _, answer = await scene.peer.ask("GET", f"{V1}/event/{quote(heard)}")
    assert answer["pdus"][0]["content"]["body"] == "heard"


async def _erase(hearth: Hearth, user: Client) -> None:
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute(
            "UPDATE accounts SET erased = true WHERE user_nid ="
            " (SELECT user_nid FROM users WHERE user_id = $1)",
            user.user_id,
        )


async def test_history_of_the_room_that_was_asked_for(scene: Scene) -> None:
    """Of no other room, whatever is named; of no event that was rejected; and not too deep."""
    peer, eve = scene.peer, scene.peer.user("eve")
    first = await scene.say("first")
    refused = peer.make(scene.room, "m.room.name", {"name": "mine"}, eve, "")
    auth = scene.room.place("m.room.message", eve, None, {}).auth_events
    onto = peer.say(scene.room, "onto it", eve, place=Place([refused], auth))
    await peer.send([refused, onto])
    other = (await scene.ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    await peer.join(other, eve)
    path = f"{V1}/get_missing_events/{quote(other)}"
    body: JsonObject = {"earliest_events": [], "latest_events": [first], "limit": 50}
    assert await peer.ask("POST", path, body) == (200, {"events": []})
    status, answer = await peer.ask("GET", f"{V1}/backfill/{quote(other)}?v={quote(first)}&limit=5")
    assert (status, answer["pdus"]) == (200, [])
    path = f"{V1}/get_missing_events/{quote(scene.room.room_id)}"
    _, answer = await peer.ask("POST", path, {**body, "latest_events": [onto.event_id]})
    assert "m.room.name" not in {event["type"] for event in answer["events"]}
    depths = {event["depth"] for event in answer["events"]}
    assert min(depths) == 1
    _, answer = await peer.ask(
        "POST", path, {**body, "latest_events": [onto.event_id], "min_depth": 5}
    )
    assert min(event["depth"] for event in answer["events"]) == 5


async def _missing(scene: Scene, latest: str, *earliest: str, limit: int = 100) -> list[JsonObject]:
    path = f"{V1}/get_missing_events/{quote(scene.room.room_id)}"
    body = {"earliest_events": earliest, "latest_events": [latest], "limit": limit}
    _, answer = await scene.peer.ask("POST", path, body)
    found: list[JsonObject] = answer["events"]
    return found


async def test_a_long_chain_costs_no_more_statements(scene: Scene, asked: Asked) -> None:
    """The nearest come, in order; a NUL and what looks like one in what was said harm nothing."""
    eve = scene.peer.user("eve")
    said = [await scene.say("first")]
    for number in range(60):
        text = "\x00 \\u0000 \\" if number == 57 else str(number)
        content = {"msgtype": "m.text", "body": text, "prev_events": ["$mine"]}
        path = f"{scene.path}/send/m.room.message/n{number}"
        said.append((await scene.ann.put(path, content)).ok()["event_id"])
    costs = []
    for count in (5, 59):
        missing = partial(_missing, scene, said[-1], said[-2 - count])
        costs.append(await asked.by(missing))
        found = await missing()
        bodies = [event["content"]["body"] for event in found]
        assert bodies[-count:-2] == [str(number) for number in range(59 - count, 57)]
        assert len(bodies) == count
    assert costs[0] == costs[1]
    nearest = await _missing(scene, said[-1], limit=3)
    assert [event["content"]["body"] for event in nearest] == ["56", "\x00 \\u0000 \\", "58"]
    # Two branches meet: the younger generation comes first, each event once.
    place = scene.room.place("m.room.message", eve, None, {})
    left, right = (scene.peer.say(scene.room, side, eve, place=place) for side in "lr")
    both = scene.peer.say(scene.room, "both", eve, place=Place([left, right], place.auth_events))
    await scene.peer.send([left, right, both])
    found = await _missing(scene, both.event_id, limit=2)
    assert {event["content"]["body"] for event in found} == {"l", "r"}
    body = {"earliest_events": [], "latest_events": [both.event_id], "min_depth": 2**80}
    path = f"{V1}/get_missing_events/{quote(scene.room.room_id)}"
    assert (await scene.peer.ask("POST", path, body))[0] == 400


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_room_that_is_deleted_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """Whoever joins through us just then is told that there is no such room."""
    peer, room_id = scene.peer, scene.room.room_id
    process = scene.hearth.parts.base.process
    owner, what = (Absorbing, "absorb") if is_late else (Policing, "decisions")
    found = getattr(owner, what)

    async def deleting(self: Any, *args: Any, **more: Any) -> Any:
        result = await found(self, *args, **more)
        await Purging(process, federates=False).purge_room(room_id, just_left=False)
        return result

    late = peer.user("late")
    status, made = await peer.ask("GET", f"{V1}/make_join/{room_id}/{late}?ver=11")
    assert status == 200
    event = sign_event(
        {**made["event"], "origin_server_ts": now_ms()}, scene.room.version, peer.signer
    )
    monkeypatch.setattr(owner, what, deleting)
    path = f"{V2}/send_join/{room_id}/{event.event_id}"
    status, answer = await peer.ask("PUT", path, json.loads(event.json))
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_what_is_closed_to_a_server_that_the_acl_keeps_out(scene: Scene) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls"""
    peer, eve, fay = scene.peer, scene.peer.user("eve"), scene.peer.user("fay")
    ben = await scene.hearth.user("ben")
    event_id = await scene.say("hello")
    join = sign_event(await _template(scene, fay), scene.room.version, peer.signer)
    leave = sign_event(await _template(scene, eve, "leave"), scene.room.version, peer.signer)
    invite = peer.make(scene.room, "m.room.member", {"membership": "invite"}, eve, ben.user_id)
    acl = {"allow": ["*"], "deny": [peer.name.split(":")[0]]}
    (await scene.ann.put(f"{scene.path}/state/m.room.server_acl", acl)).ok()
    room_id, raw = scene.room.room_id, json.loads
    whole = {"event": raw(invite.json), "room_version": "11", "invite_room_state": []}
    closed: list[tuple[str, str, Any]] = [
        ("GET", _path("make_join", room_id, fay) + f"?{ALL_VERSIONS}", None),
        ("GET", _path("make_leave", room_id, eve), None),
        ("GET", _path("make_knock", room_id, fay) + f"?{ALL_VERSIONS}", None),
        ("PUT", _path("send_join", room_id, join.event_id), raw(join.json)),
        ("PUT", _path("send_join", room_id, join.event_id, V2), raw(join.json)),
        ("PUT", _path("send_leave", room_id, leave.event_id), raw(leave.json)),
        ("PUT", _path("send_leave", room_id, leave.event_id, V2), raw(leave.json)),
        ("PUT", _path("send_knock", room_id, join.event_id), raw(join.json)),
        ("PUT", _path("invite", room_id, invite.event_id, V2), whole),
        ("GET", f"{V1}/state/{quote(room_id)}?event_id={quote(event_id)}", None),
        ("GET", f"{V1}/state_ids/{quote(room_id)}?event_id={quote(event_id)}", None),
        ("GET", f"{V1}/backfill/{quote(room_id)}?v={quote(event_id)}&limit=5", None),
        ("GET", _path("event_auth", room_id, event_id), None),
        (
            "POST",
            f"{V1}/get_missing_events/{quote(room_id)}",
            {"earliest_events": [], "latest_events": [event_id]},
        ),
    ]
    for method, path, body in closed:
        assert await _refusal(scene, method, path, body) == (403, "M_FORBIDDEN"), path
    # What is not listed is not closed to a server of which somebody is in the room.
    for path in (
        f"{V1}/event/{quote(event_id)}",
        f"{V1}/timestamp_to_event/{quote(room_id)}?ts=0&dir=f",
        f"{V1}/hierarchy/{quote(room_id)}",
    ):
        assert (await peer.ask("GET", path))[0] == 200, path
    other = (await scene.ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    here = await peer.join(other, eve)
    # Each event and receipt is looked at by itself.
    good, bad = peer.say(here, "there", eve), peer.say(scene.room, "here", eve)
    receipt = {"m.read": {eve: {"event_ids": [good.event_id], "data": {"ts": 1}}}}
    content = {scene.room.room_id: receipt, other: receipt}
    results = await peer.send([bad, good], [{"edu_type": "m.receipt", "content": content}])
    assert results[good.event_id] == {}
    assert "error" in results[bad.event_id]
    synced = (await scene.ann.get(f"{V3}/sync", timeout=0)).ok()["rooms"]["join"]
    assert "m.receipt" in {e["type"] for e in synced[other]["ephemeral"]["events"]}
    shown = synced[scene.room.room_id].get("ephemeral", {}).get("events", [])
    assert "m.receipt" not in {e["type"] for e in shown}


@pytest.mark.parametrize("piece", [1, 2, 1000])
async def test_states_are_told_in_pieces(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """However large they are; the whole is the same."""
    monkeypatch.setattr(shown, "_PIECE", piece)
    peer, fay = scene.peer, scene.peer.user("fay")
    event_id = await scene.say("hello")
    room_id, last = quote(scene.room.room_id), quote(event_id)
    _, ids = await peer.ask("GET", f"{V1}/state_ids/{room_id}?event_id={last}")
    _, state = await peer.ask("GET", f"{V1}/state/{room_id}?event_id={last}")
    _, chain = await peer.ask("GET", f"{V1}/event_auth/{room_id}/{last}")
    version = scene.room.version
    assert sorted(ids["pdu_ids"]) == sorted(read(one, version).event_id for one in state["pdus"])
    told = {read(one, version).event_id for one in state["auth_chain"]}
    assert told == set(ids["auth_chain_ids"])
    assert "m.room.create" in {one["type"] for one in chain["auth_chain"]}
    event, answer = await peer.send_join(scene.room.room_id, fay)
    assert (answer["members_omitted"], answer["origin"]) == (False, scene.hearth.name)
    assert read(answer["event"], version) == event
    joined = {read(one, version).event_id for one in answer["state"]}
    assert joined == set(ids["pdu_ids"])
    # What leads to nothing is an empty list.
    (first,) = (one for one in answer["state"] if one["type"] == "m.room.create")
    path = f"{V1}/event_auth/{room_id}/{quote(read(first, version).event_id)}"
    assert await peer.ask("GET", path) == (200, {"auth_chain": []})


async def test_a_state_that_ends_in_the_middle_is_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes for the whole what was told until the database went away."""
    monkeypatch.setattr(shown, "_PIECE", 2)
    jsons, calls = federation_reads.jsons, itertools.count()

    async def failing(conn: Any, nids: Any) -> list[bytes]:
        if next(calls) == 2:
            raise DatabaseAwayError("gone")
        return await jsons(conn, nids)

    monkeypatch.setattr(federation_reads, "jsons", failing)
    path = f"{V1}/state/{quote(scene.room.room_id)}?event_id={quote(await scene.say('hello'))}"
    with pytest.raises(aiohttp.ClientPayloadError):
        await scene.peer.ask("GET", path)


async def test_an_auth_chain_may_be_empty(scene: Scene) -> None:
    """A server that tells none harms nobody."""
    peer, eve = scene.peer, scene.peer.user("eve")
    peer.lies["event_auth"] = lambda _: {"auth_chain": []}
    peer.lies["event"] = lambda _: {"pdus": []}
    join: Event = peer.make(scene.room, "m.room.member", {"membership": "join", "n": 1}, eve, eve)
    auth = [*scene.room.place("m.room.message", eve, None, {}).auth_events[:2], join]
    said = peer.say(scene.room, "hello", eve, place=Place(scene.room.tips, auth))
    assert "error" in (await peer.send([said]))[said.event_id]
    fine = peer.say(scene.room, "fine", eve)
    assert await peer.send([fine]) == {fine.event_id: {}}


# --- queries ---


async def test_queries(scene: Scene) -> None:
    peer, ann = scene.peer, scene.ann
    assert await _refusal(scene, "GET", f"{V1}/query/no_such_thing") == (404, "M_UNRECOGNIZED")
    async with peer.session.get(f"{scene.hearth.url}{V1}/query/no_such_thing") as unsigned:
        assert unsigned.status == 401
    (await ann.put(f"{V3}/profile/{ann.user_id}/displayname", {"displayname": "Ann"})).ok()
    (await ann.put(f"{V3}/profile/{ann.user_id}/m.tz", {"m.tz": "Europe/Paris"})).ok()
    (await ann.put(f"{V3}/profile/{ann.user_id}/org.x", {"org.x": {"a": [1]}})).ok()
    path = f"{V1}/query/profile?user_id={quote(ann.user_id)}"
    whole = {"displayname": "Ann", "m.tz": "Europe/Paris", "org.x": {"a": [1]}}
    assert await peer.ask("GET", path) == (200, whole)
    for field, value in whole.items():
        assert await peer.ask("GET", f"{path}&field={field}") == (200, {field: value})
    assert await peer.ask("GET", f"{path}&field=avatar_url") == (200, {})
    nobody = quote(f"@nobody:{scene.hearth.name}")
    path = f"{V1}/query/profile?user_id={nobody}"
    assert await _refusal(scene, "GET", path) == (404, "M_NOT_FOUND")
    assert await _refusal(scene, "GET", f"{V1}/query/profile") == (400, "M_MISSING_PARAM")


async def test_a_request_that_another_signed(scene: Scene) -> None:
    """https://spec.matrix.org/v1.19/server-server-api/#request-authentication"""
    other = SigningKey.from_seed("ed25519:peer", bytes(32))
    path = f"{V1}/event/{quote('$' + 'a' * 43)}"
    status, answer = await scene.peer.ask("GET", path, key=other)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
