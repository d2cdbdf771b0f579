"""What people on two servers do at random, for clients that follow it and know the truth.

HEARTH_MODEL_STEPS says for how long, HEARTH_MODEL_SEED where to begin.
"""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.servers import Answer, Client, Hearth, eventually, federating

V3 = "/_matrix/client/v3"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
STEPS = int(os.environ.get("HEARTH_MODEL_STEPS", "2000"))
SEED = int(os.environ.get("HEARTH_MODEL_SEED", "1"))
FORGETS = 0.02
"""How often a client begins anew, as after its cache was cleared."""
_CHECK = 20
"""Steps between two looks at the truth."""
_KINDS = (
    *("say",) * 8,
    *("join",) * 4,
    *("unban",) * 2,
    *("name", "topic", "leave", "kick", "ban", "invite", "redact", "forget", "message"),
)


class Model(Protocol):
    """A client, and what it has been told."""

    async def ask_something(self) -> None:
        """Ask for what is new, in one of many ways."""

    async def check(self) -> None:
        """Ask for the rest, and compare it with what the rooms say."""


Sent = dict[str, list[int]]
"""Numbers of messages to somebody's devices, by who sent them."""


@dataclass
class Device:
    """What somebody's device knows of messages to it, and of whose devices it has to know."""

    client: Client
    sent: Sent
    """All that was sent to it."""
    got: Sent = field(default_factory=dict)
    """What came, and the server knows that it came."""
    pending: list[tuple[str, int]] = field(default_factory=list)
    """What the last answer brought."""
    tracked: set[str] | None = None
    """Whose devices it follows; `None`: it begins with all with whom a room is shared."""

    def begin_anew(self) -> None:
        """As after its cache was cleared."""
        self.tracked, self.pending = None, []

    def acknowledge(self) -> None:
        """It asks on from the last answer."""
        for sender, number in self.pending:
            self.got.setdefault(sender, []).append(number)
        self.pending = []

    async def read(self, messages: Sequence[Any], lists: Mapping[str, list[str]]) -> None:
        """Read an answer's part about it."""
        self.pending = [(one["sender"], one["content"]["number"]) for one in messages]
        if self.tracked is None:
            self.tracked = await self._met()
        assert not set(lists.get("changed", ())) & set(lists.get("left", ()))
        self.tracked |= set(lists.get("changed", ())) - {self.client.user_id}
        self.tracked -= set(lists.get("left", ()))

    async def check(self) -> None:
        """Compare what is known with what was sent and what the rooms say."""
        assert self.tracked == await self._met()
        told = {sender: list(numbers) for sender, numbers in self.got.items()}
        for sender, number in self.pending:
            told.setdefault(sender, []).append(number)
        assert told == self.sent

    async def _met(self) -> set[str]:
        """Everybody with whom a room is shared."""
        joined = (await self.client.get(f"{V3}/joined_rooms")).ok()["joined_rooms"]
        found: set[str] = set()
        for room_id in joined:
            members = (await self.client.get(f"{V3}/rooms/{room_id}/joined_members")).ok()
            found |= members["joined"].keys()
        return found - {self.client.user_id}


async def asked_into(client: Client) -> set[str]:
    """The rooms that somebody is invited to, as a client learns that knows nothing."""
    rooms = {"ranges": [[0, 99]], "timeline_limit": 0, "filters": {"is_invite": True}}
    body = {"conn_id": "invitations", "lists": {"all": rooms}}
    return set((await client.post(SLIDING, body)).ok()["rooms"])


class Actions:
    """What people do, at random; what they may not do comes to nothing."""

    def __init__(self, world: "World") -> None:
        self.people, self.rooms, self.random = world.people, world.rooms, world.random
        self.sent = world.sent
        self.number = 0
        self.done = 0
        """How many were allowed."""

    async def act(self) -> None:
        """Do one thing."""
        self.number += 1
        who, whom = self.random.sample(self.people, 2)
        path = f"{V3}/rooms/{self.random.choice(self.rooms)}"
        text = f"{self.number}"
        kind = self.random.choice(_KINDS)
        if kind == "message":
            await self._send(who, whom)
        elif kind == "redact":
            await self._redact(who, path)
        elif kind == "say":
            content = {"body": text, "msgtype": "m.text"}
            self._count(await who.put(f"{path}/send/m.room.message/{text}", content))
        elif kind in {"name", "topic"}:
            self._count(await who.put(f"{path}/state/m.room.{kind}", {kind: text}))
        elif kind in {"join", "leave", "forget"}:
            self._count(await who.post(f"{path}/{kind}"))
        else:
            self._count(await who.post(f"{path}/{kind}", {"user_id": whom.user_id}))

    def _count(self, answer: Answer) -> None:
        self.done += answer.status == 200

    async def _redact(self, who: Client, path: str) -> None:
        """Somebody takes back one of the last messages."""
        page = (await who.get(f"{path}/messages", dir="b", limit="3")).json
        if page.get("chunk"):
            event = self.random.choice(page["chunk"])
            if event["type"] == "m.room.message":
                await who.put(f"{path}/redact/{event['event_id']}/{self.number}")

    async def _send(self, who: Client, whom: Client) -> None:
        """A message to all devices of somebody."""
        messages = {"messages": {whom.user_id: {"*": {"number": self.number}}}}
        (await who.put(f"{V3}/sendToDevice/m.test/{self.number}", messages)).ok()
        self.sent[whom.user_id].setdefault(who.user_id, []).append(self.number)


