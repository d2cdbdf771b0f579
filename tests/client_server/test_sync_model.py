"""Clients that follow `/sync` through random limits, lost answers and federation know the truth.

HEARTH_MODEL_STEPS says for how long, HEARTH_MODEL_SEED where to begin.
"""

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.client_server.test_sliding_model import SEED, STEPS, Actions
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Client, Hearth, eventually, federating

V3 = "/_matrix/client/v3"


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
            self.state, self.timeline = {}, []
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
    is_lazy: bool = False
    after: bool = False
    """Whether it wants the state after the timeline."""
    since: str | None = None
    rooms: dict[str, Room] = field(default_factory=dict)

    async def ask(self, limit: int, *, is_lost: bool = False) -> None:
        room = {"timeline": {"limit": limit}, "state": {"lazy_load_members": self.is_lazy}}
        query = {"timeout": "0", "filter": json.dumps({"room": room})}
        if self.since:
            query["since"] = self.since
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

    def _room(self, room_id: str) -> Room:
        return self.rooms.setdefault(room_id, Room())

    async def ask_something(self) -> None:
        limit = self.random.choice([1, 1, 2, 3, 10])
        await self.ask(limit, is_lost=self.random.random() < 0.3)

    async def check(self) -> None:
        """Read on, and compare what is known with what the rooms say."""
        await self.ask(self.random.choice([1, 5, 50]))
        joined = (await self.client.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
        assert {r for r, room in self.rooms.items() if room.membership == "join"} == set(joined)
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
        last = await self._messages(room_id)
        known = room.timeline[-50:]
        assert known == last[len(last) - len(known) :], (known, last)
        if room.before and len(known) < 50:
            earlier = await self._messages(room_id, 5, room.before)
            whole = last[: len(last) - len(known)]
            assert earlier == whole[len(whole) - len(earlier) :], "the gap does not close"

    async def _messages(self, room_id: str, limit: int = 50, start: str = "") -> list[str]:
        """The IDs of the last events before some place, in order."""
        query = {"from": start} if start else {}
        path = f"{V3}/rooms/{room_id}/messages"
        page = (await self.client.get(path, dir="b", limit=str(limit), **query)).ok()
        return [event["event_id"] for event in reversed(page["chunk"])]


def _without_members(state: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: event for key, event in state.items() if key[0] != "m.room.member"}


async def _settle(rooms: list[str], people: list[Client], number: int) -> None:
    """Wait until each server has all that the other one sent."""
    for room_id in rooms:
        speakers = {}
        for person in people:
            joined = (await person.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
            if room_id in joined:
                speakers[person.hearth.name] = person
        if len(speakers) < 2:
            continue
        for speaker in speakers.values():
            path = f"{V3}/rooms/{room_id}/send/m.room.message/settle{number}"
            said = (await speaker.put(path, {"body": "", "msgtype": "m.text"})).ok()["event_id"]
            for listener in speakers.values():
                path = f"{V3}/rooms/{room_id}/event/{said}"

                async def hears(who: Client = listener, path: str = path) -> bool:
                    return (await who.get(path)).status == 200

                await eventually(hears, within=10)


@pytest.fixture
async def two_servers(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[tuple[Hearth, Hearth]]:
    """One with two workers, and one more."""
    async with (
        federating(postgres, tmp_path, loopback_authority, 1, workers=2) as one,
        federating(postgres, tmp_path, loopback_authority, 2) as other,
    ):
        yield one, other


async def test_what_is_told_is_true(two_servers: tuple[Hearth, Hearth]) -> None:
    one, other = two_servers
    chance = random.Random(SEED)
    people = [await one.user(name) for name in ("ann", "bob", "cat")]
    people.append(await other.user("dan"))
    wanted = {"preset": "public_chat", "room_version": "11"}
    rooms = [
        (await person.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
        for person in [*people, people[0]]
    ]
    for person in people:
        for room_id in rooms:
            (await person.post(f"{V3}/join/{room_id}")).ok()
    actions = Actions(people, rooms, chance)
    models = [
        Model(person, chance, is_lazy=person is people[2], after=person is not people[1])
        for person in people
    ]
    for step in range(STEPS):
        await actions.act()
        await chance.choice(models).ask_something()
        if step % 20 == 19:
            await _settle(rooms, people, step)
            await chance.choice(models).check()
    await _settle(rooms, people, STEPS)
    for model in models:
        await model.check()
