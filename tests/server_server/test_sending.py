"""What is sent to other servers: in order, once, and how those fare that do not answer.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.errors import FederationError
from federation.identifiers import RoomID, ServerName, UserID
from homeserver.config.settings import Federation
from homeserver.config.values import Duration
from homeserver.peers.pauses import Pace
from homeserver.peers.sending import _MOST_BYTES_WAITING, _TOLD_OFTEN, DUTY
from homeserver.rooms.drafting import Submission
from homeserver.storage import destinations, device_updates, outgoing
from homeserver.storage.destinations import FOLLOW_DEVICES
from homeserver.storage.numbers import ServerNid
from homeserver.storage.outgoing import Edu
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import Peer, Room
from tests.server_server.test_device_updates import UPDATE, publish
from tests.servers import Client, Hearth, eventually, federating

TO_DEVICE = "m.direct_to_device"
_WHILE = Duration(1_800_000)
_HOUR = Duration(3_600_000)
_DAY = Duration(86_400_000)


def _texts(transactions: Sequence[JsonObject]) -> list[str]:
    pdus = [pdu for txn in transactions for pdu in txn["pdus"]]
    return [pdu["content"]["body"] for pdu in pdus if pdu["type"] == "m.room.message"]


async def _row(hearth: Hearth, column: str) -> Any:
    """A column of the peer's row among the destinations, which is the only one."""
    async with hearth.parts.base.process.database.reader() as conn:
        return await conn.fetchval(f"SELECT {column} FROM destinations WHERE pause > 0")  # noqa: S608


async def _queued(hearth: Hearth) -> int:
    async with hearth.parts.base.process.database.reader() as conn:
        found: int = await conn.fetchval("SELECT count(*) FROM outgoing_events")
        return found


async def _queued_are(hearth: Hearth, count: int) -> bool:
    return await _queued(hearth) == count


async def _room(ann: Client, peer: Peer) -> Room:
    body = {"preset": "public_chat", "room_version": "11"}
    made = (await ann.post(f"{V3}/createRoom", body)).ok()
    return await peer.join(RoomID(made["room_id"]), peer.user("eve"))


@asynccontextmanager
async def _patient(
    postgres: Server, folder: Path, authority: Authority, least: Duration, most: Duration
) -> AsyncIterator[Scene]:
    """A scene whose server leaves others alone for long."""
    federation = Federation(retry_minimum=least, retry_maximum=most)
    made = federating(postgres, folder, authority, federation=federation)
    async with made as hearth, peering(hearth, authority) as peer:
        ann = await hearth.user("ann")
        yield Scene(hearth, peer, ann, await _room(ann, peer))


class _Failing:
    """The peer notes what it is sent, and fails."""

    def __init__(self, peer: Peer, status: int = 502) -> None:
        self._peer = peer
        self._status = status
        peer.lies["send"] = self._fail

    def _fail(self, _: Any) -> web.Response:
        return web.json_response({}, status=self._status)

    @property
    def sent(self) -> list[str]:
        """The paths of the transactions."""
        return [path for path in self._peer.asked if "/v1/send/" in path]


async def _say_and_fail(scene: Scene, text: str, status: int = 502) -> _Failing:
    """Ann says something that the peer does not take."""
    failing = _Failing(scene.peer, status)
    before = len(failing.sent)
    scene.peer.told.clear()
    await scene.say(text)

    async def failed() -> bool:
        return len(failing.sent) > before and await _row(scene.hearth, "pause") is not None

    await eventually(failed)
    return failing


async def test_one_transaction_at_a_time(scene: Scene) -> None:
    """The next one has all that came meanwhile, in order."""
    going_on, under_way = asyncio.Event(), []

    async def slow(found: Any) -> Any:
        under_way.append(True)
        await going_on.wait()
        return found

    scene.peer.told.clear()
    scene.peer.lies["send"] = slow
    await scene.say("0")
    await eventually(lambda: _when(bool(under_way)))
    for number in range(1, 6):
        await scene.say(f"{number}")
    await eventually(lambda: _queued_are(scene.hearth, 6))
    assert len(under_way) == 1
    going_on.set()
    await eventually(lambda: _when(len(_texts(scene.peer.told)) == 6))
    assert _texts(scene.peer.told) == [f"{number}" for number in range(6)]
    assert len(scene.peer.told) == 2


async def _when(condition: bool) -> bool:
    return condition


