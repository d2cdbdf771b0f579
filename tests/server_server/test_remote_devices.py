"""Device lists of people of other servers: kept, followed, doubted, fetched, dropped.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from federation.canonical_json import JsonObject
from federation.identifiers import ServerName, UserID
from homeserver.e2ee import fetching, remote_updates
from homeserver.e2ee.remote_updates import device_update, follow
from homeserver.peers.keys import KeyClient
from homeserver.storage import remote_devices
from homeserver.storage.numbers import ServerNid, UserNid
from homeserver.storage.remote_devices import Fetched, Standing
from tests.client_server.keyring import Device, cross_signing_keys, key_of
from tests.client_server.test_device_lists import begin, news
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth, eventually

UPDATE = "m.device_list_update"


def keys(user_id: str, device_id: str) -> JsonObject:
    return Device(user_id, device_id, key_of(user_id, device_id)).keys()


def devices(peer: Peer, user_id: str, stream_id: int, *names: str) -> None:
    """The peer tells these devices from now on."""
    listed = [{"device_id": name, "keys": keys(user_id, name)} for name in names]
    answer = {"user_id": user_id, "stream_id": stream_id, "devices": listed}
    peer.devices[user_id] = {**peer.devices.get(user_id, {}), **answer}


def update(user_id: str, device_id: str, stream_id: int, prev: Sequence[int], **more: Any) -> Any:
    content = {
        "user_id": user_id,
        "device_id": device_id,
        "stream_id": stream_id,
        "prev_id": list(prev),
    }
    said = more or {"keys": keys(user_id, device_id)}
    return {"edu_type": UPDATE, "content": {**content, **said}}


def requests(peer: Peer) -> int:
    """For devices, so far."""
    return sum("/user/" in path for path in peer.asked)


async def query(client: Client, user_id: str, **more: Any) -> Any:
    body = {"device_keys": {user_id: []}, **more}
    return (await client.post(f"{V3}/keys/query", body)).ok()


async def names(client: Client, user_id: str) -> set[str]:
    """The devices that are found."""
    return set((await query(client, user_id))["device_keys"].get(user_id, {}))


async def token(client: Client) -> str:
    since: str = (await client.get(f"{V3}/sync", timeout=0)).ok()["next_batch"]
    return since


async def changed(client: Client, since: str) -> list[str]:
    news = (await client.get(f"{V3}/sync", timeout=0, since=since)).ok()
    found: list[str] = news.get("device_lists", {}).get("changed", [])
    return found


async def count(hearth: Hearth, table: str) -> int:
    async with hearth.parts.base.process.database.reader() as conn:
        found: int = await conn.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
    return found


@pytest.fixture
def promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for that need not be."""
    monkeypatch.setattr(remote_updates, "_SOON", 0)
    monkeypatch.setattr(fetching, "_FIRST_PAUSE", 50)
    monkeypatch.setattr(fetching, "_LONGEST_PAUSE", 100)


async def followed(scene: Scene) -> UserID:
    """Eve, whose list is kept with its place in the sequence of updates."""
    eve, peer = scene.peer.user("eve"), scene.peer
    devices(peer, eve, 1, "ONE")
    assert await names(scene.ann, eve) == {"ONE"}
    await peer.send(edus=[update(eve, "ONE", 1, [])])
    path = f"/_matrix/federation/v1/user/devices/{eve}"
    await eventually(lambda: _is(path in peer.asked))
    await _is_fresh(scene)
    peer.asked.clear()
    return eve


async def _is_fresh(scene: Scene) -> None:
    """What was asked for has arrived."""

    async def nothing_is_stale() -> bool:
        return not await count(scene.hearth, "remote_device_lists WHERE stale OR stream_id IS NULL")

    await eventually(nothing_is_stale)


async def _is(value: bool) -> bool:
    return value


def _standing(**more: Any) -> Standing:
    known = Standing(UserNid(1), UserID("@a:b"), True, False, 0, 5, b"{}", None)
    return known._replace(**more)


EVE = "@a:b"
FIRST, SECOND = update(EVE, "X", 6, [5])["content"], update(EVE, "Y", 7, [6])["content"]


