"""The key ring against a network and a store in memory, with a clock that stands still."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from federation.canonical_json import JsonObject
from federation.errors import KeyStoreError, TransportError
from federation.identifiers import KeyID, ServerName
from federation.net.key_ring import (
    DEADLINE,
    DOCUMENTS_PER_SERVER,
    MANY,
    MAX_PAUSE,
    NOTARY_BATCH,
    PAUSE,
    KeyRequest,
    KeyRing,
)
from federation.server_keys import (
    MAX_SIGNERS,
    KeyDocument,
    KeyName,
    Keys,
    KnownKey,
    OldKey,
    ServerKey,
    Source,
    build_document,
    own_keys,
    parse_document,
)
from federation.signing import SigningKey, VerifyKey, sign_json

NOW = 1_700_000_000_000
HOUR = 60 * 60 * 1000
DAY = 24 * HOUR
HEARTH, KIT, ANN = (ServerName(f"{name}.example") for name in ("hearth", "kit", "ann"))
RESIDENT, NOTARY = ServerName("resident.example"), ServerName("notary.example")
ID = KeyID("ed25519:1")


def signing_key(server: str, key_id: str = ID) -> SigningKey:
    return SigningKey.from_seed(key_id, f"{key_id} of {server}".encode().ljust(32)[:32])


def verify_key(server: str, key_id: str = ID) -> VerifyKey:
    return signing_key(server, key_id).verify_key


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


class Network:
    """All other servers, as far as their keys go."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.documents: dict[ServerName, JsonObject] = {}
        """What servers answer about themselves; those that are not here are down."""
        self.notaries: dict[ServerName, list[JsonObject]] = {}
        """What servers answer about others, before they sign it."""
        self.asked: list[ServerName] = []
        self.queried: list[tuple[ServerName, Mapping[ServerName, Mapping[KeyID, int]]]] = []
        self.gate = asyncio.Event()
        """While it is closed, requests stay under way."""
        self.gate.set()
        self.under_way = 0
        self.most_under_way = 0

    def publish(self, server: ServerName, *key_ids: str, old: Iterable[OldKey] = ()) -> None:
        """Let the server be up, with a document that is valid for a day."""
        keys = [signing_key(server, key_id) for key_id in key_ids or [ID]]
        self.documents[server] = build_document(server, keys, old, self.clock.now + DAY)

    async def fetch_server_keys(self, server: ServerName) -> JsonObject:
        self.asked.append(server)
        await self._travel()
        if server not in self.documents:
            raise TransportError("down")
        return self.documents[server]

    async def query_notary(
        self, notary: ServerName, wanted: Mapping[ServerName, Mapping[KeyID, int]]
    ) -> Sequence[JsonObject]:
        self.queried.append((notary, wanted))
        await self._travel()
        if notary not in self.notaries:
            raise TransportError("down")
        return [sign_json(fields, notary, signing_key(notary)) for fields in self.notaries[notary]]

    async def _travel(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1


async def settle() -> None:
    """Let everybody go as far as the gate lets them; there is no other I/O to wait for."""
    for _ in range(30):
        await asyncio.sleep(0)


class Store:
    """A table of keys, which can be out of reach."""

    def __init__(self) -> None:
        self.keys: dict[KeyName, KnownKey] = {}
        self.documents: list[KeyDocument] = []
        self.loads: list[Sequence[KeyName]] = []
        self.can_load = self.can_save = True

    async def load(self, wanted: Sequence[KeyName]) -> Iterable[KnownKey]:
        self.loads.append(wanted)
        if not self.can_load:
            raise KeyStoreError("no connection")
        return [self.keys[name] for name in wanted if name in self.keys]

    async def save(self, keys: Sequence[KnownKey], documents: Sequence[KeyDocument]) -> None:
        if not self.can_save:
            raise KeyStoreError("no connection")
        self.keys |= {known.name: known for known in keys}
        self.documents += documents


class World:
    """A ring and all that surrounds it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.store = Store()
        self.rings: list[KeyRing] = []
        self.ring = self.new_ring()

    def new_ring(self, **changed: Any) -> KeyRing:
        """Another process on the same store, or the same one after a restart."""
        settings = {
            "fixed": {HEARTH: own_keys([signing_key(HEARTH)], [])},
            "store": self.store,
            "fetcher": self.network,
            "now": self.clock,
        }
        self.ring = KeyRing(HEARTH, **{**settings, **changed})
        self.rings.append(self.ring)
        return self.ring

    async def get(
        self, server: ServerName = KIT, key_id: str = ID, since: int = 0, **options: Any
    ) -> ServerKey | None:
        """One key."""
        found = await self.ring.get([KeyRequest(server, KeyID(key_id), since)], **options)
        return found.get(server, {}).get(KeyID(key_id))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    world.network.gate.set()
    for ring in world.rings:
        await ring.close()


# Asking a server for its own keys


async def test_one_load_and_one_request_per_server(world: World) -> None:
    world.network.publish(KIT, "ed25519:1", "ed25519:2", "ed25519:3")
    world.network.publish(ANN)
    wanted = [
        KeyRequest(KIT, KeyID("ed25519:1"), NOW),
        KeyRequest(ANN, ID, NOW),
        KeyRequest(KIT, KeyID("ed25519:2"), NOW),
        KeyRequest(KIT, KeyID("ed25519:1"), NOW - DAY),
    ]
    found = await world.ring.get(wanted)
    expected: Keys = {
        KIT: {
            KeyID(key_id): ServerKey(verify_key(KIT, key_id), NOW + DAY)
            for key_id in ("ed25519:1", "ed25519:2")
        },
        ANN: {ID: ServerKey(verify_key(ANN), NOW + DAY)},
    }
    assert found == expected
    assert world.network.asked == [KIT, ANN]
    asked_of_store = [(KIT, "ed25519:1"), (ANN, ID), (KIT, "ed25519:2")]
    assert world.store.loads[0] == asked_of_store


async def test_the_second_time_comes_from_memory(world: World) -> None:
    world.network.publish(KIT, "ed25519:1", "ed25519:2")
    await world.get(KIT, "ed25519:1")
    world.store.loads.clear()
    assert await world.get(KIT, "ed25519:2", NOW)
    assert (len(world.network.asked), world.store.loads) == (1, [])


async def test_after_a_restart_it_comes_from_the_store(world: World) -> None:
    world.network.publish(KIT)
    before = await world.get()
    world.new_ring()
    assert await world.get(since=NOW) == before is not None
    assert world.network.asked == [KIT]
    assert [document.published for document in world.store.documents] == [
        world.network.documents[KIT]
    ]


async def test_a_key_that_another_process_refreshed(world: World) -> None:
    """Memory holds an expired key, the store by now a newer one."""
    world.network.publish(KIT)
    await world.get()
    first = world.ring
    world.clock.now += 2 * DAY
    world.network.publish(KIT)
    world.new_ring()
    await world.get(since=world.clock.now)
    world.ring = first
    assert await world.get(since=world.clock.now) == ServerKey(verify_key(KIT), NOW + 3 * DAY)
    assert len(world.network.asked) == 2


async def test_an_older_stored_key_changes_nothing(world: World) -> None:
    world.network.publish(KIT)
    world.store.can_save = False
    key = await world.get()
    stale = KnownKey(KIT, ID, ServerKey(verify_key(KIT), NOW - DAY), Source.ORIGIN)
    world.store.keys[KIT, ID] = stale
    assert await world.get(since=NOW + 2 * DAY) == key is not None


async def test_nobody_is_asked_for_our_own_keys(world: World) -> None:
    assert await world.get(HEARTH) == own_keys([signing_key(HEARTH)], [])[ID]
    assert await world.get(HEARTH, "ed25519:unknown") is None
    assert (world.network.asked, world.store.loads) == ([], [])


async def test_nobody_is_asked_for_a_pinned_key(world: World) -> None:
    pinned = ServerKey(verify_key(KIT), NOW - DAY)
    world.new_ring(fixed={KIT: {ID: pinned}})
    assert await world.get(since=NOW) == pinned
    assert world.network.asked == []


async def test_unknown_keys_and_dead_servers_are_absent(world: World) -> None:
    world.network.publish(KIT)
    wanted = [KeyRequest(KIT, KeyID("ed25519:9")), KeyRequest(ANN, ID), KeyRequest(KIT, ID)]
    assert set(await world.ring.get(wanted)) == {KIT}
    assert await world.get(KIT, "ed25519:9") is None
    assert await world.ring.get([]) == {}


@pytest.mark.parametrize(
    ("server", "key_id"),
    [
        ("", ID),
        ("kit.example/../x", ID),
        ("kit.example\0", ID),
        (KIT, "ed25519:\0"),
        (KIT, "ed25519"),
        (KIT, "ed25519:" + "x" * 300),
    ],
)
async def test_malformed_names_go_nowhere(world: World, server: str, key_id: str) -> None:
    """Events name servers and keys in places that nobody has parsed."""
    assert await world.get(ServerName(server), key_id) is None
    assert (world.network.asked, world.store.loads) == ([], [])


async def test_a_malformed_document_is_a_failure_like_others(world: World) -> None:
    world.network.documents[KIT] = {"server_name": "kit.example"}
    assert await world.get() is None
    world.network.publish(KIT)
    assert await world.get() is None
    world.clock.now += PAUSE
    assert await world.get()


# Flights


async def test_askers_share_a_request(world: World) -> None:
    world.network.publish(KIT)
    world.network.gate.clear()
    askers = [asyncio.create_task(world.get()) for _ in range(5)]
    await settle()
    world.network.gate.set()
    assert [await asker for asker in askers] == [ServerKey(verify_key(KIT), NOW + DAY)] * 5
    assert world.network.asked == [KIT]


async def test_a_request_survives_the_asker_who_caused_it(world: World) -> None:
    world.network.publish(KIT)
    world.network.gate.clear()
    first = asyncio.create_task(world.get())
    await settle()
    second = asyncio.create_task(world.get())
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    world.network.gate.set()
    assert await second
    assert world.network.asked == [KIT]


async def test_a_request_that_nobody_waits_for_is_not_begun(world: World) -> None:
    world.new_ring(max_requests=1)
    world.network.publish(KIT)
    world.network.publish(ANN)
    world.network.gate.clear()
    kit = asyncio.create_task(world.get(KIT))
    await settle()
    ann = asyncio.create_task(world.get(ANN))
    await settle()
    ann.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ann
    world.network.gate.set()
    assert await kit
    await settle()
    assert world.network.asked == [KIT]
    assert await world.get(ANN)


async def test_requests_at_once_are_bounded(world: World) -> None:
    world.new_ring(max_requests=3)
    servers = [ServerName(f"s{number}.example") for number in range(10)]
    for server in servers:
        world.network.publish(server)
    world.network.gate.clear()
    asker = asyncio.create_task(world.ring.get([KeyRequest(server, ID) for server in servers]))
    await settle()
    world.network.gate.set()
    assert set(await asker) == set(servers)
    assert world.network.most_under_way == 3


async def test_what_a_notary_is_asked_for_holds_up_nobody(world: World) -> None:
    """Neither because of many others, nor if it is the very server whose key somebody needs."""
    world.new_ring(max_requests=3)
    servers = [ServerName(f"s{number}.example") for number in range(10)]
    world.network.publish(KIT)
    world.network.gate.clear()
    refreshed = asyncio.create_task(world.ring.refresh([*servers, KIT], deadline=5))
    await settle()
    assert world.network.asked == servers[:3]
    asker = asyncio.create_task(world.get(KIT))
    await settle()
    assert world.network.asked[3:] == [KIT]
    world.network.gate.set()
    assert await asker
    await refreshed


async def test_who_wants_many_keys_holds_up_nobody_who_wants_one(world: World) -> None:
    """As when a room of hundreds of silent servers is joined, and one that is there speaks."""
    world.new_ring(max_requests=3)
    servers = [ServerName(f"s{number}.example") for number in range(MANY)]
    world.network.publish(KIT)
    world.network.gate.clear()
    wanted = [KeyRequest(server, ID) for server in [*servers, KIT]]
    many = asyncio.create_task(world.ring.get(wanted, deadline=5))
    await settle()
    assert world.network.asked == servers[:3]
    asker = asyncio.create_task(world.get(KIT))
    await settle()
    assert world.network.asked[3:] == [KIT]
    world.network.gate.set()
    assert await asker
    await many


async def test_the_deadline_ends_the_asking_and_not_the_request(world: World) -> None:
    world.network.publish(KIT)
    world.network.gate.clear()
    asker = asyncio.create_task(world.get(deadline=0.02))
    await settle()
    assert await asker is None
    world.network.gate.set()
    assert await world.get()
    assert world.network.asked == [KIT]


async def test_closing_leaves_no_asker_hanging(world: World) -> None:
    world.network.gate.clear()
    asker = asyncio.create_task(world.get())
    await settle()
    await world.ring.close()
    assert await asker is None
    assert world.network.under_way == 0


async def test_our_own_mistakes_are_not_hidden(world: World) -> None:
    """Only what is foreseen of a source is survived."""
    del world.network.documents
    with pytest.raises(AttributeError):
        await world.get()


# Not asking again too soon


async def requests_during(world: World, span: int, step: int = PAUSE) -> list[int]:
    """When the server was asked, after the first time, by an asker who comes every `step`."""
    start, times = world.clock.now, []
    while world.clock.now < start + span:
        before = len(world.network.asked)
        await world.get(since=NOW + 300 * DAY)
        if len(world.network.asked) > before:
            times.append((world.clock.now - start) // PAUSE)
        world.clock.now += step
    return times


async def test_a_dead_server_is_asked_ever_less(world: World) -> None:
    times = await requests_during(world, 2 * HOUR)
    assert times[:6] == [0, 1, 3, 7, 15, 31]
    assert {late - early for early, late in pairwise(times[5:])} == {MAX_PAUSE // PAUSE}


async def test_a_server_that_answers_starts_anew(world: World) -> None:
    await requests_during(world, HOUR)
    world.network.publish(KIT)
    world.clock.now += MAX_PAUSE
    assert await world.get()
    world.network.documents.clear()
    world.clock.now += PAUSE
    assert await requests_during(world, 8 * PAUSE) == [0, 1, 3, 7]


async def test_a_live_server_without_the_key_is_asked_at_a_steady_pace(world: World) -> None:
    world.network.publish(KIT)
    assert await requests_during(world, 8 * PAUSE, PAUSE // 2) == list(range(8))


async def test_a_server_that_is_back_is_forgiven(world: World) -> None:
    await requests_during(world, HOUR)
    world.network.publish(KIT)
    assert await world.get() is None
    world.ring.forgive(KIT)
    assert await world.get()


# Keys that change


async def test_an_expired_key_is_fetched_again(world: World) -> None:
    world.network.publish(KIT)
    assert await world.get(since=NOW) == ServerKey(verify_key(KIT), NOW + DAY)
    world.clock.now += 2 * DAY
    world.network.publish(KIT)
    assert await world.get(since=world.clock.now) == ServerKey(verify_key(KIT), NOW + 3 * DAY)


async def test_an_expired_key_is_better_than_none(world: World) -> None:
    world.network.publish(KIT)
    await world.get()
    world.clock.now += 2 * DAY
    world.network.documents.clear()
    assert await world.get(since=world.clock.now) == ServerKey(verify_key(KIT), NOW + DAY)
    assert len(world.network.asked) == 2


async def test_an_expired_key_will_do_for_its_time(world: World) -> None:
    world.network.publish(KIT)
    await world.get()
    world.clock.now += 2 * DAY
    assert await world.get(since=NOW)
    assert len(world.network.asked) == 1


async def test_a_document_that_lacks_a_key_does_not_delete_it(world: World) -> None:
    world.network.publish(KIT, "ed25519:1")
    await world.get(KIT, "ed25519:1")
    world.clock.now += PAUSE
    world.network.publish(KIT, "ed25519:2")
    assert await world.get(KIT, "ed25519:2")
    assert await world.get(KIT, "ed25519:1", NOW)
    world.new_ring()
    assert await world.get(KIT, "ed25519:1", NOW)


async def test_a_key_that_its_server_retires(world: World) -> None:
    world.network.publish(KIT, "ed25519:1")
    await world.get(KIT, "ed25519:1")
    world.clock.now += HOUR
    gone = OldKey(KeyID("ed25519:1"), verify_key(KIT, "ed25519:1"), NOW + 1)
    world.network.publish(KIT, "ed25519:2", old=[gone])
    await world.get(KIT, "ed25519:2")
    assert await world.get(KIT, "ed25519:1") == ServerKey(gone.key, NOW + 1, is_old=True)


@pytest.mark.parametrize("is_in_memory", [True, False])
async def test_a_spurious_answer_replaces_no_valid_key(world: World, is_in_memory: bool) -> None:
    """Other bytes under the ID of a key that is still valid: the server's name was hijacked."""
    world.network.publish(KIT)
    await world.get()
    if not is_in_memory:
        world.new_ring()
    world.clock.now += PAUSE
    impostor = [signing_key("evil.example", ID), signing_key("evil.example", "ed25519:2")]
    world.network.documents[KIT] = build_document(KIT, impostor, [], NOW + 7 * DAY)
    assert await world.get(KIT, "ed25519:2")
    assert await world.get() == ServerKey(verify_key(KIT), NOW + DAY)
    assert world.store.keys[KIT, ID].key.key == verify_key(KIT)


# Sources handed in, and notaries


def others_document(server: ServerName, valid_until: int = NOW + DAY, *key_ids: str) -> JsonObject:
    keys = [signing_key(server, key_id) for key_id in key_ids or [ID]]
    return build_document(server, keys, [], valid_until)


async def test_a_dead_servers_key_comes_from_the_resident_server(world: World) -> None:
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    found = await world.get(since=NOW, sources=[RESIDENT])
    assert found == ServerKey(verify_key(KIT), NOW + DAY)
    assert world.network.asked == [KIT, RESIDENT]
    assert world.network.queried == [(RESIDENT, {KIT: {ID: NOW}})]
    assert world.store.keys[KIT, ID].source is Source.HEARSAY


async def test_hearsay_gives_way_to_the_server_itself(world: World) -> None:
    """The resident server lied; the key's own server returns, and is asked although we hold one."""
    lie = build_document(KIT, [signing_key("evil.example")], [], NOW + DAY)
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [lie]
    assert await world.get(sources=[RESIDENT]) == ServerKey(verify_key("evil.example"), NOW + DAY)
    world.clock.now += PAUSE
    world.network.publish(KIT)
    assert await world.get() == ServerKey(verify_key(KIT), NOW + PAUSE + DAY)
    assert world.store.keys[KIT, ID].source is Source.ORIGIN


async def test_who_is_asked_and_in_which_order(world: World) -> None:
    """Each is asked only for what all before it did not have."""
    world.new_ring(notaries=[NOTARY])
    wanted = [KeyRequest(ServerName(f"s{number}.example"), ID, NOW) for number in range(4)]
    s0, s1, s2, s3 = [request.server for request in wanted]
    for server in (s0, RESIDENT, NOTARY):
        world.network.publish(server)
    world.network.notaries[RESIDENT] = [others_document(s1)]
    world.network.notaries[NOTARY] = [others_document(s2)]
    found = await world.ring.get(wanted, sources=[HEARTH, RESIDENT])
    assert list(found) == [s0, s1, s2]
    assert world.network.queried == [
        (RESIDENT, {server: {ID: NOW} for server in (s1, s2, s3)}),
        (NOTARY, {server: {ID: NOW} for server in (s2, s3)}),
    ]
    assert world.store.keys[s2, ID].source is Source.NOTARY


async def test_a_configured_notary_is_one_also_when_handed_in(world: World) -> None:
    world.new_ring(notaries=[NOTARY])
    world.network.publish(NOTARY)
    world.network.notaries[NOTARY] = [others_document(KIT)]
    await world.get(sources=[NOTARY])
    assert world.store.keys[KIT, ID].source is Source.NOTARY
    assert len(world.network.queried) == 1


async def test_by_default_no_notary_is_asked(world: World) -> None:
    assert await world.get() is None
    assert world.network.queried == []


async def test_a_notary_is_asked_in_bulk(world: World) -> None:
    servers = [ServerName(f"s{number}.example") for number in range(NOTARY_BATCH + 1)]
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(server) for server in servers]
    wanted = [KeyRequest(server, ID) for server in servers]
    await world.ring.get(wanted, sources=[RESIDENT])
    assert [len(asked) for _, asked in world.network.queried] == [NOTARY_BATCH, 1]


