"""Redactions: what is taken back is gone.

https://spec.matrix.org/v1.19/client-server-api/#redactions
"""

import pytest

from federation.errors import HttpError
from homeserver.storage.pool import Database
from tests.remains import remains
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"


async def room_of(ann: Client, *others: Client, version: str = "12") -> str:
    made = (
        await ann.post(f"{V3}/createRoom", {"preset": "public_chat", "room_version": version})
    ).ok()
    for other in others:
        (await other.post(f"{V3}/join/{made['room_id']}", {}, server_name=ann.hearth.name)).ok()
    return str(made["room_id"])


async def say(who: Client, room_id: str, text: str) -> str:
    path = f"{V3}/rooms/{room_id}/send/m.room.message/{text}"
    return str((await who.put(path, {"msgtype": "m.text", "body": text})).ok()["event_id"])


async def stored(database: Database, text: str) -> int:
    async with database.reader() as conn:
        found: int = await conn.fetchval(
            "SELECT count(*) FROM events WHERE position($1::bytea IN json) > 0", text.encode()
        )
        return found


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
async def test_it_is_gone(hearth: Hearth, version: str) -> None:
    ann = await hearth.user("ann")
    room_id = await room_of(ann, version=version)
    event_id = await say(ann, room_id, "regrettable")
    path = f"{V3}/rooms/{room_id}/redact/{event_id}/1"
    redaction = (await ann.put(path, {"reason": "sorry"})).ok()["event_id"]
    found = (await ann.get(f"{V3}/rooms/{room_id}/event/{event_id}")).ok()
    assert found["content"] == {}
    because = found["unsigned"]["redacted_because"]
    assert because["event_id"] == redaction
    assert because["redacts"] == because["content"]["redacts"] == event_id
    assert because["content"]["reason"] == "sorry"
    assert await stored(hearth.parts.base.process.database, "regrettable") == 0


async def test_by_send(hearth: Hearth) -> None:
    """Since v1.18 it is an event like any other."""
    ann = await hearth.user("ann")
    room_id = await room_of(ann)
    event_id = await say(ann, room_id, "regrettable")
    path = f"{V3}/rooms/{room_id}/send/m.room.redaction/1"
    for wrong in ({}, {"redacts": 5}, {"redacts": "x"}, {"redacts": "\0"}, {"redacts": "$\0"}):
        answer = await ann.put(path, wrong)
        assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")
    (await ann.put(path, {"redacts": event_id})).ok()
    assert (await ann.get(f"{V3}/rooms/{room_id}/event/{event_id}")).ok()["content"] == {}


async def test_in_the_database_of_another_server(pair: tuple[Hearth, Hearth]) -> None:
    ann, bob = await pair[0].user("ann"), await pair[1].user("bob")
    room_id = await room_of(ann, bob)
    event_id = await say(ann, room_id, "regrettable")
    path = f"{V3}/rooms/{room_id}/event/{event_id}"

    async def arrived() -> bool:
        return (await bob.get(path)).status == 200

    await eventually(arrived)
    (await ann.put(f"{V3}/rooms/{room_id}/redact/{event_id}/1")).ok()

    async def gone() -> bool:
        return bool((await bob.get(path)).json.get("content") == {})

    await eventually(gone)
    assert await stored(pair[1].parts.base.process.database, "regrettable") == 0


async def test_who_may(hearth: Hearth) -> None:
    """Anybody may send a redaction of their own; of others' only who has the level."""
    ann, bob, eve = [await hearth.user(name) for name in ("ann", "bob", "eve")]
    room_id = await room_of(ann, bob, eve)
    said = await say(bob, room_id, "mine")
    path = f"{V3}/rooms/{room_id}/redact/{said}"
    assert (await eve.put(f"{path}/1")).errcode == "M_FORBIDDEN"
    assert (await ann.get(f"{V3}/rooms/{room_id}/event/{said}")).ok()["content"] != {}
    (await ann.put(f"{path}/2")).ok()
    assert (await ann.get(f"{V3}/rooms/{room_id}/event/{said}")).ok()["content"] == {}


