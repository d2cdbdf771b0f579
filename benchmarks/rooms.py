"""A large room that no server of ours made: thousands of members of hundreds of servers."""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.auth import select
from federation.building import Draft, Place, Signer, build
from federation.events import Event, StateKey
from federation.identifiers import EventID, RoomID, ServerName, UserID
from federation.room_versions import V11
from federation.signing import SigningKey

VERSION = V11
_AGO = 30 * 86_400_000
"""Milliseconds since the room began."""


@dataclass
class LargeRoom:
    """What the server that made the room knows of it."""

    room_id: RoomID
    host: Signer
    now: int
    """The time of the next event, in milliseconds."""
    events: dict[EventID, Event] = field(default_factory=dict)
    state: dict[StateKey, Event] = field(default_factory=dict)
    tip: Event | None = None
    signers: dict[ServerName, Signer] = field(default_factory=dict)

    @property
    def owner(self) -> UserID:
        """Who made the room."""
        return UserID(f"@olga:{self.host.server}")

    def say(
        self, kind: str, sender: UserID, content: Mapping[str, Any], state_key: str | None = None
    ) -> Event:
        """An event at the room's end."""
        place = self.place(kind, sender, state_key, content)
        draft = Draft(kind, sender, content, state_key, self.room_id)
        self.now += 1
        signer = self.signers[ServerName(sender.partition(":")[2])]
        event = build(draft, place, VERSION, signer, now=self.now)
        self.add(event)
        return event

    def add(self, event: Event) -> None:
        """The event is the latest now."""
        self.events[event.event_id] = event
        self.tip = event
        if event.state_key is not None:
            self.state[(event.type, event.state_key)] = event

    def place(
        self, kind: str, sender: UserID, state_key: str | None, content: Mapping[str, Any]
    ) -> Place:
        """Behind the latest event."""
        cited = select(kind, sender, state_key, content, VERSION)
        auth = [self.state[key] for key in cited if key in self.state]
        return Place([self.tip] if self.tip else [], auth)

    def chain(self, events: Iterable[Event]) -> list[Event]:
        """All that the events lead to by what they cite, without themselves."""
        listed = list(events)
        found: dict[EventID, Event] = {}
        pending = list(listed)
        while pending:
            for cited in pending.pop().auth_events:
                if cited not in found:
                    found[cited] = self.events[cited]
                    pending.append(found[cited])
        for event in listed:
            found.pop(event.event_id, None)
        return list(found.values())


def large_room(host: Signer, members: int, servers: int, now: int) -> LargeRoom:
    """Make a room of so many members of so many servers.

    A quarter of the members were invited by the owner, a quarter changed their name, and the
    levels were changed now and then: memberships cite different ones, as in a room that has lived.
    """
    rng = random.Random(7)
    room = LargeRoom(RoomID(f"!large:{host.server}"), host, now - _AGO)
    room.signers[host.server] = host
    for number in range(servers):
        key = SigningKey.from_seed("ed25519:a", number.to_bytes(32, "big"))
        name = ServerName(f"s{number:03}.invalid")
        room.signers[name] = Signer(name, key)
    _begin(room)
    names = [name for name in room.signers if name != host.server] or [host.server]
    for number in range(members - 1):
        user = UserID(f"@m{number:05}:{names[number % len(names)]}")
        _let_in(room, user, rng)
        if number % 2000 == 1999:
            levels = {"users": {room.owner: 100}, "users_default": 0, "events_default": 0}
            room.say("m.room.power_levels", room.owner, {**levels, "kick": number // 2000}, "")
    return room


def _begin(room: LargeRoom) -> None:
    owner = room.owner
    room.say("m.room.create", owner, {"room_version": VERSION.name}, "")
    room.say("m.room.member", owner, {"membership": "join"}, owner)
    room.say("m.room.power_levels", owner, {"users": {owner: 100}}, "")
    room.say("m.room.join_rules", owner, {"join_rule": "public"}, "")
    room.say("m.room.history_visibility", owner, {"history_visibility": "shared"}, "")
    room.say("m.room.name", owner, {"name": "A large room"}, "")


def _let_in(room: LargeRoom, user: UserID, rng: random.Random) -> None:
    lot = rng.random()
    if lot < 0.25:
        room.say("m.room.member", room.owner, {"membership": "invite"}, user)
    content = {"membership": "join", "displayname": user[1:7].upper()}
    room.say("m.room.member", user, content, user)
    if lot > 0.75:
        room.say("m.room.member", user, {**content, "displayname": user[1:7].title()}, user)


def joined(state: Collection[Event]) -> list[Event]:
    """Those of the entries that say that somebody is in the room."""
    return [event for event in state if event.membership == "join"]
