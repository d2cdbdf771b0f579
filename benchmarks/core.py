"""How fast the law of the event graph is, on one core (signatures in bulk: on all).

    python -m benchmarks.core            # prints a table; exit status 1 if a limit is missed

Each figure is the best of several rounds: a shared machine only ever makes things slower. The
rooms are made up, the signatures real.
"""

import base64
import os
import sys
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from federation.auth import authorise, select
from federation.building import Draft, Place, Signer, build
from federation.canonical_json import decode, encode
from federation.events import Event, StateKey, parse
from federation.graph import EventGraph
from federation.identifiers import EventID, KeyID, RoomID, ServerName, UserID
from federation.room_versions import V11, V12, RoomVersion
from federation.server_keys import ServerKey
from federation.signatures import verified, verified_all
from federation.signing import SigningKey
from federation.state_resolution import resolve

SERVER = ServerName("bench.test")
SIGNER = Signer(SERVER, SigningKey.from_seed("ed25519:1", bytes(32)))
KEYS = {SERVER: {KeyID("ed25519:1"): ServerKey(SIGNER.key.verify_key, 2**50)}}
ADMIN = UserID("@admin:bench.test")

State = dict[StateKey, EventID]


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        verdict = "" if self.holds else "  MISSED"
        return f"{self.name:<58}{self.value:9.2f} {self.unit:<2} ({sign} {self.limit:g}){verdict}"


class Bench:
    """A room that grows in one line, with as many members as one likes."""

    def __init__(self, version: RoomVersion) -> None:
        self.version = version
        self.events: dict[EventID, Event] = {}
        self.state: dict[StateKey, Event] = {}
        self.room_id = None if version.room_id_is_create_id else RoomID("!bench:bench.test")
        create = self.add(self.made("m.room.create", ADMIN, {"room_version": version.name}, ""))
        self.room_id = create.room_id
        self.add(self.made("m.room.member", ADMIN, {"membership": "join"}, ADMIN))
        levels: dict[str, object] = {"users": {} if version.privileged_creators else {ADMIN: 100}}
        self.add(self.made("m.room.power_levels", ADMIN, levels, ""))
        self.add(self.made("m.room.join_rules", ADMIN, {"join_rule": "public"}, ""))

    def made(
        self, kind: str, sender: UserID, content: dict[str, object], state_key: str | None = None
    ) -> Event:
        """An event on top of the current state, not added to it."""
        cited = select(kind, sender, state_key, content, self.version)
        auth = [self.state[key] for key in cited if key in self.state]
        parents = list(self.events.values())[-1:] if self.events else []
        draft = Draft(kind, sender, content, state_key, self.room_id)
        now = 1_700_000_000_000 + len(self.events)
        return build(draft, Place(parents, auth), self.version, SIGNER, now=now)

    def add(self, event: Event) -> Event:
        """Let the event be part of the room."""
        self.events[event.event_id] = event
        if event.state_key is not None:
            self.state[(event.type, event.state_key)] = event
        return event

    def fill(self, members: int) -> list[UserID]:
        """Let many people join."""
        users = [UserID(f"@user{number}:bench.test") for number in range(members)]
        for user in users:
            self.add(self.made("m.room.member", user, {"membership": "join"}, user))
        return users

    def forks(self, users: list[UserID], count: int, differing: int) -> list[State]:
        """States that each hold other versions of `differing` entries: profiles, and a topic."""
        base = {key: event.event_id for key, event in self.state.items()}
        states = []
        for number in range(count):
            state = dict(base)
            for user in users[number::count][: differing - 1]:
                content: dict[str, object] = {"membership": "join", "displayname": f"{number}"}
                event = self.made("m.room.member", user, content, user)
                self.events[event.event_id] = event
                state[("m.room.member", user)] = event.event_id
            topic = self.made("m.room.topic", ADMIN, {"topic": f"{number}"}, "")
            self.events[topic.event_id] = topic
            state[("m.room.topic", "")] = topic.event_id
            states.append(state)
        return states


def best(run: Callable[[], object], number: int, rounds: int = 7) -> float:
    """Seconds for one call, in the best of the rounds."""
    return min(timeit.repeat(run, number=number, repeat=rounds)) / number


def message(bench: Bench) -> Event:
    """An encrypted message of the usual size: about 1,200 bytes."""

    def filler(size: int) -> str:
        return base64.b64encode(os.urandom(size)).decode()

    content: dict[str, object] = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": filler(400),
        "device_id": "ABCDEFGHIJ",
        "sender_key": filler(32),
        "session_id": filler(32),
    }
    return bench.made("m.room.encrypted", ADMIN, content)


def measure_events() -> list[Figure]:
    """Reading, verifying, making and authorising one event."""
    bench = Bench(V11)
    event = message(bench)
    raw, pdu = event.json, parse(event.json, V11)
    draft = Draft(event.type, ADMIN, event.content, None, event.room_id)
    place = Place(
        [bench.events[e] for e in event.prev_events], [bench.events[e] for e in event.auth_events]
    )

    def timed(name: str, limit: float, run: Callable[[], object]) -> Figure:
        return Figure(f"event: {name}", 1e6 * best(run, 2000), "us", limit)

    return [
        timed("bytes to verified", 120, lambda: verified(parse(raw, V11), KEYS)),
        timed("  of which Ed25519", 120, lambda: verified(pdu, KEYS)),
        timed("build and sign", 60, lambda: build(draft, place, V11, SIGNER, now=1)),
        timed("  of which Ed25519", 60, lambda: SIGNER.key.sign(pdu.signed)),
        timed("authorise, warm state", 15, lambda: authorise(event, bench.state)),
        timed("decode and encode JSON", 15, lambda: encode(decode(raw))),
    ]


def measure_bulk() -> list[Figure]:
    """Signatures of many events, on one thread and on two."""
    bench = Bench(V11)
    pdus = [parse(message(bench).json, V11) for _ in range(2000)]
    with ThreadPoolExecutor(2) as pool:
        one = best(lambda: verified_all(pdus, KEYS, pool, 1), 1)
        two = best(lambda: verified_all(pdus, KEYS, pool, 2), 1)
    return [
        Figure("signatures in bulk: two threads against one", one / two, "x", 1.7, at_least=True)
    ]


def measure_resolution(version: RoomVersion) -> list[Figure]:
    """Merging forks of a state of 10,000 entries."""
    bench = Bench(version)
    users = bench.fill(10_000)
    name = f"state resolution {version.state_resolution.value}, 10,000 entries"

    def timed(forks: int, limit: float) -> Figure:
        states = bench.forks(users, forks, 200)
        graph = EventGraph(bench.events)
        seconds = best(lambda: resolve(states, graph, version), 1, 3)
        return Figure(f"{name}: {forks} forks of 200", 1e3 * seconds, "ms", limit)

    return [timed(2, 150), timed(50, 1000)]


def main() -> int:
    """Measure everything; the exit status says whether all limits hold."""
    figures: list[Figure] = []
    for part in (
        measure_events,
        measure_bulk,
        lambda: measure_resolution(V11),
        lambda: measure_resolution(V12),
    ):
        for figure in part():
            print(figure, flush=True)
            figures.append(figure)
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