async def test_nothing_is_left_of_it(hearth: Hearth) -> None:
    """In no table, and in nothing that PostgreSQL knows about the tables."""
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    database = hearth.parts.base.process.database
    room_id = await room_of(ann, bob)
    path = f"{V3}/rooms/{room_id}"
    pusher = {
        "kind": "http",
        "app_id": "app",
        "pushkey": "key",
        "app_display_name": "app",
        "device_display_name": "device",
        "lang": "en",
        "data": {"url": "https://127.0.0.1:1/_matrix/push/v1/notify"},
    }
    (await bob.post(f"{V3}/pushers/set", pusher)).ok()
    root = await say(ann, room_id, "root")
    secret = {"msgtype": "m.text", "body": "firstsecret bob"}
    thread = {"rel_type": "m.thread", "event_id": root}
    content = {**secret, "m.relates_to": thread, "m.mentions": {"user_ids": [bob.user_id]}}
    send = f"{path}/send/m.room.message"
    delayed = {"org.matrix.msc4140.delay": "1"}
    (await ann.put(f"{send}/d", {**secret, "body": "latersecret"}, **delayed)).ok()
    said = (await ann.put(f"{send}/s", content)).ok()["event_id"]
    new = {"msgtype": "m.text", "body": "newsecret"}
    edit = {
        **new,
        "body": "* newsecret",
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": said},
    }
    edited = (await ann.put(f"{send}/e", edit)).ok()["event_id"]
    (await bob.post(f"{path}/report/{said}", {"reason": "no"})).ok()
    reaction = {"rel_type": "m.annotation", "event_id": said, "key": "keysecret"}
    react = f"{path}/send/m.reaction/1"
    reacted = (await bob.put(react, {"m.relates_to": reaction})).ok()["event_id"]

    async def sent_later() -> str | None:
        chunk = (await ann.get(f"{path}/messages", dir="b", limit=50)).ok()["chunk"]
        return next(
            (e["event_id"] for e in chunk if e["content"].get("body") == "latersecret"), None
        )

    later = await eventually(sent_later)
    async with database.reader() as conn:
        await conn.execute("ANALYZE")
    for number, (event_id, text) in enumerate(
        [
            (said, "firstsecret"),
            (edited, "newsecret"),
            (later, "latersecret"),
            (reacted, "keysecret"),
        ]
    ):
        assert "events.json" in await remains(database, text)
        (await ann.put(f"{path}/redact/{event_id}/{number}")).ok()
        left = await remains(database, text)
        assert {place for place in left if not place.startswith("a sample of ")} == set()
        assert "a sample of events.json" not in left
    async with database.reader() as conn:
        await conn.execute("ANALYZE")
    assert await remains(database, "secret") == set()


async def test_what_was_to_be_sent_goes_without_it(
    pair: tuple[Hearth, Hearth], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a server that was away, and in the transaction that it did not answer."""
    one, two = pair
    ann, bob = await one.user("ann"), await two.user("bob")
    room_id = await room_of(ann, bob)
    database = one.parts.base.process.database
    client = one.parts.federating.peers.client
    sent: list[str] = []
    put = client.put_json

    async def fails(server: str, target: str, body: object, **more: object) -> object:
        sent.append(str(body))
        raise HttpError(503, "M_UNKNOWN", "away")

    monkeypatch.setattr(client, "put_json", fails)
    said = await say(ann, room_id, "regrettable")

    async def waits() -> bool:
        return len(sent) > 1 and "destinations.txn_content" in await remains(
            database, "regrettable"
        )

    await eventually(waits)
    (await ann.put(f"{V3}/rooms/{room_id}/redact/{said}/1")).ok()
    assert await remains(database, "regrettable") == {"sent.txn_id"}
    retried = len(sent)

    async def again() -> bool:
        return len(sent) > retried + 1

    await eventually(again)
    assert "regrettable" not in sent[-1]
    monkeypatch.setattr(client, "put_json", put)

    async def arrived() -> bool:
        found = await bob.get(f"{V3}/rooms/{room_id}/event/{said}")
        return found.status == 200 and found.json["content"] == {}

    await eventually(arrived)
