"""Who is put out of a room with all that they said.

https://github.com/matrix-org/matrix-spec-proposals/pull/4293
"""

import itertools
from typing import Any

import pytest

from tests.remains import remains
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"
FLAG = "org.matrix.msc4293.redact_events"
_numbers = itertools.count()


async def room_of(ann: Client, *others: Client, **more: Any) -> str:
    body = {"preset": "public_chat", "room_version": "11", **more}
    room_id = str((await ann.post(f"{V3}/createRoom", body)).ok()["room_id"])
    for other in others:
        (await other.post(f"{V3}/join/{room_id}", {}, server_name=ann.hearth.name)).ok()
    return room_id


async def say(who: Client, room_id: str, text: str) -> str:
    path = f"{V3}/rooms/{room_id}/send/m.room.message/{next(_numbers)}"
    body = {"msgtype": "m.text", "body": text}
    return str((await who.put(path, body)).ok()["event_id"])


async def shown(who: Client, room_id: str, event_id: str) -> Any:
    return (await who.get(f"{V3}/rooms/{room_id}/event/{event_id}")).json


@pytest.mark.parametrize("how", ["ban", "kick"])
async def test_all_since_they_came_is_gone(hearth: Hearth, how: str) -> None:
    ann, eve = await hearth.user("ann"), await hearth.user("eve")
    room_id = await room_of(ann, eve)
    before = await say(eve, room_id, "decent")
    (await eve.post(f"{V3}/rooms/{room_id}/leave")).ok()
    (await eve.post(f"{V3}/join/{room_id}")).ok()
    first = await say(eve, room_id, "spammy")
    (await eve.put(f"{V3}/profile/{eve.user_id}/displayname", {"displayname": "spammy eve"})).ok()
    others = await say(ann, room_id, f'not "sender":"{eve.user_id}"')
    last = await say(eve, room_id, "spammy")
    body = {"user_id": eve.user_id, "reason": "spam", FLAG: True}
    (await ann.post(f"{V3}/rooms/{room_id}/{how}", body)).ok()

    async def cleared() -> bool:
        found = await remains(hearth.parts.base.process.database, "spammy")
        return found <= {"profiles.fields", "user_words.word"}

    await eventually(cleared)
    for event_id in (first, last):
        event = await shown(ann, room_id, event_id)
        assert event["content"] == {}
        because = event["unsigned"]["redacted_because"]
        assert because["type"] == "m.room.member"
        assert because["sender"] == ann.user_id
        assert because["content"]["reason"] == "spam"
        assert because["content"][FLAG] is True
    for event_id in (before, others):
        assert (await shown(ann, room_id, event_id))["content"]["body"]


async def test_only_who_may_redact(hearth: Hearth) -> None:
    """Others put out, and nothing more; without the flag nobody does more."""
    ann, bob, eve, joe = [await hearth.user(name) for name in ("ann", "bob", "eve", "joe")]
    levels = {"users": {ann.user_id: 100, bob.user_id: 50}, "redact": 60}
    room_id = await room_of(ann, bob, eve, joe, power_level_content_override=levels)
    eves, joes = await say(eve, room_id, "here I am"), await say(joe, room_id, "me too")
    for who, target, flag in ((bob, eve, {FLAG: True}), (ann, joe, {FLAG: False})):
        body = {"user_id": target.user_id, **flag}
        (await who.post(f"{V3}/rooms/{room_id}/ban", body)).ok()
    async with hearth.parts.base.process.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM clearings") == 0
    assert (await shown(ann, room_id, eves))["content"]["body"] == "here I am"
    assert (await shown(ann, room_id, joes))["content"]["body"] == "me too"
    bad = {"user_id": joe.user_id, FLAG: "yes"}
    assert (await ann.post(f"{V3}/rooms/{room_id}/ban", bad)).status == 400


async def test_until_they_are_let_back_in(hearth: Hearth) -> None:
    """A clearing that has not come far ends when it counts no more."""
    ann, eve = await hearth.user("ann"), await hearth.user("eve")
    room_id = await room_of(ann, eve)
    body = {"user_id": eve.user_id, FLAG: True}
    (await ann.post(f"{V3}/rooms/{room_id}/ban", body)).ok()
    (await ann.post(f"{V3}/rooms/{room_id}/unban", {"user_id": eve.user_id})).ok()
    (await eve.post(f"{V3}/join/{room_id}")).ok()
    said = await say(eve, room_id, "better now")
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("UPDATE clearings SET done = false, reached = NULL, claimed_until = 0")
    while await hearth.parts.writing.clearing.next():
        pass
    assert (await shown(ann, room_id, said))["content"]["body"] == "better now"


async def arrived(who: Client, room_id: str, event_id: str) -> None:
    async def there() -> bool:
        return (await who.get(f"{V3}/rooms/{room_id}/event/{event_id}")).status == 200

    await eventually(there)


async def gone(hearth: Hearth) -> None:
    async def found() -> bool:
        return not await remains(hearth.parts.base.process.database, "spammy")

    await eventually(found)


async def test_on_the_other_server(pair: tuple[Hearth, Hearth]) -> None:
    one, two = pair
    ann, eve = await one.user("ann"), await two.user("eve")
    room_id = await room_of(ann, eve)
    await arrived(ann, room_id, await say(eve, room_id, "spammy"))
    (await ann.post(f"{V3}/rooms/{room_id}/ban", {"user_id": eve.user_id, FLAG: True})).ok()
    await gone(one)
    await gone(two)


async def test_what_comes_late(
    pair: tuple[Hearth, Hearth], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not shown, and does not stay as it came."""
    one, two = pair
    ann, eve = await one.user("ann"), await two.user("eve")
    room_id = await room_of(ann, eve)
    await arrived(ann, room_id, await say(eve, room_id, "spammy"))

    async def nobody(*_: Any) -> list[Any]:
        return []

    # Eve's server does not hear of the ban.
    monkeypatch.setattr(one.parts.federating.sending, "_addressed", nobody)
    (await ann.post(f"{V3}/rooms/{room_id}/ban", {"user_id": eve.user_id, FLAG: True})).ok()
    late = await say(eve, room_id, "spammy and late")

    async def came() -> bool:
        async with one.parts.base.process.database.reader() as conn:
            query = """
                SELECT e.redacted_by IS NOT NULL
                  FROM events e JOIN event_ids i ON i.event_nid = e.event_nid
                 WHERE i.event_id = $1 AND e.fate = 1"""
            return bool(await conn.fetchval(query, late))

    await eventually(came)
    await gone(one)
