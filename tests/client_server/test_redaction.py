"""Redactions: what is taken back is gone.

https://spec.matrix.org/v1.19/client-server-api/#redactions
"""

import pytest

from homeserver.storage.pool import Database
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
