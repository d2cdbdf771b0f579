"""Push gateways are told what people's rules want, by a real server.

https://spec.matrix.org/v1.19/push-gateway-api/
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from homeserver.config.settings import Push
from homeserver.config.values import Duration
from homeserver.push.notifications import NO_BADGE
from homeserver.push.selecting import Selecting
from homeserver.rooms.invite_rules import InviteRules
from homeserver.storage import push_queue
from homeserver.storage.clock import read_position
from homeserver.storage.log import read_log
from homeserver.storage.numbers import UserNid
from tests.client_server.stage import Stage, staged
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.push.gateway import FAST, Gateway, answering, notifying, set_pusher
from tests.servers import Client, Hearth, eventually, federating, own_database

V3 = "/_matrix/client/v3"
FULL = Push(
    include_content=True,
    unread_by_room=False,
    retry_minimum=FAST.retry_minimum,
    retry_maximum=FAST.retry_maximum,
)


class Scene:
    """A gateway, a database, and servers on it one after the other."""

    def __init__(
        self, stack: AsyncExitStack, where: Any, folder: Path, authority: Authority
    ) -> None:
        self.stack, self.where, self.folder = stack, where, folder
        self.authority = authority
        self.gateway = Gateway()
        self.ann: Client
        self.ben: Client
        self.cat: Client
        self.stage: Stage

    async def serve(self, **more: Any) -> Hearth:
        """A server on the database."""
        return await self.stack.enter_async_context(
            notifying(self.where, self.folder, self.authority, **more)
        )

    async def listen(self, gateway: Gateway | None = None) -> Gateway:
        """A gateway that answers."""
        return await self.stack.enter_async_context(
            answering(gateway or self.gateway, self.authority)
        )

    async def begin(self, **more: Any) -> None:
        """Ann speaks in a room, and ben is there; nobody else, but for a third."""
        await self.listen()
        hearth = await self.serve(**more)
        self.ann, self.ben = await hearth.user("ann"), await hearth.user("ben")
        self.cat = await hearth.user("cat")
        self.stage = await staged(self.ann)
        await self.stage.member(self.ben, "join")
        await self.stage.member(self.cat, "join")

    async def say(self, text: str = "hello", **content: Any) -> str:
        """Ann says something."""
        body = {"msgtype": "m.text", "body": text, **content}
        return await self.stage.send(self.ann, "m.room.message", body)

    async def read(self, event_id: str, **more: Any) -> None:
        """Ben has read up to here."""
        path = f"{V3}/rooms/{self.stage.room_id}/receipt/m.read/{event_id}"
        (await self.ben.post(path, more)).ok()

    async def waiting(self) -> int:
        """How many pushers have something to tell."""
        database = self.stage.hearth.parts.base.process.database
        async with database.reader() as conn:
            return len(await push_queue.waiting(conn))

    async def noted(self, event_id: str) -> None:
        """Wait until it is to be told of an event."""
        database = self.stage.hearth.parts.base.process.database

        async def waits() -> bool:
            async with database.reader() as conn:
                found: bool = await conn.fetchval(
                    "SELECT true FROM push_queue q JOIN event_ids i ON i.event_nid = q.event_nid"
                    " WHERE i.event_id = $1",
                    event_id,
                )
                return found

        await eventually(waits)

    async def settled(self) -> None:
        """Wait until nothing is to be told."""

        async def nothing_waits() -> bool:
            return await self.waiting() == 0

        await eventually(nothing_waits)


@pytest.fixture
async def scene(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Scene]:
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        AsyncExitStack() as stack,
    ):
        yield Scene(stack, where, tmp_path, loopback_authority)


async def test_only_ids_are_told(scene: Scene) -> None:
    await scene.begin()
    await scene.say("before")
    await set_pusher(scene.ben, scene.gateway, extra={"a": 1})
    event_id = await scene.say()
    told = await scene.gateway.until_event(event_id)
    assert scene.gateway.ids == [event_id]
    (device,) = told.pop("devices")
    assert device.pop("pushkey_ts") > 1_500_000_000
    assert device == {"app_id": "org.example.app", "pushkey": "key", "data": {"extra": {"a": 1}}}
    assert told == {
        "event_id": event_id,
        "room_id": scene.stage.room_id,
        "prio": "low",
        "counts": {"unread": 1},
    }
    # Rooms are counted.
    told = await scene.gateway.until_event(await scene.say())
    assert told["counts"] == {"unread": 1}


async def test_content_is_told_where_settings_and_app_want_it(scene: Scene) -> None:
    await scene.begin(push=FULL)
    await scene.stage.state("m.room.name", {"name": "Control"})
    await scene.stage.state("m.room.canonical_alias", {"alias": None})
    await set_pusher(scene.ben, scene.gateway, "full")
    await set_pusher(scene.ben, scene.gateway, "ids", format="event_id_only")
    name = {"displayname": "Ann", "membership": "join"}
    await scene.stage.send(scene.ann, "m.room.member", name, scene.ann.user_id)
    mention = {"m.mentions": {"user_ids": [scene.ben.user_id]}}
    event_id = await scene.say("hello ben", **mention)
    await scene.gateway.until(lambda: len(scene.gateway.ids) == 2)
    by_key = {one["devices"][0]["pushkey"]: one for one in scene.gateway.told}
    for told in by_key.values():
        assert (told["event_id"], told["prio"]) == (event_id, "high")
        assert told["devices"][0]["tweaks"] == {"sound": "default", "highlight": True}
    assert by_key["ids"]["devices"][0]["data"] == {"format": "event_id_only"}
    assert by_key["ids"].keys() == {"event_id", "room_id", "prio", "counts", "devices"}
    full = by_key["full"]
    assert full["content"]["body"] == "hello ben"
    assert (full["type"], full["sender"]) == ("m.room.message", scene.ann.user_id)
    assert (full["sender_display_name"], full["room_name"]) == ("Ann", "Control")
    assert "room_alias" not in full
    # What is encrypted may be urgent, and is nobody's to read.
    secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "abc"}
    event_id = await scene.stage.send(scene.ann, "m.room.encrypted", secret)
    await scene.gateway.until(lambda: len(scene.gateway.ids) == 4)
    full = next(one for one in scene.gateway.told[2:] if "type" in one)
    assert (full["type"], full["prio"], full["counts"]) == (
        "m.room.encrypted",
        "high",
        {"unread": 2},
    )
    assert "content" not in full


async def test_rules_decide(scene: Scene) -> None:
    await scene.begin()
    await set_pusher(scene.ben, scene.gateway)
    await set_pusher(scene.ann, scene.gateway, "of who speaks")
    await scene.say("a notice", msgtype="m.notice")
    rules = f"{V3}/pushrules/global"
    rule = {"pattern": "tea", "actions": ["notify", {"set_tweak": "sound", "value": "ping"}]}
    (await scene.ben.put(f"{rules}/content/tea", rule)).ok()
    (await scene.ben.put(f"{rules}/underride/.m.rule.message/actions", {"actions": []})).ok()
    name = {"conditions": [{"kind": "contains_display_name"}], "actions": ["notify"]}
    (await scene.ben.put(f"{rules}/override/name", name)).ok()
    named = {"displayname": "Benny", "membership": "join"}
    await scene.stage.send(scene.ben, "m.room.member", named, scene.ben.user_id)
    await scene.say("coffee")
    tea, benny = await scene.say("tea?"), await scene.say("and benny?")
    told = await scene.gateway.until_event(benny)
    assert "tweaks" not in told["devices"][0]
    assert scene.gateway.ids == [tea, benny]
    listed = (await scene.ben.get(f"{V3}/notifications")).ok()["notifications"]
    assert [one["event"]["event_id"] for one in listed] == [benny, tea]
    sync = (await scene.ben.get(f"{V3}/sync", timeout=0)).ok()["rooms"]["join"]
    assert sync[scene.stage.room_id]["unread_notifications"]["notification_count"] == 2
    assert scene.gateway.told[0]["devices"][0]["tweaks"] == {"sound": "ping"}
    # Whom one ignores one is not told of.
    data = f"{V3}/user/{scene.ben.user_id}/account_data/m.ignored_user_list"
    (await scene.ben.put(data, {"ignored_users": {scene.ann.user_id: {}}})).ok()
    await scene.say("tea?")
    last = await scene.stage.say(scene.cat, "tea!")
    await scene.gateway.until_event(last)
    assert scene.gateway.ids == [tea, benny, last]


async def test_pushers_that_are_switched_off(scene: Scene) -> None:
    """MSC3881: nothing is told then, and nothing of that time afterwards."""
    await scene.begin()
    await set_pusher(scene.ben, scene.gateway, "one")
    await set_pusher(scene.ben, scene.gateway, "other")
    tablet = await scene.ben.log_in_again()
    first = (await tablet.get(f"{V3}/pushers")).ok()["pushers"][0]

    async def switch(*, on: bool) -> None:
        switched = {**first, "org.matrix.msc3881.enabled": on}
        (await tablet.post(f"{V3}/pushers/set", switched)).ok()

    def told(key: str) -> list[str]:
        found = scene.gateway.told
        return [one["event_id"] for one in found if one["devices"][0]["pushkey"] == key]

    before = await scene.say("before")
    await scene.gateway.until(lambda: before in told("one") and before in told("other"))
    await switch(on=False)
    meanwhile = await scene.say("meanwhile")
    await scene.gateway.until(lambda: meanwhile in told("other"))
    await switch(on=True)
    after = await scene.say("after")
    await scene.gateway.until(lambda: after in told("one") and after in told("other"))
    assert told("one") == [before, after]
    assert told("other") == [before, meanwhile, after]


async def test_threads_that_are_followed(scene: Scene) -> None:
    await scene.begin()
    await set_pusher(scene.ben, scene.gateway)
    followed, other = await scene.say("one"), await scene.say("another")
    room = f"rooms/{scene.stage.room_id}/thread/{followed}/subscription"
    (await scene.ben.put(f"/_matrix/client/unstable/io.element.msc4306/{room}")).ok()
    await scene.say("x", **{"m.relates_to": {"rel_type": "m.thread", "event_id": other}})
    told = await scene.say("x", **{"m.relates_to": {"rel_type": "m.thread", "event_id": followed}})
    await scene.gateway.until_event(told)
    assert scene.gateway.ids == [followed, other, told]
    assert scene.gateway.told[-1]["devices"][0]["tweaks"] == {"sound": "default"}


async def test_invitations(scene: Scene) -> None:
    await scene.begin(push=FULL)
    await set_pusher(scene.ben, scene.gateway)
    other = await staged(scene.ann)
    event_id = await other.member(scene.ben, "invite", by=scene.ann)
    told = await scene.gateway.until_event(event_id)
    assert (told["user_is_target"], told["prio"]) == (True, "high")
    assert (told["content"]["membership"], told["counts"]) == ("invite", {})
    # One is told of a room while one is in it.
    await scene.stage.member(scene.ben, "leave")
    await scene.say()
    await scene.stage.member(scene.ben, "join")
    back = await scene.say()
    await scene.gateway.until_event(back)
    assert scene.gateway.ids == [event_id, back]


async def test_invitations_from_other_servers(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    gateway = Gateway()
    async with (
        answering(gateway, loopback_authority),
        federating(postgres, tmp_path, loopback_authority, 1) as one,
        federating(postgres, tmp_path, loopback_authority, 2, push=FULL) as other,
    ):
        ann, ben = await one.user("ann"), await other.user("ben")
        await set_pusher(ben, gateway)
        room = (await ann.post(f"{V3}/createRoom", {"invite": [ben.user_id]})).ok()["room_id"]
        await gateway.until(lambda: gateway.told)
        told = gateway.told[0]
        assert (told["room_id"], told["user_is_target"]) == (room, True)
        assert (told["sender"], told["content"]["membership"]) == (ann.user_id, "invite")
        (await ben.post(f"{V3}/join/{room}")).ok()
        path = f"{V3}/rooms/{room}/send/m.room.message/1"
        said = (await ann.put(path, {"msgtype": "m.text", "body": "hello"})).ok()["event_id"]
        told = await gateway.until_event(said)
        assert (told["content"]["body"], told["counts"]) == ("hello", {"unread": 1})


async def test_counts_fall_as_one_reads(scene: Scene) -> None:
    await scene.begin(push=FULL)
    await set_pusher(scene.ben, scene.gateway)
    said = [await scene.say(str(number)) for number in range(3)]
    await scene.gateway.until_event(said[-1])
    assert scene.gateway.told[-1]["counts"] == {"unread": 3}
    await scene.settled()
    await scene.read(said[0])
    await scene.gateway.until(lambda: len(scene.gateway.told) == 4)
    told = scene.gateway.told[-1]
    assert told["counts"] == {"unread": 2}
    assert told.keys() == {"counts", "prio", "devices"}
    await scene.settled()
    (await scene.ann.put(f"{scene.stage.path}/redact/{said[1]}/1")).ok()
    await scene.gateway.until(lambda: len(scene.gateway.told) == 5)
    assert scene.gateway.told[-1]["counts"] == {"unread": 1}
    await scene.settled()
    # Whoever speaks has read.
    await scene.stage.say(scene.ben, "aha")
    await scene.gateway.until(lambda: len(scene.gateway.told) == 6)
    assert scene.gateway.told[-1]["counts"] == {"unread": 0}
    await scene.settled()
    await scene.read(said[2])
    await scene.settled()
    await scene.gateway.until_event(await scene.say())
    assert len(scene.gateway.told) == 7


async def test_apps_that_count_themselves(scene: Scene) -> None:
    """MSC4076: they are told of events, and never how many are unread."""
    await scene.begin()
    counting: dict[str, Any] = {NO_BADGE: True}
    await set_pusher(scene.ben, scene.gateway, **counting)
    first = await scene.say("one")
    told = await scene.gateway.until_event(first)
    assert told.keys() == {"event_id", "room_id", "prio", "devices"}
    await scene.settled()
    await scene.read(first)
    await scene.settled()
    await scene.gateway.until_event(await scene.say("two"))
    assert len(scene.gateway.told) == 2


async def test_what_was_read_or_taken_back_is_not_told(scene: Scene) -> None:
    await scene.begin()
    away = Gateway(respond=lambda _: web.Response(status=500))
    await scene.listen(away)
    await set_pusher(scene.ben, away)
    first, second = await scene.say(), await scene.say()
    root = await scene.say()
    thread: dict[str, Any] = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    threaded = [await scene.say(**thread), await scene.say(**thread)]
    await away.until(lambda: away.tries > 1)
    await scene.read(first)
    await scene.read(threaded[0], thread_id=root)
    path = f"{V3}/rooms/{scene.stage.room_id}/redact/{second}/1"
    (await scene.ann.put(path)).ok()
    last = await scene.say()
    # What happened is noted in its order, while others may be told already.
    await scene.noted(last)
    away.respond = lambda _: None
    await away.until_event(last)
    assert away.ids == [root, threaded[1], last]


@pytest.mark.parametrize("status", [500, 410, 400, 302, 200])
async def test_what_is_not_taken_is_repeated(scene: Scene, status: int) -> None:
    await scene.begin()
    headers = {"Location": scene.gateway.url} if status == 302 else {}
    scene.gateway.respond = lambda _: (
        web.Response(status=status, headers=headers, text="?") if scene.gateway.tries < 4 else None
    )
    await set_pusher(scene.ben, scene.gateway)
    said = [await scene.say(str(number)) for number in range(3)]
    await scene.gateway.until_event(said[-1])
    # In order, and once each: what was answered is not told again.
    assert scene.gateway.ids[-3:] == said
    assert status == 200 or len(scene.gateway.ids) == 3


async def test_one_gateway_waits_for_no_other(scene: Scene) -> None:
    await scene.begin()
    slow, gone = await scene.listen(Gateway(hangs=True)), Gateway(port=9)
    await set_pusher(scene.ben, slow, "slow")
    await set_pusher(scene.ben, gone, "gone")
    await set_pusher(scene.ben, scene.gateway)
    said = [await scene.say(str(number)) for number in range(5)]
    await scene.gateway.until_event(said[-1])
    assert scene.gateway.ids == said
    assert slow.tries == 1


async def test_rejected_keys_are_removed(scene: Scene) -> None:
    await scene.begin()
    scene.gateway.respond = lambda _: web.json_response({"rejected": ["bad", 5]})
    await set_pusher(scene.ben, scene.gateway, "bad")
    await set_pusher(scene.ben, scene.gateway, "good")

    async def keys() -> list[str]:
        found = (await scene.ben.get(f"{V3}/pushers")).ok()["pushers"]
        return [one["pushkey"] for one in found]

    await scene.say()

    async def is_gone() -> bool:
        return await keys() == ["good"]

    await eventually(is_gone)
    last = await scene.say()
    await scene.gateway.until_event(last)
    told = [one["devices"][0]["pushkey"] for one in scene.gateway.told]
    assert sorted(told) == ["bad", "good", "good"]


async def test_private_addresses_are_not_asked(scene: Scene) -> None:
    await scene.begin(reach="192.0.2.0/24")
    await set_pusher(scene.ben, scene.gateway)
    await scene.say()
    database = scene.stage.hearth.parts.base.process.database

    async def is_failing() -> bool:
        async with database.reader() as conn:
            return bool(await conn.fetchval("SELECT pause FROM pushers"))

    await eventually(is_failing)
    assert scene.gateway.tries == 0


async def test_rooms_without_pushers_are_no_work(scene: Scene) -> None:
    await scene.begin()
    await set_pusher(scene.cat, scene.gateway)
    parts = scene.stage.hearth.parts
    process = parts.base.process

    async def nobody_asks(_: Collection[UserNid]) -> Mapping[UserNid, InviteRules]:
        raise AssertionError("somebody's rules were looked at")

    selecting = Selecting(process, parts.client_house.rulesets, nobody_asks)
    await selecting.begin()
    elsewhere = await staged(scene.ann)
    await elsewhere.member(scene.ben, "join")
    async with process.database.reader() as conn:
        before = await read_position(conn)
        await elsewhere.say(scene.ann, "nobody need be told")
        here, there = await read_log(conn, before), await read_position(conn)
    assert await selecting.select(here) == []
    await scene.say("but here")
    async with process.database.reader() as conn:
        entries = await read_log(conn, there)
    with pytest.raises(AssertionError):
        await selecting.select(entries)


async def test_a_pusher_that_goes_stops(scene: Scene) -> None:
    await scene.begin()
    phone = await scene.ben.log_in_again()
    scene.gateway.hangs = True
    await set_pusher(phone, scene.gateway)
    await scene.say()
    await scene.gateway.until(lambda: scene.gateway.tries)
    (await phone.post(f"{V3}/logout")).ok()
    assert await scene.waiting() == 0
    scene.gateway.hangs = False
    await set_pusher(scene.ben, scene.gateway, "new")
    last = await scene.say()
    await scene.gateway.until_event(last)
    assert scene.gateway.tries == 2


async def test_who_sets_a_pusher_anew_need_not_wait(scene: Scene) -> None:
    patient = Push(retry_minimum=Duration(3_600_000), retry_maximum=Duration(3_600_000))
    await scene.begin(push=patient)
    scene.gateway.respond = lambda _: web.Response(status=503)
    await set_pusher(scene.ben, scene.gateway)
    said = [await scene.say(), await scene.say()]
    await scene.gateway.until(lambda: scene.gateway.tries)
    scene.gateway.respond = lambda _: None
    await asyncio.sleep(0.1)
    assert scene.gateway.tries == 1
    await set_pusher(scene.ben, scene.gateway)
    await scene.gateway.until_event(said[1])
    assert scene.gateway.ids == said


@pytest.mark.parametrize("hangs", [True, False])
async def test_another_process_goes_on(
    postgres: Server, tmp_path: Path, loopback_authority: Authority, hangs: bool
) -> None:
    gateway = Gateway(respond=lambda _: web.Response(status=502), hangs=hangs)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        answering(gateway, loopback_authority),
    ):
        async with notifying(where, tmp_path, loopback_authority) as hearth:
            ann, ben = await hearth.user("ann"), await hearth.user("ben")
            stage = await staged(ann)
            await stage.member(ben, "join")
            await set_pusher(ben, gateway)
            said = [await stage.say(ann, str(number)) for number in range(3)]
            await gateway.until(lambda: gateway.tries)
        gateway.respond, gateway.hangs = lambda _: None, False
        async with notifying(where, tmp_path, loopback_authority, workers=2) as hearth:
            stage = Stage(hearth, stage.room_id, ann)
            said += [await stage.say(ann, str(number)) for number in range(20)]
            await gateway.until_event(said[-1])
            assert gateway.ids == said


async def test_of_a_long_queue_the_newest_are_told(scene: Scene) -> None:
    await scene.begin()
    scene.gateway.respond = lambda _: web.Response(status=503)
    await set_pusher(scene.ben, scene.gateway)
    said = [await scene.say("the first")]
    process = scene.stage.hearth.parts.base.process

    async def is_left_alone() -> bool:
        async with process.database.reader() as conn:
            return bool(await conn.fetchval("SELECT max(pause) > 0 FROM pushers"))

    await eventually(is_left_alone)
    said += [await scene.say(str(number)) for number in range(119)]

    await scene.noted(said[-1])
    scene.gateway.respond = lambda _: None
    await scene.gateway.until_event(said[-1])
    # The one that was on its way when the gateway came back was told, too.
    assert scene.gateway.ids[-100:] == said[-100:]
    assert len(scene.gateway.ids) <= 101