async def test_askers_share_a_query(world: World) -> None:
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(KIT), others_document(ANN)]
    await world.ring.get([KeyRequest(KIT, ID), KeyRequest(ANN, ID)])  # they are down
    world.network.gate.clear()
    both = asyncio.create_task(
        world.ring.get([KeyRequest(KIT, ID), KeyRequest(ANN, ID)], sources=[RESIDENT])
    )
    await settle()
    one = asyncio.create_task(world.get(ANN, sources=[RESIDENT]))
    await settle()
    both.cancel()
    world.network.gate.set()
    assert await one
    assert len(world.network.queried) == 1


async def test_a_slow_server_leaves_time_to_ask_another(world: World) -> None:
    world.new_ring(fixed={RESIDENT: {ID: ServerKey(verify_key(RESIDENT), NOW)}})
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    world.network.fetch_server_keys = _never  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await world.get(sources=[RESIDENT], deadline=0.2)
    assert loop.time() < started + 0.2


async def test_many_silent_servers_hold_up_nobody_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their requests take all places there are; who tells their keys is asked anyway."""
    monkeypatch.setattr("federation.net.key_ring.HEAD_START", 0.05)
    servers = [ServerName(f"s{number}.example") for number in range(2 * NOTARY_BATCH)]
    world.new_ring(fixed={RESIDENT: {ID: ServerKey(verify_key(RESIDENT), NOW)}})
    world.network.notaries[RESIDENT] = [others_document(server) for server in servers]
    world.network.fetch_server_keys = _never  # type: ignore[method-assign]
    wanted = [KeyRequest(server, ID) for server in servers]
    async with asyncio.timeout(5):
        assert len(await world.ring.get(wanted, sources=[RESIDENT])) == len(servers)


async def test_a_few_of_many_are_not_waited_for_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for many keys bit by bit waits for the last no longer than for all at once."""
    monkeypatch.setattr("federation.net.key_ring.HEAD_START", 0.05)
    world.new_ring(fixed={RESIDENT: {ID: ServerKey(verify_key(RESIDENT), NOW)}})
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    world.network.fetch_server_keys = _never  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await world.ring.get([KeyRequest(KIT, ID)], sources=[RESIDENT], beside=MANY)
    assert loop.time() < began + DEADLINE / 4