@pytest.mark.parametrize(
    ("known", "told", "expected"),
    [
        pytest.param({}, [FIRST], (6, ["X"]), id="follows"),
        pytest.param({}, [FIRST, SECOND], (7, ["X", "Y"]), id="two"),
        pytest.param({}, [SECOND], None, id="gap"),
        pytest.param({}, [SECOND, FIRST], None, id="wrong order"),
        pytest.param({}, [{**FIRST, "stream_id": 5, "prev_id": [4]}], (5, []), id="again"),
        pytest.param({}, [{**FIRST, "prev_id": [5, 4]}], None, id="one of two unknown"),
        pytest.param({}, [FIRST, {**SECOND, "prev_id": [5, 6]}], (7, ["X", "Y"]), id="fork"),
        pytest.param({}, [{**FIRST, "prev_id": []}], None, id="first of a sequence"),
        pytest.param({}, [{**FIRST, "keys": None}], None, id="no keys"),
        pytest.param({}, [{**FIRST, "keys": None, "deleted": True}], (6, ["X"]), id="gone"),
        pytest.param({}, [{**FIRST, "stream_id": "6"}], None, id="no number"),
        pytest.param({}, [{**FIRST, "stream_id": 2**70}], None, id="huge number"),
        pytest.param({}, [{**FIRST, "prev_id": 5}], None, id="no list"),
        pytest.param({}, [{**FIRST, "device_id": "a\0"}], None, id="NUL"),
        pytest.param({}, [{**FIRST, "device_id": "a" * 300}], None, id="long"),
        pytest.param({}, [{**FIRST, "keys": {"a": "b" * 70_000}}], None, id="large"),
        pytest.param({"is_stale": True}, [FIRST], None, id="stale"),
        pytest.param({"is_known": False}, [FIRST], None, id="unknown"),
        pytest.param({"stream_id": None}, [FIRST], None, id="without a place"),
    ],
)
def test_what_follows(known: Any, told: list[Any], expected: Any) -> None:
    step = follow(_standing(**known), [device_update(content).what for content in told])
    found = step and (step.move.after, [row.device_id for row in step.devices])
    assert found == expected


async def test_what_is_fresh_is_asked_for_once(scene: Scene) -> None:
    """However many want it at the same moment, and whoever wants it later."""
    eve = scene.peer.user("eve")
    devices(scene.peer, eve, 1, "ONE", "TWO")
    scene.peer.devices[eve] |= cross_signing_keys(eve).upload()
    ben = await scene.hearth.user("ben")
    answers = await asyncio.gather(*(query(who, eve) for who in [scene.ann, ben] * 10))
    # Who looked just before it came asks again.
    asked = requests(scene.peer)
    assert asked <= 3
    for answer in [*answers, await query(ben, eve)]:
        assert set(answer["device_keys"][eve]) == {"ONE", "TWO"}
        assert answer["master_keys"][eve] == cross_signing_keys(eve).upload()["master_key"]
        assert eve in answer["self_signing_keys"]
        assert answer["failures"] == {}
    some = (await ben.post(f"{V3}/keys/query", {"device_keys": {eve: ["TWO", "NO"]}})).ok()
    assert set(some["device_keys"][eve]) == {"TWO"}
    assert requests(scene.peer) == asked


async def test_nothing_is_kept_of_strangers(scene: Scene) -> None:
    stranger = scene.peer.user("stranger")
    devices(scene.peer, stranger, 1, "ONE")
    for _ in range(2):
        assert await names(scene.ann, stranger) == {"ONE"}
    assert requests(scene.peer) == 2
    assert await count(scene.hearth, "remote_device_lists") == 0


@pytest.mark.usefixtures("promptly")
async def test_servers_that_were_in_no_room_get_no_number(federated: tuple[Hearth, Peer]) -> None:
    """Anybody with a domain has thousands of them."""
    hearth, peer = federated
    await peer.send(edus=[update(peer.user("zed"), "D", 1, [])])
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        assert not await process.numbers.servers.find(conn, [peer.name])


async def test_updates_are_followed(scene: Scene) -> None:
    """Each is told to who shares a room, and costs no request."""
    ann, peer, eve = scene.ann, scene.peer, await followed(scene)
    since = await token(ann)
    await peer.send(edus=[update(eve, "TWO", 2, [1]), update(eve, "ONE", 3, [2], deleted=True)])
    assert await changed(ann, since) == [eve]
    assert await names(ann, eve) == {"TWO"}
    since = await token(ann)
    # The same again is nothing new.
    await peer.send(edus=[update(eve, "ONE", 3, [2], deleted=True)])
    assert await changed(ann, since) == []
    own = cross_signing_keys(eve).upload()
    content = {"user_id": eve, "master_key": own["master_key"]}
    await peer.send(edus=[{"edu_type": "m.signing_key_update", "content": content}])
    assert await changed(ann, since) == [eve]
    assert (await query(ann, eve))["master_keys"] == {eve: own["master_key"]}
    assert requests(peer) == 0


