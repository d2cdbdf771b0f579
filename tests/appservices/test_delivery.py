"""What a bridge is told, and what becomes of it while the bridge is away.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from homeserver.config.settings import AppServices
from tests.bridge import (
    HS_TOKEN,
    Bridge,
    again,
    answering,
    bot,
    bridged,
    ghost,
    hanging,
    registration,
)
from tests.database import Server
from tests.servers import Client, own_database, serving, test_settings

V3 = "/_matrix/client/v3"


async def make_room(client: Client, *invited: str, **more: Any) -> str:
    body = {"preset": "public_chat", "invite": list(invited), **more}
    room_id: str = (await client.post(f"{V3}/createRoom", body)).ok()["room_id"]
    return room_id


class Speaker:
    """Says things in a room, each under an ID of its own."""

    def __init__(self) -> None:
        self.said = 0

    async def say(self, client: Client, room: str, text: str = "hello", **more: Any) -> str:
        self.said += 1
        path = f"{V3}/rooms/{room}/send/m.room.message/t{self.said}"
        answer = await client.put(path, {"msgtype": "m.text", "body": text}, **more)
        event_id: str = answer.ok()["event_id"]
        return event_id


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


async def test_what_is_of_interest(postgres: Server, tmp_path: Path, speaker: Speaker) -> None:
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc, ben = bot(hearth), await hearth.user("ben")
        ann = await ghost(irc, "_irc_ann")
        room, other = await make_room(ben), await make_room(ben)
        before = await speaker.say(ben, room)
        await speaker.say(ben, other)
        # Once it was told of a room of its own, all of that is behind it.
        own_room = await make_room(irc)
        await bridge.until_event(await speaker.say(irc, own_room))
        (await irc.post(f"{V3}/join/{room}", user_id=ann)).ok()
        after = await speaker.say(ben, room)
        own = await speaker.say(irc, room, user_id=ann)
        told = await bridge.until_event(own)
        ids = [event["event_id"] for event in bridge.events]
        assert before not in ids
        assert ids.index(after) < ids.index(own)
        assert {event["room_id"] for event in bridge.events} == {room, own_room}
        assert told["sender"] == ann
        assert told["content"]["body"] == "hello"
        assert told["unsigned"]["age"] >= 0
        joins = [e for e in bridge.events if e["type"] == "m.room.member"]
        join = next(e for e in joins if e["room_id"] == room)
        assert (join["state_key"], join["content"]["membership"]) == (ann, "join")
        (await irc.post(f"{V3}/rooms/{room}/leave", user_id=ann)).ok()
        await speaker.say(ben, room)
        # By an invitation the bridge learns of a room.
        (await ben.post(f"{V3}/rooms/{other}/invite", {"user_id": ann})).ok()
        await bridge.until(lambda: any(e["room_id"] == other for e in bridge.events))
        told_of = [e for e in bridge.events if e["event_id"] not in ids]
        assert [e["content"].get("membership") for e in told_of] == ["leave", "invite"]
        assert told_of[0]["unsigned"]["prev_content"]["membership"] == "join"


@pytest.mark.parametrize("kind", ["aliases", "rooms"])
async def test_rooms_by_their_names(
    postgres: Server, tmp_path: Path, speaker: Speaker, kind: str
) -> None:
    namespaces = {kind: [{"regex": "#tea.*" if kind == "aliases" else "!"}]}
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port, namespaces=namespaces)) as hearth,
    ):
        ben = await hearth.user("ben")
        other = await make_room(ben)
        named = await make_room(ben, room_alias_name="tea_room")
        await speaker.say(ben, other)
        await bridge.until_event(await speaker.say(ben, named))
        rooms = {event["room_id"] for event in bridge.events}
        assert rooms == ({named} if kind == "aliases" else {named, other})


async def test_a_bridge_that_is_away_is_told_later(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    bridge = Bridge()
    async with answering(bridge):
        pass
    async with bridged(postgres, tmp_path, registration(bridge.port)) as hearth:
        irc = bot(hearth)
        room = await make_room(irc)
        said = [await speaker.say(irc, room, str(number)) for number in range(30)]
        assert bridge.events == []
        async with answering(bridge):
            began = asyncio.get_running_loop().time()
            # It shows life: it need not wait for the next try.
            (await irc.get(f"{V3}/account/whoami")).ok()
            await bridge.until_event(said[-1])
            assert asyncio.get_running_loop().time() - began < 1
    ids = [e["event_id"] for e in bridge.events if e["type"] == "m.room.message"]
    assert ids == said


@pytest.mark.parametrize("status", [500, 403, 429])
async def test_what_was_refused_is_repeated_unchanged(
    postgres: Server, tmp_path: Path, speaker: Speaker, status: int
) -> None:
    refusing = True

    def respond(_: web.BaseRequest) -> web.Response | None:
        return web.json_response({"errcode": "M_X"}, status=status) if refusing else None

    async with (
        answering(Bridge(respond=respond)) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc = bot(hearth)
        room = await make_room(irc)
        first = (await bridge.until(lambda: bridge.asked))[0]
        said = await speaker.say(irc, room)
        refusing = False
        (await irc.get(f"{V3}/account/whoami")).ok()
        await bridge.until_event(said)
        sent = [asked for asked in bridge.asked if asked.path == first.path]
        assert len(sent) > 1
        assert all(asked.body == first.body for asked in sent)


async def test_a_bridge_that_is_killed_amidst_is_told_again(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    """It has read a transaction and not answered: the same comes again, under the same ID."""
    dies = True

    def respond(request: web.BaseRequest) -> web.Response | None:
        if dies and request.transport is not None:
            request.transport.abort()
        return None

    async with (
        answering(Bridge(respond=respond)) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc = bot(hearth)
        room = await make_room(irc)
        said = [await speaker.say(irc, room) for _ in range(3)]
        first = (await bridge.until(lambda: bridge.asked))[0]
        bridge.transactions.clear()
        dies = False
        (await irc.get(f"{V3}/account/whoami")).ok()
        await bridge.until_event(said[-1])
        assert first.path in {asked.path for asked in bridge.asked[1:]}
        assert first.body in [asked.body for asked in bridge.asked[1:]]
        ids = [e["event_id"] for e in bridge.events if e["type"] == "m.room.message"]
        assert ids == said


async def test_older_bridges_are_told_at_older_paths(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    def respond(request: web.BaseRequest) -> web.Response | None:
        return web.Response(status=404) if request.path.startswith("/_matrix") else None

    async with (
        answering(Bridge(respond=respond)) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc = bot(hearth)
        await bridge.until_event(await speaker.say(irc, await make_room(irc)))


@pytest.mark.parametrize("older", [(), ("irc",)])
async def test_the_token_is_in_the_query_for_those_who_look_there(
    postgres: Server, tmp_path: Path, speaker: Speaker, older: tuple[str, ...]
) -> None:
    async with answering(Bridge()) as bridge, own_database(postgres, f"h_{id(tmp_path)}") as where:
        file = tmp_path / "irc.yaml"
        file.write_text(json.dumps(registration(bridge.port)))
        services = AppServices(files=(file,), token_in_query=older)
        settings = test_settings("one.test", tmp_path, appservices=services)
        async with serving(settings, where) as hearth:
            irc = bot(hearth)
            await bridge.until_event(await speaker.say(irc, await make_room(irc)))
        expected = {"access_token": HS_TOKEN} if older else {}
        assert all(asked.query == expected for asked in bridge.asked)


async def test_one_that_hangs_holds_up_nobody(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    xmpp = {
        "id": "xmpp",
        "as_token": "another",
        "sender_localpart": "_xmpp_bot",
        "namespaces": {"rooms": [{"regex": "!"}]},
    }
    async with (
        answering(Bridge()) as bridge,
        hanging() as port,
        bridged(
            postgres, tmp_path, registration(bridge.port), registration(port, **xmpp)
        ) as hearth,
    ):
        irc = bot(hearth)
        await bridge.until_event(await speaker.say(irc, await make_room(irc)))


async def test_a_server_that_starts_again_goes_on(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    bridge = Bridge()
    async with answering(bridge):
        pass
    given = registration(bridge.port)
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        async with again(where, tmp_path, given) as hearth:
            irc = bot(hearth)
            room = await make_room(irc)
            said = [await speaker.say(irc, room) for _ in range(3)]
        async with answering(bridge), again(where, tmp_path, given) as hearth:
            irc = bot(hearth)
            said.append(await speaker.say(irc, room))
            await bridge.until_event(said[-1])
    ids = [e["event_id"] for e in bridge.events if e["type"] == "m.room.message"]
    assert ids == said


async def test_of_several_workers_one_tells(
    postgres: Server, tmp_path: Path, speaker: Speaker
) -> None:
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port), workers=2) as hearth,
    ):
        irc = bot(hearth)
        room = await make_room(irc)
        said = [await speaker.say(irc, room) for _ in range(20)]
        await bridge.until_event(said[-1])
        ids = [e["event_id"] for e in bridge.events if e["type"] == "m.room.message"]
        assert ids == said


async def test_pinging(postgres: Server, tmp_path: Path) -> None:
    answer: web.Response | None = None
    path = "/_matrix/client/v1/appservice/irc/ping"
    async with bridged(postgres, tmp_path, registration(None)) as hearth:
        refused = await bot(hearth).post(path)
        assert (refused.status, refused.errcode) == (400, "M_URL_NOT_SET")
    bridge = Bridge(respond=lambda _: answer)
    async with answering(bridge):
        pass
    folder = tmp_path / "other"
    folder.mkdir()
    async with bridged(postgres, folder, registration(bridge.port)) as hearth:
        irc, ben = bot(hearth), await hearth.user("ben")
        refused = await irc.post(path)
        assert (refused.status, refused.errcode) == (502, "M_CONNECTION_FAILED")
        async with answering(bridge):
            told = (await irc.post(path, {"transaction_id": "meow"})).ok()
            assert 0 <= told["duration_ms"] < 5000
            pings = [asked for asked in bridge.asked if asked.path == "/_matrix/app/v1/ping"]
            assert pings[-1].body == {"transaction_id": "meow"}
            answer = web.json_response({"errcode": "M_FORBIDDEN"}, status=403)
            refused = await irc.post(path)
            assert (refused.status, refused.errcode) == (502, "M_BAD_STATUS")
            assert (refused.json["status"], refused.json["body"]) == (
                403,
                '{"errcode": "M_FORBIDDEN"}',
            )
        for client, wrong in ((ben, path), (irc, path.replace("irc", "xmpp"))):
            refused = await client.post(wrong)
            assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