async def test_who_had_a_head_start_gets_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose key is hearsay, and whose server is still asked, is waited for once."""
    monkeypatch.setattr("federation.net.key_ring.HEAD_START", 0.5)
    world.new_ring(fixed={RESIDENT: {ID: ServerKey(verify_key(RESIDENT), NOW)}})
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    world.network.fetch_server_keys = _never  # type: ignore[method-assign]
    wanted = [KeyRequest(KIT, ID)]
    assert await world.ring.get(wanted, sources=[RESIDENT], beside=MANY)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        assert await world.ring.get(wanted, sources=[RESIDENT])
    assert loop.time() < began + 0.5


async def test_whose_key_is_hearsay_is_not_waited_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federation.net.key_ring.HEAD_START", 0.05)
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    assert await world.get(sources=[RESIDENT])
    world.clock.now += PAUSE
    world.network.fetch_server_keys = _never  # type: ignore[method-assign]
    async with asyncio.timeout(5):
        assert await world.get(sources=[RESIDENT])


async def _never(server: ServerName) -> JsonObject:
    await asyncio.Event().wait()
    raise AssertionError(server)


async def test_an_answer_that_is_late_for_its_turn_counts(world: World) -> None:
    """The server itself answers while the next source is being asked."""
    world.network.publish(KIT)
    world.network.gate.clear()

    async def query_notary(*_: object) -> list[JsonObject]:
        world.network.gate.set()
        await settle()
        return []

    world.network.query_notary = query_notary  # type: ignore[method-assign,assignment]
    assert await world.get(sources=[RESIDENT], deadline=0.1)


def _unsigned(fields: JsonObject) -> JsonObject:
    return {**fields, "signatures": {}}


@pytest.mark.parametrize(
    ("answer", "is_notary_up"),
    [
        ([_unsigned(others_document(KIT))], True),
        ([others_document(ANN)], True),
        ([{}, {"server_name": 1}, {"signatures": {RESIDENT: 1}}], True),
        ([others_document(KIT)], False),
    ],
    ids=["not signed by its server", "of another server", "malformed", "notary's key unknown"],
)
async def test_what_a_notary_may_not_say(
    world: World, answer: list[JsonObject], is_notary_up: bool
) -> None:
    if is_notary_up:
        world.network.publish(RESIDENT)

    async def query_notary(*_: object) -> list[JsonObject]:
        key = signing_key(RESIDENT)
        return [
            fields if "verify_keys" not in fields else sign_json(fields, RESIDENT, key)
            for fields in answer
        ]

    world.network.query_notary = query_notary  # type: ignore[method-assign,assignment]
    assert await world.get(sources=[RESIDENT]) is None
    assert not {name for name in world.store.keys if name[0] != RESIDENT}


async def test_a_notary_is_not_asked_for_its_own_keys(world: World) -> None:
    """Not even when another notary took so long that it might be asked directly again."""
    queried = []

    async def query_notary(notary: ServerName, wanted: object) -> list[JsonObject]:
        queried.append(notary)
        world.clock.now += PAUSE
        return []

    world.network.query_notary = query_notary  # type: ignore[method-assign]
    assert await world.get(RESIDENT, sources=[NOTARY, RESIDENT]) is None
    assert queried == [NOTARY]


async def test_a_notary_is_asked_for_the_latest_time_wanted(world: World) -> None:
    wanted = [KeyRequest(KIT, ID, NOW + time) for time in (0, HOUR, -HOUR)]
    await world.ring.get(wanted, sources=[RESIDENT])
    assert world.network.queried == [(RESIDENT, {KIT: {ID: NOW + HOUR}})]


async def test_only_so_many_of_a_notarys_documents_are_looked_at(world: World) -> None:
    world.network.publish(RESIDENT)
    junk = [others_document(ANN)] * DOCUMENTS_PER_SERVER
    world.network.notaries[RESIDENT] = [*junk, others_document(KIT)]
    assert await world.get(sources=[RESIDENT]) is None


async def test_only_so_many_of_a_notarys_keys_are_looked_for(world: World) -> None:
    world.network.publish(RESIDENT)
    signatures = {f"ed25519:{number}": "A" for number in range(10 * MAX_SIGNERS)}
    fields = {**others_document(KIT), "signatures": {RESIDENT: signatures}}
    world.network.notaries[RESIDENT] = [fields]
    await world.get(sources=[RESIDENT])
    assert max(len(names) for names in world.store.loads) == MAX_SIGNERS


async def test_one_bad_document_does_not_spoil_a_notarys_others(world: World) -> None:
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [{}, _unsigned(others_document(ANN)), others_document(KIT)]
    assert await world.get(sources=[RESIDENT])


async def test_of_a_notarys_documents_the_newest_counts(world: World) -> None:
    """A notary remembers from when a key was current, and from when it was retired."""
    gone = OldKey(ID, verify_key(KIT), NOW - 9 * DAY)
    retired = build_document(KIT, [signing_key(KIT, "ed25519:2")], [gone], NOW - 5 * DAY)
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(KIT, NOW - 8 * DAY), retired]
    found = await world.get(sources=[RESIDENT])
    assert found == ServerKey(gone.key, gone.expired_ts, is_old=True)


async def test_a_dead_notary_is_left_alone_for_a_while(world: World) -> None:
    for server in (KIT, ANN):
        await world.get(server, sources=[RESIDENT])
    assert len(world.network.queried) == 1
    world.clock.now += PAUSE
    await world.get(sources=[RESIDENT])
    assert len(world.network.queried) == 2


async def test_a_notary_that_lacks_a_key_is_left_alone_for_a_while(world: World) -> None:
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = []
    for server in (KIT, KIT, ANN):
        await world.get(server, sources=[RESIDENT])
    assert [list(asked) for _, asked in world.network.queried] == [[KIT], [ANN]]


async def test_notaries_do_not_vouch_for_each_other(world: World) -> None:
    """Two notaries whose own keys cannot be had: no answer, and no waiting in a ring."""
    other = ServerName("other.example")
    world.new_ring(notaries=[NOTARY, other])
    world.network.notaries[NOTARY] = [others_document(KIT), others_document(other)]
    world.network.notaries[other] = [others_document(KIT), others_document(NOTARY)]
    assert await world.get() is None
    assert world.store.keys == {}


# Bounds and breakdowns


async def test_memory_is_bounded_and_the_answer_is_not(world: World) -> None:
    world.new_ring(max_keys=2)
    servers = [ServerName(f"s{number}.example") for number in range(5)]
    for server in servers:
        world.network.publish(server)
    wanted = [KeyRequest(server, ID) for server in servers]
    assert set(await world.ring.get(wanted)) == set(servers)
    world.store.loads.clear()
    assert set(await world.ring.get(wanted)) == set(servers)
    assert [len(names) for names in world.store.loads] == [3]
    assert len(world.network.asked) == 5


async def test_what_was_used_last_stays_in_memory(world: World) -> None:
    world.new_ring(max_keys=2)
    carl = ServerName("carl.example")
    for server in (KIT, ANN, carl):
        world.network.publish(server)
    for server in (KIT, ANN, KIT, carl):
        await world.get(server)
    world.store.loads.clear()
    await world.get(KIT)
    assert world.store.loads == []
    await world.get(ANN)
    assert len(world.store.loads) == 1


async def test_a_store_that_cannot_be_read(world: World) -> None:
    """Keys are fetched, but not written over what may be stored."""
    world.network.publish(KIT)
    world.store.can_load = False
    assert await world.get()
    assert world.store.keys == {}
    assert await world.get()
    assert world.network.asked == [KIT]


async def test_a_store_that_cannot_be_written(world: World) -> None:
    world.network.publish(KIT)
    world.store.can_save = False
    assert await world.get()
    assert await world.get()
    assert world.network.asked == [KIT]


async def test_documents_are_kept_as_they_were_received(world: World) -> None:
    world.network.publish(RESIDENT)
    world.network.notaries[RESIDENT] = [others_document(KIT)]
    await world.get(sources=[RESIDENT])
    signed = sign_json(others_document(KIT), RESIDENT, signing_key(RESIDENT))
    assert parse_document(signed, KIT, NOW) in world.store.documents
