"""State resolution from the database gives what it gives in memory, and reads little for it."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from federation.events import Event, StateKey
from federation.graph import EventGraph
from federation.identifiers import EventID
from federation.room_versions import V1, V11, V12, RoomVersion
from federation.state_resolution import resolve
from homeserver.rooms.interning import intern
from homeserver.rooms.resolving import Resolving
from homeserver.storage import partial_rooms, received
from homeserver.storage.batch import EventRow, Fate
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Connection, Database
from homeserver.storage.state_groups import GONE, GroupNid, StateGroup, first_group, numbered
from tests.federation.forked_rooms import ACTIONS, Mistake, Step, claimed_states, forked_room

KEY = bytes(16)
State = Mapping[StateKey, EventID]


class Counting:
    """A connection that counts the queries."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.queries = 0

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        self.queries += 1
        return await self._conn.fetch(query, *args)


class Stored:
    """A room's events in the database, none of them in a place."""

    def __init__(self, conn: Connection, version: RoomVersion) -> None:
        self.conn = conn
        self.version = version
        self.numbers = Numbers()
        self._groups = 0

    async def store(self, events: Sequence[Event], rejected: frozenset[EventID]) -> None:
        tables = "rooms, events, event_ids, state_keys, users, servers"
        await self.conn.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        self.room = (await self.numbers.rooms.intern(self.conn, [events[0].room_id]))[
            events[0].room_id
        ]
        await received.set_version(self.conn, self.room, self.version.name)
        self.nids = await intern(self.conn, self.numbers, events)
        await received.add_outliers(self.conn, [self._row(e, rejected) for e in events])

    def _row(self, event: Event, rejected: frozenset[EventID]) -> EventRow:
        return EventRow(
            room=self.room,
            event=self.nids.events[event.event_id],
            key=self.nids.keys[(event.type, event.state_key or "")],
            group=None,
            ts=event.origin_server_ts,
            depth=event.depth,
            fate=Fate.REJECTED if event.event_id in rejected else Fate.ACCEPTED,
            member=None,
            auth=[self.nids.events[i] for i in event.auth_events],
            json=event.json,
        )

    def groups(self, states: Sequence[State]) -> list[StateGroup]:
        """The first apart; the others as changes of it, as states of one room mostly are."""
        first = {self.nids.keys[k]: self.nids.events[e] for k, e in states[0].items()}
        base = numbered(first_group(first, KEY), self._number())
        found = [base]
        for state in states[1:]:
            entries = {self.nids.keys[k]: self.nids.events[e] for k, e in state.items()}
            new = base.after(dict.fromkeys(first, GONE) | entries, KEY)
            found.append(base if new is None else base.grown(new, self._number()))
        return found

    def _number(self) -> GroupNid:
        self._groups += 1
        return GroupNid(self._groups)


def some_steps(chance: random.Random) -> list[Step]:
    return [
        Step(
            chance.randrange(4),
            chance.choice(ACTIONS),
            chance.randrange(4),
            chance.randrange(4),
            chance.randrange(4),
            2_000_000 + chance.randrange(4),
        )
        for _ in range(chance.randrange(14))
    ]


@pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda v: f"v{v.name}")
async def test_the_same_as_in_memory(database: Database, version: RoomVersion) -> None:
    differed = 0
    async with database.reader() as conn:
        for seed in range(80):
            chance = random.Random(seed)
            history = [some_steps(chance) for _ in range(chance.randrange(1, 3))]
            room, branches = forked_room(version, history)
            wrong = [
                Mistake(chance.randrange(4), chance.randrange(40), chance.randrange(6))
                for _ in range(chance.randrange(3))
            ]
            states = claimed_states(room, branches[: chance.randrange(2, 5)], wrong)
            later = sorted(room.events.keys() - {room.create.event_id})
            rejected = frozenset(chance.sample(later, min(len(later), chance.randrange(3))))
            expected = resolve(states, EventGraph(room.events, rejected), version)
            stored = Stored(conn, version)
            await stored.store(list(room.events.values()), rejected)
            groups = stored.groups(states)
            found = await Resolving(stored.numbers).resolve(conn, stored.room, groups, version)
            keys = [k for k in stored.nids.keys if len({state.get(k) for state in states}) > 1]
            differed += bool(keys)
            assert {k: found.get(stored.nids.keys[k]) for k in keys} == {
                k: stored.nids.events.get(expected.get(k, "")) for k in keys
            }, seed
            assert found.keys() <= {stored.nids.keys[k] for k in keys}
    assert differed > 40


async def test_what_was_read_is_not_read_again(database: Database) -> None:
    room, branches = forked_room(V11, [some_steps(random.Random(3))])
    states = [branch.ids for branch in branches]
    assert len({frozenset(state.items()) for state in states}) > 1
    async with database.reader() as conn:
        stored = Stored(conn, V11)
        await stored.store(list(room.events.values()), frozenset())
        groups = stored.groups(states)
        counting = Counting(conn)
        resolving = Resolving(stored.numbers)
        first = await resolving.resolve(counting, stored.room, groups, V11)  # type: ignore[arg-type]
        counting.queries = 0
        assert await resolving.resolve(counting, stored.room, groups, V11) == first  # type: ignore[arg-type]
        # The names of the keys in which they differ, and what was rejected by now.
        assert counting.queries == 2


async def test_what_becomes_of_an_event_after_it_was_read(database: Database) -> None:
    """Some process judges it again, when all of a room are known; no other one hears of it."""
    differed = 0
    async with database.reader() as conn:
        for seed in range(40):
            room, branches = forked_room(V11, [some_steps(random.Random(seed))])
            states = [branch.ids for branch in branches]
            expected = {
                of: resolve(states, EventGraph(room.events, of), V11)
                for of in (frozenset[EventID](), *(frozenset({i}) for i in room.events))
            }
            stored = Stored(conn, V11)
            await stored.store(list(room.events.values()), frozenset())
            groups = stored.groups(states)
            processes = [Resolving(stored.numbers) for _ in range(2)]
            keys = [k for k in stored.nids.keys if len({state.get(k) for state in states}) > 1]
            for rejected in [of for of in expected if expected[of] != expected[frozenset()]]:
                differed += 1
                for now in (frozenset(), rejected, frozenset()):
                    fate = Fate.REJECTED if now else Fate.ACCEPTED
                    fates = {stored.nids.events[i]: fate for i in rejected}
                    await partial_rooms.set_fates(conn, fates)
                    for resolving in processes:
                        found = await resolving.resolve(conn, stored.room, groups, V11)
                        assert {k: found.get(stored.nids.keys[k]) for k in keys} == {
                            k: stored.nids.events.get(expected[now].get(k, "")) for k in keys
                        }, seed
    assert differed > 2
