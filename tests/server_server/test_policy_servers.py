"""Rooms with a policy server, which here is the peer.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""

import asyncio
import json
from typing import Any

import pytest

from federation.hashing import essential_bytes
from federation.policy_server import POLICY_KEY_ID, with_policy_signature
from federation.signing import encode_base64
from tests.server_server.conftest import V3, Scene
from tests.servers import Answer


@pytest.fixture
async def policed(scene: Scene) -> Scene:
    """The room has named its policy server."""
    key = encode_base64(bytes(scene.peer.policy_key.verify_key))
    content = {"via": scene.peer.name, "public_keys": {"ed25519": key}}
    (await scene.ann.put(f"{scene.path}/state/m.room.policy", content)).ok()
    return scene


async def _say(scene: Scene, text: str, txn: str | None = None) -> Answer:
    path = f"{scene.path}/send/m.room.message/{txn or text}"
    return await scene.ann.put(path, {"msgtype": "m.text", "body": text})


async def _stored(scene: Scene, event_id: str) -> Any:
    status, answer = await scene.peer.ask("GET", f"/_matrix/federation/v1/event/{event_id}")
    assert status == 200, answer
    return answer["pdus"][0]


def _asked(scene: Scene) -> int:
    return scene.peer.asked.count("/_matrix/policy/v1/sign")


async def test_what_is_sent_carries_its_signature(policed: Scene) -> None:
    event_id = (await _say(policed, "good")).ok()["event_id"]
    event = await _stored(policed, event_id)
    assert POLICY_KEY_ID in event["signatures"][policed.peer.name]
    assert list(event["signatures"][policed.hearth.name])
    assert await policed.texts() == ["good"]


async def test_what_it_refuses_is_not_sent(policed: Scene) -> None:
    answer = await _say(policed, "spam")
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert answer.json["error"] == "this looks like spam"
    assert await policed.texts() == []


async def test_state_needs_it_too_but_not_the_policy_itself(policed: Scene) -> None:
    (await policed.ann.put(f"{policed.path}/state/m.room.topic", {"topic": "tea"})).ok()
    refused = await policed.ann.put(f"{policed.path}/state/m.room.topic", {"topic": "spam"})
    assert refused.status == 403
    before = _asked(policed)
    (await policed.ann.put(f"{policed.path}/state/m.room.policy", {"spam": True})).ok()
    assert _asked(policed) == before
    # Now there is none.
    (await _say(policed, "spam")).ok()
    assert await policed.texts() == ["spam"]


async def test_a_server_that_was_named_before_it_was_stable(scene: Scene) -> None:
    """MSC4284: under another type, with one key; where there is `m.room.policy`, that counts."""
    key = encode_base64(bytes(scene.peer.policy_key.verify_key))
    content: dict[str, Any] = {"via": scene.peer.name, "public_key": key}
    path = f"{scene.path}/state/org.matrix.msc4284.policy"
    (await scene.ann.put(path, content)).ok()
    assert (await _say(scene, "spam")).status == 403
    event = await _stored(scene, (await _say(scene, "good")).ok()["event_id"])
    assert POLICY_KEY_ID in event["signatures"][scene.peer.name]
    unstable = "/_matrix/policy/unstable/org.matrix.msc4284/sign"
    assert scene.peer.asked.count(unstable) == 2
    spam = scene.peer.say(scene.room, "spam", scene.peer.user("eve"))
    await scene.peer.send([spam])
    assert await scene.texts() == ["good"]
    asked = scene.peer.asked.count(unstable)
    (await scene.ann.put(path, {"public_keys": {"ed25519": key}, **content})).ok()
    assert scene.peer.asked.count(unstable) == asked, "of itself it is not asked"
    assert (await _say(scene, "spam")).status == 403
    (await scene.ann.put(f"{scene.path}/state/m.room.policy", {})).ok()
    (await _say(scene, "spam")).ok()


async def test_a_repeated_transaction_is_one_event(policed: Scene) -> None:
    both = await asyncio.gather(*(_say(policed, "good", "txn") for _ in range(3)))
    assert len({answer.ok()["event_id"] for answer in both}) == 1
    assert (await _say(policed, "good", "txn")).ok() == both[0].ok()
    assert await policed.texts() == ["good"]


async def test_nobody_asks_a_server_without_a_user_there(policed: Scene) -> None:
    eve = policed.peer.user("eve")
    path = f"{policed.path}/kick"
    (await policed.ann.post(path, {"user_id": eve})).ok()
    before = _asked(policed)
    (await _say(policed, "spam")).ok()
    assert _asked(policed) == before


async def test_what_does_not_answer_lets_nothing_through(policed: Scene) -> None:
    policed.peer.lies["sign"] = lambda _: None
    assert (await _say(policed, "good")).status == 403


@pytest.mark.parametrize("signature", ["AAAA", 5, None])
async def test_a_signature_that_is_none(policed: Scene, signature: Any) -> None:
    policed.peer.lies["sign"] = lambda _: {policed.peer.name: {POLICY_KEY_ID: signature}}
    assert (await _say(policed, "good")).status == 403


async def test_others_events_are_looked_at(policed: Scene) -> None:
    eve = policed.peer.user("eve")
    bare = policed.peer.say(policed.room, "bare", eve)
    assert (await policed.peer.send([bare]))[bare.event_id] == {}
    assert _asked(policed) >= 1
    assert await policed.texts() == ["bare"]
    refused = policed.peer.say(policed.room, "spam", eve)
    assert (await policed.peer.send([refused]))[refused.event_id] == {}
    assert await policed.texts() == ["bare"]
    shown = await policed.ann.get(f"{policed.path}/event/{refused.event_id}")
    assert shown.status == 404


async def test_a_good_signature_is_not_asked_for_again(policed: Scene) -> None:
    bare = policed.peer.say(policed.room, "signed", policed.peer.user("eve"))
    fields = json.loads(bare.json)
    signature = policed.peer.policy_key.sign(essential_bytes(fields, bare.version))
    signed = with_policy_signature(bare, policed.peer.name, signature)
    before = _asked(policed)
    await policed.peer.send([signed])
    assert _asked(policed) == before
    assert await policed.texts() == ["signed"]


async def test_invitations_are_asked_about(policed: Scene) -> None:
    bob = await policed.hearth.user("bob")
    before = _asked(policed)
    (await policed.ann.post(f"{policed.path}/invite", {"user_id": bob.user_id})).ok()
    assert _asked(policed) == before + 1
    (await bob.post(f"{V3}/join/{policed.room.room_id}")).ok()
