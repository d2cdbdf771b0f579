"""Random histories of rooms that fork and merge, as rooms do when servers lose sight of each other.

Every event is allowed by the state of its own branch and by what it cites, so what meets in a merge
is what honest and dishonest servers can bring about: bans against promotions, joins under rules
that were changed elsewhere, events that build on long forgotten power levels.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from federation.auth import authorise, select
from federation.canonical_json import JsonObject
from federation.decision import ALLOWED
from federation.events import Event, StateKey
from federation.graph import EventGraph
from federation.identifiers import EventID, domain_of
from federation.room_versions import RoomVersion
from federation.state_resolution import resolve
from tests.oracle.rooms import ANN, BOB, CAT, JOIN_RULES, NAMED_LEVELS, USERS, EventMaker, spelled

MAX_BRANCHES = 5
_CREATE: StateKey = ("m.room.create", "")

StateIDs = Mapping[StateKey, EventID]


@dataclass(frozen=True)
class Branch:
    """One view of the room: its latest events, and its state."""

    heads: tuple[Event, ...]
    state: StateIDs


@dataclass(frozen=True)
class Merge:
    """States that were resolved on the way, and our resolution."""

    states: Sequence[StateIDs]
    resolved: StateIDs


@dataclass
class History:
    """A room from its creation on."""

    make: EventMaker
    rng: random.Random
    events: dict[EventID, Event] = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    past: list[Branch] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)

    @property
    def version(self) -> RoomVersion:
        return self.make.version

    def act(self, index: int, sketch: "Sketch") -> None:
        """Extend a branch by an event, if the branch's state allows it."""
        branch = self.branches[index]
        kind, sender, content, state_key = sketch
        cited = self._cited(branch.state, select(kind, sender, state_key, content, self.version))
        event = self.make.make(
            kind,
            sender,
            content,
            state_key,
            prev=[head.event_id for head in branch.heads],
            auth=list(cited.values()),
            depth=1 + max((head.depth for head in branch.heads), default=0),
            origin_server_ts=self._now(sender),
        )
        if not self._is_allowed(event, branch.state) or not self._is_allowed(event, cited):
            return
        self.events[event.event_id] = event
        after = {**branch.state, (kind, state_key): event.event_id}
        self.branches[index] = Branch((event,), after)
        self.past.append(self.branches[index])

    def _cited(self, state: StateIDs, keys: Sequence[StateKey]) -> StateIDs:
        """The state that an event cites: its branch's, sometimes a stale one."""
        if self.past and self.rng.random() < 0.1:
            state = {**state, **self.rng.choice(self.past).state}
        return {key: state[key] for key in keys if key in state}

    def _is_allowed(self, event: Event, state: StateIDs) -> bool:
        present = {_CREATE: self.past[0].state[_CREATE], **state}  # v12 does not cite it
        found = {key: self.events[event_id] for key, event_id in present.items()}
        return authorise(event, found) is ALLOWED

    def fork(self) -> None:
        """Begin a branch at a view that some server had once."""
        self.branches.append(self.rng.choice(self.past[-15:]))

    def merge(self, count: int) -> None:
        """Let one server see several branches at once; the others go on as they were."""
        seen = self.rng.sample(range(len(self.branches)), count)
        states = [self.branches[index].state for index in seen]
        resolved = resolve(states, EventGraph(self.events), self.version)
        self.merges.append(Merge(states, resolved))
        heads = {head for index in seen for head in self.branches[index].heads}
        ordered = sorted(heads, key=lambda head: head.event_id)
        self.branches[seen[0]] = Branch(tuple(ordered), resolved)
        if self.rng.random() < 0.6:
            for index in sorted(seen[1:], reverse=True):
                del self.branches[index]

    def _now(self, sender: str) -> int:
        """Servers' clocks go wrong by a few events' time, and some events share a moment."""
        skew = len(domain_of(sender)) * 2000
        return 1000 * (len(self.events) // 2) + skew + self.rng.randrange(-4, 4) * 1000 + 10_000


Sketch = tuple[str, str, JsonObject, str]


def random_history(rng: random.Random, version: RoomVersion, steps: int) -> History:
    """A room that lived through `steps` attempts to change it, and was merged in the end."""
    history = History(EventMaker(version, "f"), rng)
    _found(history)
    for _ in range(steps):
        chance = rng.random()
        if chance < 0.08 and len(history.branches) < MAX_BRANCHES:
            history.fork()
        elif chance < 0.14 and len(history.branches) > 1:
            history.merge(rng.randint(2, len(history.branches)))
        else:
            index = rng.randrange(len(history.branches))
            history.act(index, _sketch(history, history.branches[index]))
    if len(history.branches) > 1:
        history.merge(len(history.branches))
    return history


def _found(history: History) -> None:
    """Create the room and let some people in."""
    rng, make = history.rng, history.make
    content: JsonObject = {"room_version": make.version.name, "n": rng.randrange(10**9)}
    if make.version.create_names_creator:
        content["creator"] = ANN
    if make.version.privileged_creators and rng.random() < 0.5:
        content["additional_creators"] = [BOB]
    create = make.make("m.room.create", ANN, content, "", depth=1)
    make.room_id = create.room_id
    history.events[create.event_id] = create
    history.branches.append(Branch((create,), {_CREATE: create.event_id}))
    history.past.append(history.branches[0])
    history.act(0, _member(ANN, ANN, "join"))
    if rng.random() < 0.9:
        history.act(0, ("m.room.power_levels", ANN, _first_levels(history), ""))
    if rng.random() < 0.9:
        rule = "public" if rng.random() < 0.7 else rng.choice(JOIN_RULES)
        history.act(0, ("m.room.join_rules", ANN, {"join_rule": rule}, ""))
    for user in rng.sample(USERS[1:], 4):
        history.act(0, _member(ANN, user, "invite"))
        history.act(0, _member(user, user, "join"))


def _first_levels(history: History) -> JsonObject:
    creators = [ANN, BOB] if history.version.privileged_creators else []
    given = {ANN: 100, BOB: 100 if history.rng.random() < 0.3 else 50, CAT: 50}
    return {
        "users": {user: level for user, level in given.items() if user not in creators},
        "events": {"m.room.topic": 0, "org.example.custom": 0},
    }


def _sketch(history: History, branch: Branch) -> Sketch:
    sketches, weights = zip(*_ACTIONS, strict=True)
    action: Callable[[History, Branch], Sketch] = history.rng.choices(sketches, weights)[0]
    return action(history, branch)


def _member(sender: str, user: str, membership: str, **more: str) -> Sketch:
    return "m.room.member", sender, {"membership": membership, **more}, user


def _power(history: History, branch: Branch) -> Sketch:
    """A change of the levels in force."""
    rng = history.rng
    found = branch.state.get(("m.room.power_levels", ""))
    content = dict(history.events[found].content) if found else _first_levels(history)
    level = spelled(rng, rng.choice((0, 25, 50, 50, 75, 100)), history.version)
    group, name = rng.choice(
        (
            ("users", rng.choice(USERS)),
            ("users", rng.choice(USERS)),
            ("events", rng.choice(("m.room.topic", "org.example.custom", "m.room.power_levels"))),
            (None, rng.choice(NAMED_LEVELS)),
        )
    )
    changed = {**content.get(group, {}), name: level} if group else level
    return "m.room.power_levels", _anybody(history), {**content, group or name: changed}, ""


def _rule(history: History, branch: Branch) -> Sketch:
    rule = history.rng.choice(("public", *JOIN_RULES))
    return "m.room.join_rules", _anybody(history), {"join_rule": rule}, ""


def _self(history: History, branch: Branch) -> Sketch:
    """Somebody comes, goes, or takes another name."""
    user = history.rng.choice(USERS)
    membership = history.rng.choice(("join", "join", "join", "leave", "knock"))
    more = {"displayname": str(history.rng.randrange(100))}
    if history.rng.random() < 0.5:
        more["join_authorised_via_users_server"] = _anybody(history)
    return _member(user, user, membership, **more)


def _other(history: History, branch: Branch) -> Sketch:
    """Somebody does something to somebody."""
    membership = history.rng.choice(("invite", "invite", "leave", "ban", "ban"))
    return _member(_anybody(history), history.rng.choice(USERS), membership)


def _topic(history: History, branch: Branch) -> Sketch:
    kind = history.rng.choice(("m.room.topic", "m.room.name", "org.example.custom"))
    sender = history.rng.choice(USERS)
    key = history.rng.choice(("x", "y", sender)) if kind == "org.example.custom" else ""
    return kind, sender, {"text": str(history.rng.randrange(10**6))}, key


def _anybody(history: History) -> str:
    """Somebody, the powerful first."""
    return history.rng.choice((ANN, ANN, BOB, BOB, CAT, *USERS))


_ACTIONS: Sequence[tuple[Callable[[History, Branch], Sketch], float]] = (
    (_power, 20),
    (_rule, 8),
    (_self, 20),
    (_other, 22),
    (_topic, 15),
)
