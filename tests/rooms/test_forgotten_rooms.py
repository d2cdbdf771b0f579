"""Rooms that nobody here wants any more are deleted, and no others."""

import pytest

from federation.identifiers import EventID, RoomID, UserID
from homeserver.app.housekeeping import tidy
from homeserver.rooms.purging import Purging
from homeserver.storage import forgotten_rooms, purging, received
from homeserver.storage.numbers import RoomNid
from tests.admin.test_purging import rows
from tests.admin.test_shutting_down import TABLES
from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth, eventually
from tests.statements import Asked

V3 = "/_matrix/client/v3"
NOTHING_LEFT = dict.fromkeys((*TABLES, "forgotten", "closing_rooms"), 0)


async def _left(hearth: Hearth, room: Stage) -> dict[str, int]:
    return {table: await rows(hearth, table, room) for table in NOTHING_LEFT}


async def _purge(hearth: Hearth, age: int = -1) -> int:
    """Purge what was forgotten that many milliseconds ago."""
    process = hearth.parts.base.process
    return await Purging(process).purge_forgotten(process.now() - age)


async def _number(hearth: Hearth, room: Stage) -> RoomNid:
    async with hearth.parts.base.process.database.reader() as conn:
        return RoomNid(
            await conn.fetchval("SELECT room_nid FROM rooms WHERE room_id = $1", room.room_id)
        )


async def _age(hearth: Hearth, milliseconds: int) -> None:
    """So much time passes."""
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("UPDATE forgotten SET forgotten_ts = forgotten_ts - $1", milliseconds)


async def _leave(user: Client, room: Stage) -> None:
    (await user.post(f"{room.path}/leave")).ok()
    (await user.post(f"{room.path}/forget")).ok()


async def test_what_everybody_left_and_forgot(hearth: Hearth, asked: Asked) -> None:
    ann, ben, cat = [await hearth.user(name) for name in ("ann", "ben", "cat")]
    room, kept = await staged(ann), await staged(ann)
    (await ann.post(f"{room.path}/invite", {"user_id": cat.user_id})).ok()
    (await ben.post(f"{room.path}/join")).ok()
    await room.say(ben, "hello")
    await _leave(ann, room)
    assert await _purge(hearth) == 0, "ben is in it"
    (await ben.post(f"{room.path}/leave")).ok()
    assert await _purge(hearth) == 0, "ben can read what was there"
    (await ben.post(f"{room.path}/forget")).ok()
    assert await _purge(hearth) == 0, "cat is invited"
    await _leave(cat, room)
    assert await _purge(hearth, 60_000) == 0, "too soon"
    await tidy(hearth.parts)
    assert (await _left(hearth, room))["events"] > 0
    await _age(hearth, 29 * 86_400_000)
    await tidy(hearth.parts)
    assert await _left(hearth, room) == NOTHING_LEFT
    assert (await ann.get(f"{kept.path}/state")).status == 200
    assert (await ben.post(f"{room.path}/join")).status == 404
    # Nothing to do costs one statement.
    assert len(await asked.by(lambda: _purge(hearth))) == 1


