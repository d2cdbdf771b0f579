"""Clients that follow sliding sync through random windows, limits and lost answers know the truth.

See `models`: how long, and where it begins.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client_server.models import (
    FORGETS,
    V3,
    Device,
    World,
    asked_into,
    ignore_some,
    joined_rooms,
    last_events,
    twice,
    two_servers,
)
from tests.client_server.test_sliding_sync import sliding
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Client

EVERYTHING = {"required_state": [["*", "*"]], "timeline_limit": 3, "ranges": [[0, 99]]}
LAZY = [["m.room.member", "$LAZY"]]


@dataclass
class Room:
    """A room as a client knows it."""

    membership: str = ""
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=list)
    """Event IDs without a gap, up to the last one."""
    name: str | None = None
    joined: int = 0

    def apply(self, section: dict[str, Any], *, is_lazy: bool) -> None:
        if section.get("initial"):
            self.state, self.timeline, self.name = {}, [], None
        if is_lazy and section.get("limited"):
            self.state = {}  # what was cached may be out of date
        self.membership = section["membership"]
        for event in section.get("required_state", ()):
            key = event["type"], event["state_key"]
            if "event_id" in event:
                self.state[key] = event["event_id"]
            else:
                self.state.pop(key, None)
        events = [event["event_id"] for event in section.get("timeline", ())]
        if section.get("limited") or section.get("expanded_timeline"):
            self.timeline = events
        else:
            assert not set(events) & set(self.timeline), "an event was told twice"
            self.timeline += events
        self.name = section.get("name", self.name)
        self.joined = section.get("joined_count", self.joined)
        if is_lazy and self.membership == "join":
            people = {("m.room.member", e["sender"]) for e in section.get("timeline", ())}
            assert people <= self.state.keys(), "somebody speaks who is not known"


@dataclass
class Model:
    """A client, and what it has been told."""

    client: Client
    random: random.Random
    device: Device
    is_lazy: bool = False
    bores: Sequence[str] = ()
    """Whom they ignore now and then."""
    pos: str | None = None
    since: str | None = None
    """Of messages to the device."""
    rooms: dict[str, Room] = field(default_factory=dict)

    async def ask(self, lists: dict[str, Any], *, is_lost: bool = False) -> None:
        to_device = {"enabled": True} | ({"since": self.since} if self.since else {})
        extensions = {"e2ee": {"enabled": True}, "to_device": to_device}
        if self.since:
            self.device.acknowledge()
        found = await sliding(self.client, {"lists": lists, "extensions": extensions}, self.pos)
        if is_lost:
            return
        self.pos, told = found["pos"], found["extensions"]
        self.since = told["to_device"]["next_batch"]
        lists_of_devices = told["e2ee"].get("device_lists", {})
        await self.device.read(told["to_device"]["events"], lists_of_devices)
        for room_id, section in found["rooms"].items():
            self.rooms.setdefault(room_id, Room()).apply(section, is_lazy=self.is_lazy)

    async def ask_something(self) -> None:
        if self.bores and self.random.random() < FORGETS:
            await ignore_some(self.client, self.bores, self.random)
            self._begin_anew()
        if self.random.random() < FORGETS:
            self._begin_anew()
        states: list[Any] = [LAZY] if self.is_lazy else [[], *[[["*", "*"]]] * 4]
        lists = {
            str(number): {
                "ranges": [[0, self.random.choice([0, 0, 1, 5])]],
                "timeline_limit": self.random.choice([0, 1, 3, 3, 3, 8]),
                "required_state": self.random.choice(states),
            }
            for number in range(self.random.choice([1, 1, 2]))
        }
        await self.ask(lists, is_lost=self.random.random() < 0.3)

    def _begin_anew(self) -> None:
        self.pos, self.since, self.rooms = None, None, {}
        self.device.begin_anew()

    async def check(self) -> None:
        """Ask for everything, and compare it with what the rooms say."""
        wanted = EVERYTHING | ({"required_state": LAZY} if self.is_lazy else {})
        await twice(lambda: self.ask({"all": wanted}), self._compare)

    async def _compare(self) -> None:
        await self.device.check()
        joined = await joined_rooms(self.client)
        assert {r for r, room in self.rooms.items() if room.membership == "join"} == joined
        invited = {r for r, room in self.rooms.items() if room.membership == "invite"}
        assert invited == await asked_into(self.client)
        for room_id in joined:
            await self._check_room(room_id, self.rooms[room_id])

    async def _check_room(self, room_id: str, room: Room) -> None:
        path = f"{V3}/rooms/{room_id}"
        state = (await self.client.get(f"{path}/state")).ok()
        truth = {(e["type"], e["state_key"]): e["event_id"] for e in state}
        if self.is_lazy:
            assert room.state.items() <= truth.items()
        else:
            assert room.state == truth
        by_key = {(e["type"], e["state_key"]): e["content"] for e in state}
        assert room.name == by_key.get(("m.room.name", ""), {}).get("name")
        members = [c for (kind, _), c in by_key.items() if kind == "m.room.member"]
        assert room.joined == sum(c["membership"] == "join" for c in members)
        last = await last_events(self.client, room_id, 50)
        known = room.timeline[-50:]
        # What ignored people say counts among the three, though it is not shown.
        if len(known) < min(3, len(last)) and not self.bores:
            # Where a server came into the room anew there is a gap, which only those fill who read.
            first = (await self.client.get(f"{path}/event/{known[0]}")).ok()
            assert first["content"].get("membership") == "join", (known, last)
        assert known == last[len(last) - len(known) :], (known, last)


async def test_what_is_told_is_true(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with two_servers(postgres, tmp_path, loopback_authority) as servers:
        world = await World.on(*servers)
        ann, bob, lazy, _ = world.people
        bores = [ann.user_id, lazy.user_id]
        await world.go_on(
            [
                Model(
                    who,
                    world.random,
                    world.device(who),
                    is_lazy=who is lazy,
                    bores=bores if who is bob else (),
                )
                for who in world.people
            ]
        )
