"""matrix-bot-sdk: a bot, and a bridge on its framework, as many are written."""

from pathlib import Path
from typing import Any

from tests.app.processes import free_port
from tests.bridge import bridged, registration
from tests.database import Server
from tests.node.driving import driven, needs_node
from tests.servers import Client, Hearth, eventually

pytestmark = needs_node
V3 = "/_matrix/client/v3"


async def _bodies(reader: Client, room: str) -> list[Any]:
    page = (await reader.get(f"{V3}/rooms/{room}/messages", dir="f", limit=100)).ok()
    return [e["content"].get("body") for e in page["chunk"] if e["type"] == "m.room.message"]


async def _say(speaker: Client, room: str, body: str) -> None:
    path = f"{V3}/rooms/{room}/send/m.room.message/{body}"
    (await speaker.put(path, {"msgtype": "m.text", "body": body})).ok()


async def test_a_bridge(postgres: Server, tmp_path: Path) -> None:
    port = free_port()
    given = registration(
        port, receive_ephemeral=True, **{"de.sorunome.msc2409.push_ephemeral": True}
    )
    async with bridged(postgres, tmp_path, given) as hearth, driven("bot_sdk.mjs") as bridge:
        wanted = {"url": hearth.url, "server": hearth.name, "port": port}
        bot = await bridge.do("begin", registration=given, **wanted)
        assert await bridge.do("whoami") == bot == f"@_irc_bot:{hearth.name}"
        ben = await hearth.user("ben")
        # Whom nobody knows yet, the bridge makes; so a room of its names.
        ghost, alias = f"@_irc_eve:{hearth.name}", f"#_irc_tea:{hearth.name}"
        assert (await ben.get(f"{V3}/profile/{ghost}")).ok()["displayname"] == "A ghost"
        await bridge.until("user query", lambda one: one["user"] == ghost)
        room = (await ben.post(f"{V3}/join/%23_irc_tea:{hearth.name}")).ok()["room_id"]
        await bridge.until("room query", lambda one: one["alias"] == alias)
        await _say(ben, room, "hello")
        await bridge.until("message", lambda one: one["body"] == "hello")
        await eventually(lambda: _has(ben, room, "you said: hello"))
        (await ben.put(f"{V3}/rooms/{room}/typing/{ben.user_id}", {"typing": True})).ok()
        await bridge.until("ephemeral", lambda one: one["type"] == "m.typing")
        # An invited ghost comes.
        other = (await ben.post(f"{V3}/createRoom", {"invite": [ghost]})).ok()["room_id"]
        await bridge.until("invite", lambda one: one["room"] == other)
        joined = (await ben.get(f"{V3}/rooms/{other}/joined_members")).ok()["joined"]
        assert set(joined) == {ben.user_id, ghost}


async def test_a_bot(hearth: Hearth) -> None:
    ben, account = await hearth.user("ben"), await hearth.user("helper")
    async with driven("bot_sdk.mjs") as bot:
        assert await bot.do("bot", url=hearth.url, token=account.token) == account.user_id
        room = (await ben.post(f"{V3}/createRoom", {"invite": [account.user_id]})).ok()["room_id"]
        await bot.until("joined", lambda one: one["room"] == room)
        await _say(ben, room, "hello")
        await eventually(lambda: _has(ben, room, "heard: hello"))


async def _has(reader: Client, room: str, text: str) -> bool:
    return any(text in str(body) for body in await _bodies(reader, room))