async def test_whose_account_ends_forgets(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await staged(ann)
    memberships = hearth.parts.writing.memberships
    user_id = UserID(ann.user_id)
    await memberships.leave_all(await hearth.parts.base.process.number_of(user_id), user_id)
    assert await _purge(hearth) == 1
    assert await _left(hearth, room) == NOTHING_LEFT


async def test_what_was_begun_is_finished(hearth: Hearth) -> None:
    """A server that ends while it deletes goes on when it is there again."""
    ann = await hearth.user("ann")
    room = await staged(ann)
    await _leave(ann, room)
    async with hearth.parts.base.process.database.reader() as conn:
        await purging.close_room(conn, await _number(hearth, room))
    assert (await _left(hearth, room))["events"] > 0
    await tidy(hearth.parts)
    assert await _left(hearth, room) == NOTHING_LEFT


async def _theirs(pair: tuple[Hearth, Hearth]) -> tuple[Client, Client, Stage]:
    """A room of another server that somebody here was in, and forgot."""
    one, other = pair
    ann, zoe = await one.user("ann"), await other.user("zoe")
    room = await staged(zoe)
    (await ann.post(f"{V3}/join/{room.room_id}", server_name=other.name)).ok()
    await room.say(zoe, "hello")

    async def is_whole() -> bool:
        return await rows(one, "partial_rooms", room) == 0

    async def is_told() -> bool:
        members = (await zoe.get(f"{room.path}/joined_members")).ok()["joined"]
        return ann.user_id not in members and await rows(one, "outgoing_events", room) == 0

    await eventually(is_whole, within=15)
    await _leave(ann, room)
    # What still has to be sent would stay.
    await eventually(is_told, within=15)
    return ann, zoe, room


@pytest.mark.parametrize("is_begun", [False, True])
async def test_who_joins_again_gets_it_from_others(
    pair: tuple[Hearth, Hearth], is_begun: bool
) -> None:
    """If the room is just being deleted, too."""
    one, other = pair
    ann, zoe, room = await _theirs(pair)
    if is_begun:
        async with one.parts.base.process.database.reader() as conn:
            await purging.close_room(conn, await _number(one, room))
    else:
        await eventually(lambda: _purge(one))
        assert await _left(one, room) == NOTHING_LEFT
    await room.say(zoe, "again")
    (await ann.post(f"{V3}/join/{room.room_id}", server_name=other.name)).ok()
    assert await _purge(one) == 0

    async def reads() -> bool:
        page = (await ann.get(f"{room.path}/messages", dir="b", limit=50)).ok()["chunk"]
        return {"hello", "again"} <= {event["content"].get("body") for event in page}

    await eventually(reads, within=15)
    assert (await ann.get(f"{room.path}/state")).status == 200
    said = {"msgtype": "m.text", "body": "!"}
    assert (await ann.put(f"{room.path}/send/m.room.message/5", said)).status == 200


async def test_what_comes_late_does_not_revive_a_room(pair: tuple[Hearth, Hearth]) -> None:
    one, other = pair
    _, zoe, room = await _theirs(pair)
    number = await _number(one, room)
    async with one.parts.base.process.database.reader() as conn:
        await purging.close_room(conn, number)
    said = EventID(await room.say(zoe, "late"))
    async with other.parts.base.process.database.reader() as conn:
        event = (await received.by_ids(conn, [said]))[said].event
    absorbing = one.parts.federating.absorbing
    assert await absorbing.absorb(RoomID(room.room_id), [event]) == {}
    await Purging(one.parts.base.process).finish(number)
    assert await _left(one, room) == NOTHING_LEFT


async def test_a_join_that_is_on_its_way_keeps_the_room(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = await staged(ann)
    await _leave(ann, room)
    process, number = hearth.parts.base.process, await _number(hearth, room)
    await _age(hearth, 60_000)
    await Purging(process).make_way(number)
    assert await _purge(hearth, 30_000) == 0
    async with process.database.reader() as conn:
        assert not await forgotten_rooms.is_closing(conn, number)


async def test_an_invitation_to_where_nobody_is_can_be_rejected(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await staged(ann)
    (await ann.post(f"{room.path}/invite", {"user_id": ben.user_id})).ok()
    await _leave(ann, room)
    since = (await ben.get(f"{V3}/sync")).ok()
    assert room.room_id in since["rooms"]["invite"]
    await _leave(ben, room)
    synced = (await ben.get(f"{V3}/sync")).ok()
    assert room.room_id not in synced.get("rooms", {}).get("invite", {})
    assert await _purge(hearth) == 1


async def test_others_hear_that_an_invitation_of_ours_is_rejected(
    pair: tuple[Hearth, Hearth],
) -> None:
    one, other = pair
    ann, ben = await one.user("ann"), await one.user("ben")
    zoe = await other.user("zoe")
    room = await staged(zoe)
    (await ann.post(f"{V3}/join/{room.room_id}", server_name=other.name)).ok()
    (await ann.post(f"{room.path}/invite", {"user_id": ben.user_id})).ok()

    async def stands(membership: str) -> bool:
        path = f"{room.path}/state/m.room.member/{ben.user_id}"
        answer = await zoe.get(path)
        return answer.status == 200 and answer.ok()["membership"] == membership

    await eventually(lambda: stands("invite"))
    await _leave(ann, room)
    (await ben.post(f"{room.path}/leave")).ok()
    assert await stands("leave")
