"""Whoever invites too many is held up, whichever way they go about it.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from tests.database import Server
from tests.servers import Answer, Client, Hearth, own_database, serving, test_settings

V3 = "/_matrix/client/v3"
SENT, RECEIVED = 4, 2


class Scene(NamedTuple):
    """Mallory may invite a little, and nobody is invited often."""

    hearth: Hearth
    mallory: Client
    room_id: str

    async def invite(self, way: str, user_id: str) -> Answer:
        """Invite somebody into the room, or into a new one."""
        invitation: dict[str, Any] = {"membership": "invite"}
        path = f"{V3}/rooms/{self.room_id}"
        match way:
            case "invite":
                return await self.mallory.post(f"{path}/invite", {"user_id": user_id})
            case "state":
                return await self.mallory.put(f"{path}/state/m.room.member/{user_id}", invitation)
            case "room":
                return await self.mallory.post(f"{V3}/createRoom", {"invite": [user_id]})
        entry = {"type": "m.room.member", "state_key": user_id, "content": invitation}
        return await self.mallory.post(f"{V3}/createRoom", {"initial_state": [entry]})


@pytest.fixture
async def scene(postgres: Server, tmp_path: Path) -> AsyncIterator[Scene]:
    limits = RateLimits(
        invites_by_sender=Rate.parse(f"{SENT}/1h"), invites_to_user=Rate.parse(f"{RECEIVED}/1h")
    )
    settings = test_settings("hearth.test", tmp_path, rate_limits=limits)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as hearth,
    ):
        mallory = await hearth.user("mallory")
        room_id = (await mallory.post(f"{V3}/createRoom")).ok()["room_id"]
        yield Scene(hearth, mallory, room_id)


@pytest.mark.parametrize("way", ["invite", "state", "room", "initial_state"])
async def test_invitations_by_one_person(scene: Scene, way: str) -> None:
    """The others of the way count, too, and whoever else invites is not held up."""
    people = [await scene.hearth.user(f"p{number}") for number in range(SENT + 1)]
    for person in people[:SENT]:
        assert (await scene.invite(way, person.user_id)).status == 200
    for other in ("invite", "state", "room", "initial_state"):
        late = await scene.invite(other, people[-1].user_id)
        assert (late.status, late.errcode) == (429, "M_LIMIT_EXCEEDED")
        assert late.json["retry_after_ms"] > 0
    assert "invite" not in (await people[-1].get(f"{V3}/sync", timeout=0)).ok().get("rooms", {})
    wish = {"invite": [people[-1].user_id]}
    assert (await people[0].post(f"{V3}/createRoom", wish)).status == 200


async def test_invitations_of_one_person(scene: Scene) -> None:
    """Of whoever they come: somebody is left in peace."""
    victim, other = await scene.hearth.user("victim"), await scene.hearth.user("other")
    wish = {"invite": [victim.user_id]}
    assert [
        (await scene.mallory.post(f"{V3}/createRoom", wish)).status for _ in range(RECEIVED + 1)
    ] == [200] * RECEIVED + [429]
    assert (await other.post(f"{V3}/createRoom", wish)).status == 429
    invited = (await victim.get(f"{V3}/sync", timeout=0)).ok()["rooms"]["invite"]
    assert len(invited) == RECEIVED


async def test_a_large_room(scene: Scene) -> None:
    """More than one may invite at once come with one new room, and with no second."""
    people = [(await scene.hearth.user(f"p{number}")).user_id for number in range(2 * SENT)]
    assert (await scene.mallory.post(f"{V3}/createRoom", {"invite": people})).status == 200
    assert (await scene.mallory.post(f"{V3}/createRoom", {"invite": people[:1]})).status == 429
    assert (await scene.mallory.post(f"{V3}/createRoom", {})).status == 200
