"""Single events, states and members."""

import json
from pathlib import Path

import pytest

from federation.identifiers import UserID
from federation.room_versions import V10
from homeserver.rooms.standings import Reader
from tests.client_server.stage import Stage, staged
from tests.database import Server
from tests.servers import Client, Hearth, own_database, serving, test_settings


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


@pytest.fixture
async def room(ann: Client) -> Stage:
    return await staged(ann, name="Hall")


async def test_an_event(room: Stage, ann: Client) -> None:
    event_id = await room.say(ann, "hello")
    event = (await ann.get(f"{room.path}/event/{event_id}")).ok()
    assert (event["event_id"], event["content"]["body"]) == (event_id, "hello")


async def test_what_a_state_event_replaced(room: Stage, ann: Client, bob: Client) -> None:
    first = (await ann.get(f"{room.path}/state/m.room.name", format="event")).ok()
    event_id = await room.state("m.room.name", {"name": "Attic"})
    unsigned = (await ann.get(f"{room.path}/event/{event_id}")).ok()["unsigned"]
    assert unsigned["replaces_state"] == first["event_id"]
    assert unsigned["prev_content"] == {"name": "Hall"}
    assert unsigned["prev_sender"] == ann.user_id
    join = await room.member(bob, "join")
    unsigned = (await bob.get(f"{room.path}/event/{join}")).ok()["unsigned"]
    assert unsigned.keys() == {"age", "membership", "io.element.msc4115.membership"}


async def test_the_membership_of_the_reader_at_the_event(
    room: Stage, ann: Client, bob: Client
) -> None:
    events = [await room.say(ann, "a")]
    await room.member(bob, "invite", ann)
    events.append(await room.say(ann, "b"))
    events.append(await room.member(bob, "join"))
    events.append(await room.say(ann, "c"))
    events.append(await room.member(bob, "leave"))
    found = [(await bob.get(f"{room.path}/event/{e}")).ok() for e in events]
    memberships = [event["unsigned"]["membership"] for event in found]
    assert memberships == ["leave", "invite", "join", "join", "leave"]


async def test_the_transaction_id_is_for_the_sending_device(
    room: Stage, hearth: Hearth, ann: Client
) -> None:
    other = await ann.log_in_again("OTHER")
    assert ann.token
    session = await hearth.parts.accounts.sessions.get(ann.token)
    content = {"msgtype": "m.text", "body": "hello"}
    event_id = await room.send(ann, "m.room.message", content, once=(session.device, "txn/1"))
    path = f"{room.path}/event/{event_id}"
    assert (await ann.get(path)).ok()["unsigned"]["transaction_id"] == "txn/1"
    assert "transaction_id" not in (await other.get(path)).ok()["unsigned"]


async def test_an_event_of_another_room(ann: Client, room: Stage, bob: Client) -> None:
    theirs = await staged(bob)
    event_id = await theirs.say(bob, "hello")
    assert (await ann.get(f"{room.path}/event/{event_id}")).status == 404


async def test_the_state(room: Stage, ann: Client) -> None:
    state = (await ann.get(f"{room.path}/state")).ok()
    found = {(e["type"], e["state_key"]): e["content"] for e in state}
    assert found[("m.room.name", "")] == {"name": "Hall"}
    assert ("m.room.create", "") in found
    assert len(found) == len(state)


@pytest.mark.parametrize("slash", ["", "/"])
async def test_an_entry_of_the_state(room: Stage, ann: Client, slash: str) -> None:
    path = f"{room.path}/state/m.room.name{slash}"
    assert (await ann.get(path)).ok() == {"name": "Hall"}
    event = (await ann.get(path, format="event")).ok()
    assert (event["content"], event["state_key"]) == ({"name": "Hall"}, "")
    assert event["event_id"].startswith("$")
    assert (await ann.get(path, format="html")).errcode == "M_INVALID_PARAM"
    missing = await ann.get(f"{room.path}/state/m.room.topic{slash}")
    assert (missing.status, missing.errcode) == (404, "M_NOT_FOUND")


