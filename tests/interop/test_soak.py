"""People of three servers who do as they like, all at once: in the end all servers agree.

`HEARTH_SOAK` is for how many seconds (20), `HEARTH_SOAK_PAUSE` how many pass between two things
that somebody does (0.25), `HEARTH_SEED` where chance begins.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.interop.world import Person, RefusedError, World, agree, hear, until, world
from tests.servers import Hearth, federating

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("interop soak")]
SECONDS = float(os.environ.get("HEARTH_SOAK", "20"))
SEED = int(os.environ.get("HEARTH_SEED", "1"))
VERSIONS = ["10", "11", "12"]
PAUSE = float(os.environ.get("HEARTH_SOAK_PAUSE", "0.25"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three(
    postgres: Server, tmp_path_factory: pytest.TempPathFactory, loopback_authority: Authority
) -> AsyncIterator[tuple[World, Hearth]]:
    """A Hearth and a Synapse, and one more Hearth."""
    folder = tmp_path_factory.mktemp("soak")
    async with (
        world(postgres, folder, loopback_authority) as found,
        federating(postgres, folder, loopback_authority, 3) as other,
    ):
        yield found, other


class Somebody:
    """Does one thing after the other in some rooms."""

    def __init__(self, who: Person, rooms: dict[str, Person], chance: random.Random) -> None:
        self.who = who
        self.said: dict[str, int] = {}
        """How many messages were accepted, by room."""
        self._rooms = rooms
        self._chance = chance
        self._doing: list[Callable[[str], Awaitable[object]]] = [
            *[self._say] * 12,
            *[self._set] * 3,
            self._topic,
            self._rename,
            self._leave,
            *[self._join] * 3,
        ]

    async def live(self, seconds: float) -> None:
        """Do things until the time is over; what is not allowed is not done."""
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            room_id = self._chance.choice(list(self._rooms))
            try:
                await self._chance.choice(self._doing)(room_id)
            except RefusedError as refused:
                if refused.status not in {400, 403, 404}:
                    raise
            await asyncio.sleep(self._chance.random() * 2 * PAUSE)

    async def _say(self, room_id: str) -> None:
        await self.who.say(room_id, f"{self.who.user_id} {self._chance.random()}")
        self.said[room_id] = self.said.get(room_id, 0) + 1

    async def _set(self, room_id: str) -> None:
        content = {"by": self.who.user_id, "is": self._chance.randrange(1000)}
        await self.who.set(room_id, "a.kind", content, f"key {self._chance.randrange(10)}")

    async def _topic(self, room_id: str) -> None:
        await self.who.set(room_id, "m.room.topic", {"topic": str(self._chance.random())})

    async def _rename(self, room_id: str) -> None:
        name = f"name {self._chance.randrange(1000)}"
        content = {"membership": "join", "displayname": name}
        await self.who.set(room_id, "m.room.member", content, self.who.user_id)

    async def _leave(self, room_id: str) -> None:
        # Owners stay, so that somebody can be joined through.
        if self._rooms[room_id] is not self.who:
            await self.who.do("leave", room_id)

    async def _join(self, room_id: str) -> None:
        await self.who.join(room_id, self._rooms[room_id])


async def _rooms(owners: list[Person]) -> dict[str, Person]:
    """A room of each, where everybody may set everything but the power levels."""
    found = {}
    for owner, version in zip(owners, VERSIONS, strict=True):
        override = {"state_default": 0, "events_default": 0}
        room_id = await owner.create(
            preset="public_chat", room_version=version, power_level_content_override=override
        )
        found[room_id] = owner
    return found


async def test_all_agree_in_the_end(three: tuple[World, Hearth]) -> None:
    with capture_logs() as said:
        await _live_and_agree(*three)
    assert [line for line in said if line["log_level"] in {"error", "critical"}] == []
    assert three[0].synapse.errors == []


async def _live_and_agree(between: World, other: Hearth) -> None:
    third = World(other, between.synapse, between.relays, 100)
    owners = [await between.ours(), await between.theirs(), await third.ours()]
    guests = [await make() for make in (between.ours, between.theirs, third.ours) for _ in range(6)]
    rooms = await _rooms(owners)
    for who in [*owners, *guests]:
        for room_id, owner in rooms.items():
            await who.join(room_id, owner)
    people = [
        Somebody(who, rooms, random.Random(SEED * 1000 + number))
        for number, who in enumerate([*owners, *guests])
    ]
    await asyncio.gather(*(somebody.live(SECONDS) for somebody in people))
    for room_id in rooms:
        # What was missed on the way is asked for with the next message.
        for owner in owners:
            await owner.join(room_id, rooms[room_id])
            await owner.say(room_id, f"last of {owner.user_id}")
        for owner in owners:
            await hear(room_id, f"last of {owner.user_id}", *owners)
        await agree(room_id, owners[0], owners[1])
        await agree(room_id, owners[0], owners[2])
        total = sum(somebody.said.get(room_id, 0) for somebody in people) + len(owners)

        async def all_heard(room_id: str = room_id, total: int = total) -> bool:
            counts = [len(await owner.bodies(room_id, 100_000)) for owner in owners[::2]]
            return counts == [total] * 2

        await until(all_heard)
    said = sum(sum(somebody.said.values()) for somebody in people)
    print(f"{said} messages of {len(people)} people")