async def test_who_does_not_answer_is_left_alone_until_it_shows_life(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Then the same transaction is repeated, and nothing is lost."""
    async with _patient(postgres, tmp_path, loopback_authority, _WHILE, _DAY) as scene:
        failing = await _say_and_fail(scene, "one")
        assert await _row(scene.hearth, "pause") == _WHILE.milliseconds
        await scene.say("two")
        await scene.say("three")
        tried, first = failing.sent, scene.peer.told[0]
        await eventually(lambda: _queued_are(scene.hearth, 3))
        scene.peer.told.clear()
        scene.peer.lies.clear()
        await scene.peer.send([])
        await eventually(lambda: _when(len(_texts(scene.peer.told)) == 3))
        assert _texts(scene.peer.told) == ["one", "two", "three"]
        assert scene.peer.told[0] == first
        assert failing.sent[len(tried)] == tried[-1]
        assert await _row(scene.hearth, "pause") is None


async def test_who_was_away_for_long_gets_the_newest_of_each_room(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with _patient(postgres, tmp_path, loopback_authority, _HOUR, _HOUR) as scene:
        other = Scene(*scene[:3], await _room(scene.ann, scene.peer))
        await _say_and_fail(scene, "before")
        for number in range(5):
            await scene.say(f"here {number}")
            await other.say(f"there {number}")
        await asyncio.sleep(0.1)
        assert await _queued(scene.hearth) == 1
        scene.peer.told.clear()
        scene.peer.lies.clear()
        await scene.peer.send([])
        await eventually(lambda: _when(len(_texts(scene.peer.told)) == 3))
        await scene.say("after")
        await eventually(lambda: _when(len(_texts(scene.peer.told)) == 4))
        assert _texts(scene.peer.told) == ["before", "here 4", "there 4", "after"]


async def test_who_is_away_is_told_if_its_own_people_are_put_out(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with _patient(postgres, tmp_path, loopback_authority, _HOUR, _HOUR) as scene:
        await _say_and_fail(scene, "before")
        eve = scene.peer.user("eve")
        (await scene.ann.post(f"{scene.path}/kick", {"user_id": eve})).ok()
        await scene.say("without her")
        scene.peer.told.clear()
        scene.peer.lies.clear()
        await scene.peer.send([])

        async def is_told() -> bool:
            pdus = [pdu for txn in scene.peer.told for pdu in txn["pdus"]]
            return any(pdu.get("state_key") == eve for pdu in pdus)

        await eventually(is_told)
        assert _texts(scene.peer.told) == ["before"]


async def test_who_was_away_is_told_whose_devices_changed(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Of each person the last update, once; it names one that the server never heard of."""
    async with _patient(postgres, tmp_path, loopback_authority, _HOUR, _HOUR) as scene:
        ann, peer = scene.ann, scene.peer
        ben, kim = await scene.hearth.user("ben"), await scene.hearth.user("kim")
        for client in (ann, ben):
            (await client.post(f"{scene.path}/join")).ok()
            await publish(client)
        await eventually(lambda: _when(len(peer.heard(UPDATE)) == 2))
        heard = {update["stream_id"] for update in peer.heard(UPDATE)}
        # Whoever tells of devices writes from time to time how far it has come.
        come = f"SELECT pos >= {max(heard)} FROM duties WHERE name = 'follow devices'"  # noqa: S608
        await eventually(lambda: _found(scene.hearth, come))
        failing = _Failing(peer)
        tablet = await ann.log_in_again("TABLET")
        await publish(tablet)
        await eventually(lambda: _row(scene.hearth, "devices_behind"))
        # While nothing is told: devices come and go, and somebody comes into the room.
        await publish(kim)
        (await kim.post(f"{scene.path}/join")).ok()
        for number in range(3):
            phone = await ann.log_in_again(f"PHONE{number}")
            await publish(phone)
            (await phone.post(f"{V3}/logout")).ok()
        await publish(await ann.log_in_again("LAST"))
        last = "SELECT stream_id FROM device_updates WHERE device_id = 'LAST'"
        await eventually(lambda: _found(scene.hearth, last))
        kept = "SELECT count(*) FROM outgoing_edus WHERE type = 'm.device_list_update'"
        assert await _found(scene.hearth, kept) <= 1
        peer.told.clear()
        peer.lies.clear()
        assert failing.sent
        await peer.send([])
        await eventually(lambda: _when(len(peer.heard(UPDATE)) >= 3))
        repeated, *told = peer.heard(UPDATE)
        assert repeated["device_id"] == "TABLET"
        newest = {update["user_id"]: update for update in told}
        assert newest.keys() == {ann.user_id, kim.user_id}
        assert len(told) == 2
        assert newest[ann.user_id]["stream_id"] == await _found(scene.hearth, last)
        assert not {*newest[ann.user_id]["prev_id"]} & {*heard, repeated["stream_id"]}
        assert await _found(scene.hearth, "SELECT count(devices_behind) FROM destinations") == 0
        # And from now on, all is told again.
        await publish(await ben.log_in_again("LAPTOP"))
        await eventually(lambda: _when(len(peer.heard(UPDATE)) == 4))
        assert set(peer.heard(UPDATE)[-1]["prev_id"]) < heard


async def test_what_waits_for_a_server_is_bounded(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Of messages to devices the newest are kept; one too large for one EDU is several."""
    async with _patient(postgres, tmp_path, loopback_authority, _WHILE, _WHILE) as scene:
        peer, eve = scene.peer, scene.peer.user("eve")
        await _say_and_fail(scene, "before")
        devices = {f"D{n}": {"x": "y" * 20_000} for n in range(12)}
        for number in range(60):
            body = {"messages": {eve: {d: {**c, "nr": number} for d, c in devices.items()}}}
            (await scene.ann.put(f"{V3}/sendToDevice/m.test.kind/{number}", body)).ok()
        size = "SELECT sum(octet_length(content)) FROM outgoing_edus"
        most = _MOST_BYTES_WAITING + _TOLD_OFTEN * 12 * 20_000 + 100_000
        await eventually(lambda: _below(scene.hearth, size, most))
        peer.told.clear()
        peer.lies.clear()
        await peer.send([])

        async def has_last() -> bool:
            return any(_numbers(content)[-1] == 59 for content in peer.heard(TO_DEVICE))

        await eventually(has_last)
        await eventually(lambda: _below(scene.hearth, f"SELECT COALESCE(({size}), 0)", 1))
        contents = peer.heard(TO_DEVICE)
        numbers = [n for content in contents for n in _numbers(content)]
        assert numbers == sorted(numbers)
        assert numbers[-24:] == [58] * 12 + [59] * 12
        assert numbers[0] > 5, "the oldest are lost"
        assert all(len(json.dumps(content)) < 120_000 for content in contents)
        names = {content["message_id"] for content in contents}
        assert len(names) == len(contents)
        assert all(len(name) <= 32 for name in names)


async def test_updates_of_devices_outlive_all_that_is_too_much(hearth: Hearth) -> None:
    """One of each person, the newest, and their signing keys; of what else waits, the newest."""
    process = hearth.parts.base.process
    update, signing = "m.device_list_update", "m.signing_key_update"
    edus = [Edu(update, b"{}", f"@u{n % 5}:x D{n}") for n in range(50)]
    edus += [Edu(signing, b"{}", f"@u{n}:x") for n in range(5)]
    edus += [Edu("m.direct_to_device", b"%d" % n, f"{n}") for n in range(50)]
    async with process.database.reader() as conn:
        nids = await process.numbers.servers.intern(conn, ["away.test", "other.test"])
        away, other = nids.values()
        for edu in edus:
            await outgoing.queue_edu(conn, [away, other], edu)
        await outgoing.shorten(conn, [away], 3, 1000)
        left = (await outgoing.waiting(conn, away, 0, 200)).edus
        assert len((await outgoing.waiting(conn, other, 0, 200)).edus) == len(edus)
    assert [edu.content for edu in left if edu.type == "m.direct_to_device"] == [
        b"47", b"48", b"49"]  # fmt: skip
    assert [edu.type for edu in left].count(update) == 5
    assert [edu.type for edu in left].count(signing) == 5


async def _found(hearth: Hearth, query: str) -> Any:
    async with hearth.parts.base.process.database.reader() as conn:
        return await conn.fetchval(query)


async def _below(hearth: Hearth, query: str, most: int) -> bool:
    found: int = await _found(hearth, query)
    return found < most


def _numbers(content: JsonObject) -> list[int]:
    return [one["nr"] for devices in content["messages"].values() for one in devices.values()]


async def test_memberships_of_nobody(scene: Scene) -> None:
    """No rule asks that a membership's key be a user's ID: nobody is told of it but the room."""
    # Clients are refused; here is what an older version may have let in.
    intake = scene.hearth.parts.rooms.intake
    for key in ("", "x", "@", "@x", "@x:", "@x:not a server", ":" + "y" * 200):
        draft = Draft("m.room.member", UserID(scene.ann.user_id), {"membership": "leave"}, key,
                      scene.room.room_id)  # fmt: skip
        await intake.submit(scene.room.room_id, Submission([draft]))
    await scene.say("after all")
    await eventually(lambda: _when("after all" in _texts(scene.peer.told)))
    keys = {pdu.get("state_key") for txn in scene.peer.told for pdu in txn["pdus"]}
    assert keys >= {"", "x", "@x:"}
    await eventually(lambda: _queued_are(scene.hearth, 0))


async def test_who_finds_a_transaction_too_large_gets_smaller_ones(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """In order and once, of events and of all else; and no larger ones from then on."""
    async with _patient(postgres, tmp_path, loopback_authority, Duration(1), Duration(50)) as scene:
        taken: list[JsonObject] = []

        def narrow(found: Any) -> Any:
            told = scene.peer.told[-1]
            if len(told["pdus"]) > 3 or len(told["edus"]) > 3:
                return web.json_response({"errcode": "M_TOO_LARGE", "error": "no"}, status=413)
            taken.append(told)
            return found

        await _say_and_fail(scene, "0")
        for number in range(1, 14):
            await scene.say(f"{number}")
            messages = {"messages": {scene.peer.user("eve"): {"*": {"number": number}}}}
            (await scene.ann.put(f"{V3}/sendToDevice/m.test/{number}", messages)).ok()
        scene.peer.lies["send"] = narrow
        await eventually(lambda: _when(len(_texts(taken)) == 14), within=10.0)
        assert _texts(taken) == [f"{number}" for number in range(14)]
        edus = [edu for txn in taken for edu in txn["edus"] if edu["edu_type"] == TO_DEVICE]
        told = [edu["content"]["messages"][scene.peer.user("eve")]["*"] for edu in edus]
        assert told == [{"number": number} for number in range(1, 14)]
        assert await _queued(scene.hearth) == 0


async def test_who_says_that_it_is_gone_is_believed_for_long(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with _patient(postgres, tmp_path, loopback_authority, _WHILE, _DAY) as scene:
        await _say_and_fail(scene, "hello?", 410)
        assert await _row(scene.hearth, "pause") == _DAY.milliseconds


async def test_whoever_has_the_duty_next_goes_on_where_it_was_left(scene: Scene) -> None:
    """What was under way is sent again, and nothing is left out."""
    scene.peer.told.clear()

    async def stuck(_: Any) -> Any:
        await asyncio.Event().wait()

    scene.peer.lies["send"] = stuck
    await scene.say("one")
    await eventually(lambda: _when(len(scene.peer.told) == 1))
    await scene.say("two")
    scene.peer.lies.clear()
    async with scene.hearth.parts.base.process.database.reader() as conn:
        taken = "UPDATE duties SET holder = 'another', until_ts = 0 WHERE name = $1"
        await conn.execute(taken, DUTY)
    await eventually(lambda: _when(len(_texts(scene.peer.told)) == 3), within=20)
    assert _texts(scene.peer.told) == ["one", "one", "two"]


async def _take_away(hearth: Hearth, duty: str) -> None:
    """Another process has a duty now, and keeps it."""
    async with hearth.parts.base.process.database.reader() as conn:
        taken = "UPDATE duties SET holder = 'another', until_ts = 9e15 WHERE name = $1"
        await conn.execute(taken, duty)


async def test_whoever_has_the_duty_no_more_leaves_nobody_alone(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Whoever has it now would not know, and tell that server nothing any more."""
    async with _patient(postgres, tmp_path, loopback_authority, _HOUR, _DAY) as scene:
        going_on = asyncio.Event()

        async def fail_late(_: Any) -> web.Response:
            await going_on.wait()
            return web.json_response({}, status=502)

        scene.peer.told.clear()
        scene.peer.lies["send"] = fail_late
        await scene.say("one")
        await eventually(lambda: _when(len(scene.peer.told) == 1))
        await _take_away(scene.hearth, DUTY)
        sending = scene.hearth.parts.federating.sending
        (task,) = sending._tasks.values()
        going_on.set()
        await asyncio.wait([task])
        assert not task.cancelled()
        assert task.exception() is None
        assert await _row(scene.hearth, "pause") is None
        assert not sending._away
        assert await _queued(scene.hearth) == 1


async def test_whoever_has_the_duty_no_more_does_not_say_what_was_caught_up(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Of events and of devices: what others did not queue meanwhile would never be told."""
    async with _patient(postgres, tmp_path, loopback_authority, _HOUR, _DAY) as scene:
        await _say_and_fail(scene, "one")
        hearth, process = scene.hearth, scene.hearth.parts.base.process
        behind, devices_behind = [await _row(hearth, c) for c in ("behind", "devices_behind")]
        assert behind is not None
        async with process.database.reader() as conn:
            server = await conn.fetchval("SELECT server_nid FROM destinations WHERE pause > 0")
            now = process.now()
            for holder, is_theirs in (("nobody", False), ("another", True)):
                for duty in (DUTY, FOLLOW_DEVICES):
                    await _take_away(hearth, duty)
                done = [
                    await outgoing.catch_up(conn, server, 1, hearth.name, now, DUTY, holder),
                    await device_updates.catch_up(conn, server, devices_behind, holder),
                    await destinations.fail(conn, server, 5, 5, None, None, DUTY, holder),
                ]
                assert done == [is_theirs] * 3
                left = [await _row(hearth, c) for c in ("behind", "devices_behind", "pause")]
                before = [behind, devices_behind, _HOUR.milliseconds]
                assert left == ([None, None, 5] if is_theirs else before)


async def test_who_answers_is_told_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it took what it was sent, or answered a question; nobody waits behind the dead."""
    process, sending = scene.hearth.parts.base.process, scene.hearth.parts.federating.sending
    client = scene.hearth.parts.federating.peers.client
    names = [f"s{number}.invalid" for number in range(6)]
    async with process.database.reader() as conn:
        nids = await process.numbers.servers.intern(conn, names)
        silent, paused, tried, failed_now, heard, fresh = (nids[name] for name in names)
        rows = [(paused, 3_600_000), (tried, 0), (failed_now, 3_600_000)]
        for server, pause in rows:
            query = "INSERT INTO destinations (server_nid, pause) VALUES ($1, $2)"
            await conn.execute(query, server, pause)
    answering = {names[4], names[3]}
    monkeypatch.setattr(client, "has_answered", answering.__contains__)
    sending._answering[fresh] = ServerName(names[5])
    served: list[tuple[ServerNid, bool]] = []

    async def serve(server: ServerNid, *_: Any, is_proven: bool) -> None:
        served.append((server, is_proven))

    monkeypatch.setattr(sending, "_serve", serve)
    await sending._wake([silent, paused, tried, failed_now, heard, fresh])
    await asyncio.gather(*(sending._tasks[server] for server in nids.values()))
    assert {server for server, _ in served[:3]} == {tried, heard, fresh}
    assert [is_proven for _, is_proven in served] == [True] * 3 + [False] * 3


async def test_who_has_answered_lately(
    federated: tuple[Hearth, Peer],
    loopback_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hearth, peer = federated
    client = hearth.parts.federating.peers.client
    nobody = ServerName("127.0.0.1:1")
    assert not client.has_answered(peer.name)
    with suppress(FederationError):
        await client.get_json(nobody, "/_matrix/federation/v1/version")
    await client.get_json(peer.name, "/_matrix/key/v2/server", signed=False)
    assert client.has_answered(peer.name)
    assert not client.has_answered(nobody)
    later = time.monotonic() + 601
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: later)
        assert not client.has_answered(peer.name)
    # Of many servers those are remembered that answered last.
    monkeypatch.setattr("homeserver.peers.peers._MOST_REMEMBERED", 1)
    async with peering(hearth, loopback_authority) as other:
        await client.get_json(other.name, "/_matrix/key/v2/server", signed=False)
        assert [client.has_answered(one.name) for one in (peer, other)] == [False, True]


async def test_many_are_not_turned_to_at_once() -> None:
    pace, loop = Pace(0.01), asyncio.get_running_loop()
    began = loop.time()
    await pace.turn()
    assert loop.time() < began + 0.01
    await asyncio.gather(*(pace.turn() for _ in range(10)))
    assert loop.time() >= began + 0.1
