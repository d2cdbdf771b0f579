"""How the tables of the authorisation rules are written: one row, one rule, allowed or denied.

A row names the rule it is about, the versions it holds in, and a decision to make. Every rule has
rows that deny by it, and rows of the same kind that it lets pass: `test_auth_rules` counts them.

deny("join.sender", "nobody joins for somebody else", member(ANN, BOB, "join"))
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from federation.auth import authorise
from federation.building import Draft, Place, build
from federation.decision import Decision, Denied
from federation.events import Event
from federation.identifiers import RoomID, UserID
from federation.room_versions import RoomVersion
from tests.federation import rooms
from tests.federation.rooms import ALL_VERSIONS, Branch, Room, signer

ANN: str = rooms.ANN
"""The creator."""
BOB: str = rooms.BOB
CAT: str = rooms.CAT
ADA = "@ada:two.test"
"""An administrator without the creator's privileges, of level 100."""
MOD = "@mod:two.test"
"""Of level 50."""
GUS = "@gus:five.test"
"""A guest: the room has never heard of them."""

LEVELS: Mapping[str, Any] = {"users": {ADA: 100, MOD: 50}}


def since(version: RoomVersion) -> Sequence[RoomVersion]:
    """This version and later ones."""
    return ALL_VERSIONS[ALL_VERSIONS.index(version) :]


def until(version: RoomVersion) -> Sequence[RoomVersion]:
    """This version and earlier ones."""
    return ALL_VERSIONS[: ALL_VERSIONS.index(version) + 1]


def between(first: RoomVersion, last: RoomVersion) -> Sequence[RoomVersion]:
    """These two and those between them."""
    return [version for version in since(first) if version in until(last)]


@dataclass(frozen=True, eq=False)
class Send:
    """An event to be judged."""

    kind: str
    sender: str
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    after_create: bool = False
    """Whether the create event is its only parent."""


@dataclass(frozen=True, eq=False)
class Given:
    """A state to judge by, be it lawful or not. Ann has created the room and is in it."""

    join_rule: object = "public"
    """`None`: there is no such event."""
    members: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Any] | None = field(default_factory=lambda: LEVELS)
    """`None`: there is no such event."""
    create: Mapping[str, Any] = field(default_factory=dict)
    more: Sequence[Send] = ()

    @functools.cache  # noqa: B019 - as many as there are rows
    def room(self, version: RoomVersion) -> Branch:
        """A room in that state."""
        room = Room(version, bare=True, **self.create)
        for user, membership in {ADA: "join", MOD: "join", **self.members}.items():
            room.member(ANN, user, membership, check=False)
        if self.levels is not None:
            room.power_levels(ANN, self.levels, check=False)
        if self.join_rule is not None:
            content = {"join_rule": self.join_rule}
            room.send("m.room.join_rules", ANN, content, "", check=False)
        for send in self.more:
            event_of(send, room)
        return room


def event_of(send: Send, branch: Branch) -> Event:
    """Build the event on the branch, without asking whether it may be."""
    if send.after_create:
        branch = Branch(branch.room, [branch.room.create], dict(branch.state))
    return branch.send(
        send.kind, send.sender, send.content, send.state_key, redacts=send.redacts, check=False
    )


def create_event(
    version: RoomVersion,
    content: Mapping[str, Any],
    *,
    room_id: str | None = "!room:one.test",
    prev_events: Sequence[Event] = (),
    state_key: str | None = "",
) -> Event:
    """A create event by Ann; where the room ID is implied, `room_id` has to be `None`."""
    draft = Draft(
        "m.room.create", UserID(ANN), content, state_key, RoomID(room_id) if room_id else None
    )
    place = Place(prev_events)
    return build(draft, place, version, signer("one.test"), now=1, opaque_id="create")


def message(sender: str, kind: str = "m.room.message") -> Send:
    return Send(kind, sender, {"body": "hello"})


def state(sender: str, kind: str = "m.room.topic", state_key: str = "", **content: Any) -> Send:
    return Send(kind, sender, content, state_key)


def member(sender: str, target: str, membership: object, **content: Any) -> Send:
    return Send("m.room.member", sender, {"membership": membership, **content}, target)


Decide = Callable[[RoomVersion], Decision]


class Case(NamedTuple):
    """A row: what `rule` says about a decision."""

    rule: str
    allows: bool
    story: str
    decide: Decide
    versions: Sequence[RoomVersion]

    @property
    def expected(self) -> dict[str, str | None]:
        """By version name the rule that should be broken."""
        return {version.name: None if self.allows else self.rule for version in self.versions}

    @property
    def found(self) -> dict[str, str | None]:
        """By version name the rule that is broken."""
        return {version.name: broken_rule(self.decide(version)) for version in self.versions}


PLAIN = Given()


def allow(
    rule: str,
    story: str,
    send: Send,
    given: Given = PLAIN,
    versions: Sequence[RoomVersion] = ALL_VERSIONS,
) -> Case:
    """A row that the rule lets pass."""
    return Case(rule, True, story, functools.partial(_authorise, send, given), versions)


def deny(
    rule: str,
    story: str,
    send: Send,
    given: Given = PLAIN,
    versions: Sequence[RoomVersion] = ALL_VERSIONS,
) -> Case:
    """A row that breaks the rule."""
    return Case(rule, False, story, functools.partial(_authorise, send, given), versions)


def _authorise(send: Send, given: Given, version: RoomVersion) -> Decision:
    room = given.room(version)
    return authorise(event_of(send, room.fork()), room.state)


def rows(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrize a test over the rows."""
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=f"{case.rule}: {case.story}") for case in cases]
    )


def broken_rule(decision: Decision) -> str | None:
    """The name of the rule that was broken, if any."""
    return decision.rule if isinstance(decision, Denied) else None


def joined(*users: str) -> dict[str, str]:
    """Members of a `Given`."""
    return dict.fromkeys(users, "join")
