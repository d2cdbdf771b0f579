"""Clients that follow `/sync` through random limits, lost answers and federation know the truth.

See `models`: how long, and where it begins.
"""

import json
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
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Client


@dataclass
class Room:
    """A room as a client knows it."""

    membership: str = ""
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=list)
    """Event IDs without a gap, up to the last one."""
    before: str | None = None
    """Where the timeline begins, if that was told."""

    def join(self, section: dict[str, Any], *, is_lazy: bool) -> None:
        if self.membership != "join":
            self.state, self.timeline, self.before = {}, [], None
        self.membership = "join"
        self._read_on(section)
        if is_lazy:
            people = {("m.room.member", e["sender"]) for e in section["timeline"]["events"]}
            assert people <= self.state.keys(), "somebody speaks who is not known"

    def leave(self, section: dict[str, Any]) -> None:
        self._read_on(section)
        self.membership = "leave"

    def _read_on(self, section: dict[str, Any]) -> None:
        timeline = section["timeline"]
        events = timeline["events"]
        ids = [event["event_id"] for event in events]
        if timeline.get("limited"):
            self.timeline, self.before = ids, timeline["prev_batch"]
        else:
            assert not set(ids) & set(self.timeline), "an event was told twice"
            self.timeline += ids
        if "state_after" in section:
            changes = section["state_after"]["events"]
        else:
            changes = [*section["state"]["events"], *(e for e in events if "state_key" in e)]
        for event in changes:
            self.state[event["type"], event["state_key"]] = event["event_id"]


@dataclass
class Model:
    """A client, and what it has been told."""

    client: Client
    random: random.Random
    device: Device
    is_lazy: bool = False
    after: bool = False
    """Whether it wants the state after the timeline."""
    bores: Sequence[str] = ()
    """Whom they ignore now and then."""
    since: str | None = None
    rooms: dict[str, Room] = field(default_factory=dict)

    async def ask(self, limit: int, *, is_lost: bool = False) -> None:
        room = {"timeline": {"limit": limit}, "state": {"lazy_load_members": self.is_lazy}}
        query = {"timeout": "0", "filter": json.dumps({"room": room})}
        if self.since:
            query["since"] = self.since
            self.device.acknowledge()
        if self.after:
            query["use_state_after"] = "true"
        found = (await self.client.get(f"{V3}/sync", **query)).ok()
        if is_lost:
            return
        self.since = found["next_batch"]
        rooms = found.get("rooms", {})
        for room_id, section in rooms.get("join", {}).items():
            self._room(room_id).join(section, is_lazy=self.is_lazy)
        for room_id, section in rooms.get("leave", {}).items():
            self._room(room_id).leave(section)
        for room_id in rooms.get("invite", {}):
            self._room(room_id).membership = "invite"
        messages = found.get("to_device", {}).get("events", [])
        await self.device.read(messages, found.get("device_lists", {}))

    def _room(self, room_id: str) -> Room:
        return self.rooms.setdefault(room_id, Room())

    async def ask_something(self) -> None:
        if self.bores and self.random.random() < FORGETS:
            await ignore_some(self.client, self.bores, self.random)
            self._begin_anew()
        if self.random.random() < FORGETS:
            self._begin_anew()
        limit = self.random.choice([1, 1, 2, 3, 10])
        await self.ask(limit, is_lost=self.random.random() < 0.3)

    def _begin_anew(self) -> None:
        self.since, self.rooms = None, {}
        self.device.begin_anew()

    async def check(self) -> None:
        """Read on, and compare what is known with what the rooms say."""
        await twice(lambda: self.ask(self.random.choice([1, 5, 50])), self._compare)

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
            # Of those who said nothing, it is not told what became of them.
            assert _without_members(room.state) == _without_members(truth)
        else:
            assert room.state == truth
        last = await last_events(self.client, room_id, 60)
        known = room.timeline[-50:]
        assert known == last[len(last) - len(known) :], (known, last)
        if room.before and len(known) < 50:
            earlier = await last_events(self.client, room_id, 5, room.before)
            whole = last[: len(last) - len(known)]
            assert earlier == whole[len(whole) - len(earlier) :], "the gap does not close"


def _without_members(state: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: event for key, event in state.items() if key[0] != "m.room.member"}


async def test_what_is_told_is_true(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with two_servers(postgres, tmp_path, loopback_authority) as servers:
        world = await World.on(*servers)
        ann, bob, cat, _ = world.people
        bores = [ann.user_id, cat.user_id]
        await world.go_on(
            [
                Model(
                    who,
                    world.random,
                    world.device(who),
                    is_lazy=who is cat,
                    after=who is not bob,
                    bores=bores if who is bob else (),
                )
                for who in world.people
            ]
        )