async def settle(rooms: list[str], people: list[Client], number: int) -> None:
    """Wait until each server has all that the other one sent."""
    joined = {p: await joined_rooms(p) for p in people}
    for room_id in rooms:
        speakers = {p.hearth.name: p for p in people if room_id in joined[p]}
        if len(speakers) < 2:
            continue
        for speaker in speakers.values():
            path = f"{V3}/rooms/{room_id}/send/m.room.message/settle{number}"
            said = await speaker.put(path, {"body": "", "msgtype": "m.text"})
            for listener in speakers.values():
                if listener is not speaker:
                    heard = partial(_is_heard, said, room_id, speaker, listener)
                    await eventually(heard, within=10)


async def joined_rooms(who: Client) -> set[str]:
    """The rooms that somebody is in."""
    return set((await who.get(f"{V3}/joined_rooms")).ok()["joined_rooms"])


async def _is_heard(said: Answer, room_id: str, speaker: Client, listener: Client) -> bool:
    """Whether something was heard; or cannot be, as one of them was put out in the meantime."""
    if said.status == 200:
        path = f"{V3}/rooms/{room_id}/event/{said.json['event_id']}"
        if (await listener.get(path)).status == 200:
            return True
    return not all([room_id in await joined_rooms(who) for who in (speaker, listener)])


async def last_events(who: Client, room_id: str, limit: int, start: str = "") -> list[str]:
    """The IDs of the last events before some place, in order."""
    path, found = f"{V3}/rooms/{room_id}/messages", list[str]()
    while len(found) < limit:
        query = {"from": start} if start else {}
        page = (await who.get(path, dir="b", limit="50", **query)).ok()
        found += [event["event_id"] for event in page["chunk"]]
        # What ignored people say is missing in pages.
        start = page.get("end", "")
        if not start:
            break
    return found[:limit][::-1]


async def ignore_some(who: Client, bores: Sequence[str], chance: random.Random) -> None:
    """Ignore some of the bores; "clients are responsible for [...] a new sync stream"."""
    ignored: dict[str, Any] = {user: {} for user in bores if chance.random() < 0.5}
    path = f"{V3}/user/{who.user_id}/account_data/m.ignored_user_list"
    (await who.put(path, {"ignored_users": ignored})).ok()


async def twice(ask: Callable[[], Awaitable[None]], compare: Callable[[], Awaitable[None]]) -> None:
    """Ask, and compare with the truth; once more if it is another: something may be on its way.

    What a client was told wrongly, or not at all, stays so.
    """
    await ask()
    try:
        await compare()
    except AssertionError:
        await ask()
        await compare()


@asynccontextmanager
async def two_servers(
    postgres: Server, folder: Path, authority: Authority
) -> AsyncIterator[tuple[Hearth, Hearth]]:
    """One with two workers, and one more."""
    async with (
        federating(postgres, folder, authority, 1, workers=2) as one,
        federating(postgres, folder, authority, 2) as other,
    ):
        yield one, other


class World:
    """Three people on one server and one on another, in rooms of each of them."""

    def __init__(self, people: list[Client], rooms: list[str]) -> None:
        self.people, self.rooms = people, rooms
        self.random = random.Random(SEED)
        self.sent: dict[str, Sent] = {person.user_id: {} for person in people}
        """Messages to each person's devices."""

    def device(self, who: Client) -> Device:
        """That of somebody."""
        return Device(who, self.sent[who.user_id])

    @classmethod
    async def on(cls, one: Hearth, other: Hearth) -> "World":
        """Make them."""
        people = [await one.user(name) for name in ("ann", "bob", "cat")]
        people.append(await other.user("dan"))
        rooms = [await _room_of(person, people) for person in [*people, people[0]]]
        return cls(people, rooms)

    async def go_on(self, models: Sequence[Model]) -> None:
        """Let people act while clients ask; what is known is true all the time."""
        actions = Actions(self)
        for step in range(STEPS):
            await actions.act()
            await self.random.choice(models).ask_something()
            if step % _CHECK == _CHECK - 1:
                await settle(self.rooms, self.people, step)
                await self.random.choice(models).check()
                await self._replace_dead()
        await settle(self.rooms, self.people, STEPS)
        for model in models:
            await model.check()
        assert actions.done > STEPS / 4, "hardly anything happens"

    async def _replace_dead(self) -> None:
        """Make new rooms in the place of those that all have left: nobody comes into them again."""
        alive: set[str] = set()
        for person in self.people:
            alive |= await joined_rooms(person)
        for number, room_id in enumerate(self.rooms):
            if room_id not in alive:
                owner = self.random.choice(self.people)
                self.rooms[number] = await _room_of(owner, self.people)


async def _room_of(owner: Client, people: Sequence[Client]) -> str:
    """A new room of somebody, that all are in."""
    wanted = {"preset": "public_chat", "room_version": "11"}
    room_id = str((await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"])
    for person in people:
        (await person.post(f"{V3}/join/{room_id}", via=owner.hearth.name)).ok()
    return room_id
