"""Large rooms of a stock Synapse are joined before their members are known, and ours by it.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from homeserver.rooms.completing import Completing
from homeserver.rooms.resident import Resident
from tests.interop.world import Person, World, agree, hear, until, versions

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop joining")]
_MEMBERS = 30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowds(between: World) -> AsyncIterator[dict[str, list[Person]]]:
    """Many people of each server."""
    yield {
        "hearth": [await between.ours("crowd") for _ in range(_MEMBERS)],
        "synapse": [await between.theirs("crowd") for _ in range(_MEMBERS)],
    }


async def _hall(crowd: list[Person], version: str) -> str:
    owner, *guests = crowd
    room_id = await owner.create(preset="public_chat", room_version=version, name="hall")
    await asyncio.gather(*(guest.join(room_id) for guest in guests))
    return room_id


def _names(members: Any) -> set[str]:
    return set(members["joined"])


@versions("6", "10", "12")
async def test_a_room_of_theirs(
    between: World,
    crowds: dict[str, list[Person]],
    version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We ask without members, talk, and have all of them soon."""
    begun: list[Any] = []
    begin = Completing.begin

    async def noted(self: Completing, *args: Any) -> None:
        begun.append(args)
        await begin(self, *args)

    monkeypatch.setattr(Completing, "begin", noted)
    monkeypatch.setattr("homeserver.rooms.federated._WHOLE_SECONDS", 0.0)
    owner, *rest = crowds["synapse"]
    room_id = await _hall(crowds["synapse"], version)
    guest = await between.ours()
    await guest.join(room_id, owner)
    assert begun
    await asyncio.gather(guest.say(room_id, "am I heard?"), rest[-1].say(room_id, "by me"))
    await hear(room_id, "am I heard?", owner)
    await hear(room_id, "by me", guest)
    everybody = {who.user_id for who in [owner, *rest, guest]}
    assert _names(await guest.get(f"/rooms/{room_id}/joined_members")) == everybody
    await agree(room_id, owner, guest)
    await between.agree_on_state_ids(room_id, owner, guest)


@versions("6", "10", "12")
async def test_a_room_of_ours(
    between: World,
    crowds: dict[str, list[Person]],
    version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It asks us without members, and has all of them soon."""
    omitted: list[bool] = []
    accept = Resident.accept

    async def noted(self: Resident, *args: Any, **more: Any) -> Any:
        omitted.append(more.get("omit_members", False))
        return await accept(self, *args, **more)

    monkeypatch.setattr(Resident, "accept", noted)
    owner, *rest = crowds["hearth"]
    room_id = await _hall(crowds["hearth"], version)
    guest = await between.theirs()
    await guest.join(room_id, owner)
    assert omitted == [True]
    await asyncio.gather(guest.say(room_id, "am I heard?"), rest[-1].say(room_id, "by me"))
    await hear(room_id, "am I heard?", owner)
    await hear(room_id, "by me", guest)
    everybody = {who.user_id for who in [owner, *rest, guest]}

    async def whole() -> bool:
        return _names(await guest.get(f"/rooms/{room_id}/joined_members")) == everybody

    await until(whole)
    await agree(room_id, owner, guest)
    await between.agree_on_state_ids(room_id, owner, guest)