async def test_the_state_at_departure(room: Stage, ann: Client, bob: Client) -> None:
    await room.member(bob, "join")
    await room.state("m.room.topic", {"topic": "old"})
    await room.member(bob, "leave")
    await room.state("m.room.topic", {"topic": "new"})
    await room.state("org.example.later", {})
    assert (await bob.get(f"{room.path}/state/m.room.topic")).ok() == {"topic": "old"}
    assert (await bob.get(f"{room.path}/state/org.example.later")).status == 404
    types = {e["type"]: e["content"] for e in (await bob.get(f"{room.path}/state")).ok()}
    assert types["m.room.topic"] == {"topic": "old"}
    assert "org.example.later" not in types


async def test_members(room: Stage, ann: Client, bob: Client, hearth: Hearth) -> None:
    cat = await hearth.user("cat")
    await room.member(bob, "join")
    await room.member(cat, "invite", ann)
    before = (await ann.get(f"{room.path}/messages", dir="b", limit=1)).ok()["start"]
    await room.member(bob, "leave")

    async def members(**query: str) -> dict[str, str]:
        chunk = (await ann.get(f"{room.path}/members", **query)).ok()["chunk"]
        return {e["state_key"][1:4]: e["content"]["membership"] for e in chunk}

    now = {"ann": "join", "bob": "leave", "cat": "invite"}
    assert await members() == now
    assert await members(at=before) == now | {"bob": "join"}
    assert await members(membership="join") == {"ann": "join"}
    assert await members(not_membership="leave") == {"ann": "join", "cat": "invite"}
    assert await members(membership="leave", not_membership="join") == {
        "bob": "leave",
        "cat": "invite",
    }
    assert (await ann.get(f"{room.path}/members", membership="x")).errcode == "M_INVALID_PARAM"
    await room.member(cat, "join")
    chunk = (await bob.get(f"{room.path}/members")).ok()["chunk"]
    assert {e["state_key"][1:4]: e["content"]["membership"] for e in chunk} == now


async def test_members_are_read_again_once_they_are_redacted(
    postgres: Server, tmp_path: Path
) -> None:
    """On every worker, whoever asked before."""
    async with (
        own_database(postgres, f"members_{id(tmp_path)}") as where,
        serving(test_settings("one.test", tmp_path), where, workers=2) as hearth,
    ):
        ann = await hearth.user("ann")
        room = await staged(ann)
        content = {"membership": "join", "displayname": "Ann the Great"}
        event = await room.send(ann, "m.room.member", content, ann.user_id)

        async def names() -> set[tuple[str | None, str | None]]:
            found = set()
            for worker in hearth.workers:
                assert worker.parts
                process = worker.parts.base.process
                async with process.database.reader() as conn:
                    users = await process.numbers.users.find(conn, [ann.user_id])
                reader = Reader(users[ann.user_id], UserID(ann.user_id))
                states = worker.parts.client_house.room_states
                (member,) = json.loads((await states.members(reader, room.room_id)).raw)
                joined = json.loads((await states.joined_members(reader, room.room_id)).raw)
                named = joined[ann.user_id].get("display_name")
                found.add((member["content"].get("displayname"), named))
            return found

        assert await names() == await names() == {("Ann the Great", "Ann the Great")}
        await ann.put(f"{room.path}/redact/{event}/t", {})
        assert await names() == {(None, None)}


async def test_joined_members(room: Stage, ann: Client, bob: Client) -> None:
    content = {"membership": "join", "displayname": "Bob", "avatar_url": {"not": "a string"}}
    await room.send(bob, "m.room.member", content, bob.user_id)
    found = (await ann.get(f"{room.path}/joined_members")).ok()
    assert found == {"joined": {ann.user_id: {}, bob.user_id: {"display_name": "Bob"}}}
    await room.member(bob, "leave")
    assert (await ann.get(f"{room.path}/joined_members")).ok() == {"joined": {ann.user_id: {}}}


async def test_redactions_name_their_target_in_both_places(hearth: Hearth, ann: Client) -> None:
    old, new = await staged(ann, V10), await staged(ann)
    for room in (old, new):
        target = await room.say(ann, "regret")
        redaction = await room.send(ann, "m.room.redaction", {"redacts": target})
        event = (await ann.get(f"{room.path}/event/{redaction}")).ok()
        if room is new:
            assert event["redacts"] == target
        assert event["content"]["redacts"] == target