@pytest.mark.usefixtures("promptly")
async def test_a_gap_is_filled_behind(scene: Scene) -> None:
    ann, peer, eve = scene.ann, scene.peer, await followed(scene)
    await query(ann, eve)
    devices(peer, eve, 9, "ONE", "NINE")
    since = await token(ann)
    await peer.send(edus=[update(eve, "NINE", 9, [8])])
    assert await changed(ann, since) == [eve]
    await eventually(lambda: _is(requests(peer) == 1))
    await _is_fresh(scene)
    assert await names(ann, eve) == {"ONE", "NINE"}
    await peer.send(edus=[update(eve, "TEN", 10, [9])])
    assert await names(ann, eve) == {"ONE", "NINE", "TEN"}
    assert requests(peer) == 1


@pytest.mark.usefixtures("promptly")
async def test_a_server_that_is_away(scene: Scene) -> None:
    """What was known is told with its name; once it is back, clients are told to ask again."""
    ann, peer, eve = scene.ann, scene.peer, await followed(scene)
    peer.lies["user"] = lambda _: web.Response(status=503)
    await peer.send(edus=[update(eve, "NINE", 9, [8])])
    answer = await query(ann, eve)
    assert set(answer["failures"]) == {peer.name}
    assert set(answer["device_keys"][eve]) == {"ONE"}
    since = await token(ann)
    devices(peer, eve, 9, "NINE")
    del peer.lies["user"]
    await eventually(lambda: changed(ann, since))
    assert await query(ann, eve) | {"device_keys": {}} == await query(ann, eve) | {
        "device_keys": {}
    }
    assert await names(ann, eve) == {"NINE"}


async def test_whose_lists_are_dropped(scene: Scene) -> None:
    """Once no room is shared: nobody tells what changes, so who comes back is asked for anew."""
    ann, peer, eve = scene.ann, scene.peer, scene.peer.user("eve")
    devices(peer, eve, 1, "ONE")
    await names(ann, eve)

    async def is_dropped() -> bool:
        return not await count(scene.hearth, "remote_device_lists")

    leave = peer.make(scene.room, "m.room.member", {"membership": "leave"}, eve, eve)
    await peer.send([leave])
    await eventually(is_dropped)
    assert await count(scene.hearth, "remote_devices") == 0
    again = await peer.join(scene.room.room_id, eve)
    assert again.tips
    await names(ann, eve)
    assert requests(peer) == 2
    (await ann.post(f"{scene.path}/leave")).ok()
    await eventually(is_dropped)


async def test_a_join_asks_for_nothing(federated: tuple[Hearth, Peer]) -> None:
    """Whoever comes into a large room: lists are fetched when somebody wants them, together."""
    hearth, peer = federated
    ann, room = await hearth.user("ann"), peer.found(peer.user("eve"))
    people = [peer.user(f"p{number}") for number in range(60)]
    for person in people:
        peer.say_state(room, "m.room.member", {"membership": "join"}, person, person)
    (await ann.post(f"{V3}/join/{room.room_id}", server_name=peer.name)).ok()

    async def all_known() -> bool:
        path = f"{V3}/rooms/{room.room_id}/joined_members"
        return len((await ann.get(path)).ok()["joined"]) == 62

    await eventually(all_known)
    assert requests(peer) == 0
    wanted: dict[str, list[str]] = {person: [] for person in people}
    (await ann.post(f"{V3}/keys/query", {"device_keys": wanted})).ok()
    (await ann.post(f"{V3}/keys/query", {"device_keys": wanted})).ok()
    assert requests(peer) == 1


@pytest.mark.usefixtures("promptly")
async def test_a_flood_for_one_user(scene: Scene) -> None:
    """Thousands of updates: one request, one row, and hardly anything in the log."""
    ann, peer, eve = scene.ann, scene.peer, await followed(scene)
    before = await count(scene.hearth, "log")
    for start in range(100, 4100, 100):
        await peer.send(edus=[update(eve, f"D{n}", n, [n - 50]) for n in range(start, start + 100)])
    assert requests(peer) <= 2
    assert await count(scene.hearth, "remote_device_lists") == 1
    assert await count(scene.hearth, "remote_devices") == 1
    assert await count(scene.hearth, "log") - before <= 4
    assert await names(ann, eve) == {"ONE"}


