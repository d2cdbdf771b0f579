"""Hearth and a stock Synapse that cannot reach each other for a while, and then can.

Both go on alone, and end with the same state and the same messages. `HEARTH_SPLIT_EVENTS` is how
much each says meanwhile (120), `HEARTH_SPLIT` for how many seconds at least (0).
"""

import asyncio
import os

import pytest

from tests.interop.world import HOSTS, Person, World, agree, hear, until, versions

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop outages")]
EVENTS = int(os.environ.get("HEARTH_SPLIT_EVENTS", "120"))
SECONDS = float(os.environ.get("HEARTH_SPLIT", "0"))


async def _talk(who: Person, room_id: str, count: int) -> list[str]:
    """Messages, with changes of state between them."""
    said = [f"{who.user_id} says {number}" for number in range(count)]
    pause = SECONDS / count
    for number, text in enumerate(said):
        await asyncio.sleep(pause)
        await who.say(room_id, text)
        if number % 10 == 0:
            await who.set(room_id, "m.room.topic", {"topic": text})
            await who.set(room_id, "a.kind", {"by": who.user_id}, f"key {number}")
    return said


async def _room(
    world: World, host: str, version: str, *, equals: bool = True
) -> tuple[Person, Person, str]:
    """A room of two, who may both do everything if they are equals."""
    owner, guest = await world.both(host)
    room_id = await owner.create(preset="public_chat", room_version=version)
    await guest.join(room_id, owner)
    if equals:
        levels = await owner.content(room_id, "m.room.power_levels")
        levels["users"][guest.user_id] = 100
        await owner.set(room_id, "m.room.power_levels", levels)
    await agree(room_id, owner, guest)
    return owner, guest, room_id


@HOSTS
@versions("11")
async def test_each_goes_on_alone(between: World, host: str, version: str) -> None:
    owner, guest, room_id = await _room(between, host, version)
    async with between.apart():
        both = await asyncio.gather(*(_talk(who, room_id, EVENTS) for who in (owner, guest)))
    # Whoever speaks again is heard, and what was missed is asked for.
    for who in (owner, guest):
        await who.say(room_id, f"{who.user_id} is back")
    for who in (owner, guest):
        await hear(room_id, f"{who.user_id} is back", owner, guest)
    await agree(room_id, owner, guest)
    said = {text for texts in both for text in texts}

    async def heard(who: Person) -> bool:
        return set(await who.bodies(room_id, 4 * EVENTS)) >= said

    for who in (owner, guest):
        await until(lambda who=who: heard(who))  # type: ignore[misc]
    await between.agree_on_state_ids(room_id, owner, guest)


@HOSTS
@versions("11")
async def test_what_was_said_arrives_by_itself(between: World, host: str, version: str) -> None:
    """Nobody says anything after the outage: the sender comes back to it."""
    owner, guest, room_id = await _room(between, host, version)
    async with between.apart():
        await owner.say(room_id, "are you there?")
        await asyncio.sleep(0.5)
    # Synapse waits longer before it tries again, unless it hears of the other.
    if isinstance(owner.server, type(between.synapse)):
        other = await guest.create(preset="public_chat")
        await owner.join(other, guest)
        await guest.say(other, "here I am")
    await hear(room_id, "are you there?", guest)
    await agree(room_id, owner, guest)


@HOSTS
@versions("11")
async def test_a_ban_while_apart(between: World, host: str, version: str) -> None:
    """What somebody says who is banned meanwhile is not heard by those who know of it."""
    owner, guest, room_id = await _room(between, host, version, equals=False)
    async with between.apart():
        await owner.do("ban", room_id, guest)
        await guest.say(room_id, "not knowing")
    marker = await owner.create(preset="public_chat")
    await guest.join(marker, owner)
    await guest.say(marker, "heard")
    await hear(marker, "heard", owner)
    await owner.say(room_id, "after")

    async def out() -> bool:
        return room_id not in (await guest.get("/joined_rooms"))["joined_rooms"]

    await until(out)
    assert "not knowing" not in await owner.bodies(room_id)