async def test_a_flood_for_thousands_of_users(scene: Scene) -> None:
    """Of people whom nobody met, or of other servers, nothing is noted."""
    peer = scene.peer
    before = await count(scene.hearth, "log"), await count(scene.hearth, "users")
    elsewhere = ServerName("elsewhere.test")
    for start in range(0, 3000, 100):
        people = [peer.user(f"nobody{n}") for n in range(start, start + 50)]
        people += [UserID(f"@nobody{n}:{elsewhere}") for n in range(start, start + 49)]
        await peer.send(edus=[update(who, "D", 1, []) for who in [*people, scene.ann.user_id]])
    assert requests(peer) == 0
    assert await count(scene.hearth, "remote_device_lists") == 0
    assert (await count(scene.hearth, "log"), await count(scene.hearth, "users")) == before


@pytest.mark.usefixtures("promptly")
async def test_a_list_of_chains_without_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that follow on each other, more than anybody has."""
    monkeypatch.setattr(remote_updates, "MOST_DEVICES", 100)
    peer, eve = scene.peer, await followed(scene)
    for start in range(2, 502, 100):
        await peer.send(edus=[update(eve, f"D{n}", n, [n - 1]) for n in range(start, start + 100)])
    assert await count(scene.hearth, "remote_devices") <= 200


async def test_what_comes_while_a_list_is_fetched(hearth: Hearth) -> None:
    """An update that the answer may not know of leaves the list stale."""
    process = hearth.parts.base.process
    server, user = ServerNid(7), UserNid(70)
    async with process.database.reader() as conn:
        changes = await remote_devices.begin(conn, [user], server)
        assert await remote_devices.mark_stale(conn, [user], server, 0) == set()
        fetched = Fetched(user, changes[user], 1, None, None)
        await remote_devices.store(conn, [fetched], [], wanted=True, again_ts=0)
        stale = "SELECT stale FROM remote_device_lists"
        assert await conn.fetchval(stale) is True
        changes = await remote_devices.begin(conn, [user], server)
        fetched = Fetched(user, changes[user], 2, None, None)
        await remote_devices.store(conn, [fetched], [], wanted=True, again_ts=0)
        assert await conn.fetchval(stale) is False
        assert await remote_devices.mark_stale(conn, [user], server, 0) == {user}


async def test_two_workers_fetch_a_list(scene: Scene) -> None:
    """The slower answer is of before an update that went into what the faster one told."""
    peer, eve = scene.peer, scene.peer.user("eve")
    devices(peer, eve, 1, "ONE")
    going_on = asyncio.Event()

    async def late(found: Any) -> Any:
        await going_on.wait()
        return found

    process = scene.hearth.parts.base.process
    peers = KeyClient(scene.hearth.parts.federating.peers.client)
    slow, fast = fetching.Fetching(process, peers), fetching.Fetching(process, peers)
    peer.lies["user"] = late
    asked = len(peer.asked)
    waiting = slow.one(peer.name, eve)
    await eventually(lambda: _is(len(peer.asked) > asked))
    peer.lies.clear()
    await fast.one(peer.name, eve)
    await peer.send(edus=[update(eve, "TWO", 2, [1])])
    assert await names(scene.ann, eve) == {"ONE", "TWO"}
    going_on.set()
    await waiting
    assert await names(scene.ann, eve) == {"ONE", "TWO"}


REMOTE: list[tuple[str, list[str], str, str]] = [
    ("leaves", ["leave"], "", "eve"),
    ("is back", ["leave", "join"], "eve", ""),
    ("is renamed", ["join"], "", ""),
]


@pytest.mark.parametrize(
    ("memberships", "changed", "left"), [case[1:] for case in REMOTE], ids=[c[0] for c in REMOTE]
)
async def test_members_of_other_servers(
    scene: Scene, memberships: list[str], changed: str, left: str
) -> None:
    peer, eve = scene.peer, scene.peer.user("eve")
    since, pos = await begin(scene.ann)
    for number, membership in enumerate(memberships):
        content = {"membership": membership, "displayname": str(number)}
        event = peer.make(scene.room, "m.room.member", content, eve, eve)
        assert await peer.send([event]) == {event.event_id: {}}
        scene.room.add(event)
    expected = ([eve] if changed else [], [eve] if left else [])
    assert await news(scene.ann, since, pos) == [expected] * 3


async def test_leaving_a_room_of_others(scene: Scene) -> None:
    eve = scene.peer.user("eve")
    since, pos = await begin(scene.ann)
    (await scene.ann.post(f"{scene.path}/leave")).ok()
    assert await news(scene.ann, since, pos) == [([], [eve])] * 3
