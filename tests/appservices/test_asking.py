"""Users and rooms that a bridge makes once somebody names them.

https://spec.matrix.org/v1.19/application-service-api/#querying
"""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.bridge import Bridge, answering, bot, bridged, ghost, registration
from tests.database import Server
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


class Maker(Bridge):
    """A bridge that makes what it is asked for, before it answers, but nothing called nobody."""

    bot: Client | None = None

    async def answer(self, request: web.BaseRequest) -> web.Response:
        answer = await super().answer(request)
        kind, name = request.path.split("/")[-2:]
        localpart = name[1:].split(":")[0]
        if "nobody" in name:
            return web.Response(status=404)
        assert self.bot
        if kind == "users":
            await ghost(self.bot, localpart)
        if kind == "rooms":
            body = {"preset": "public_chat", "room_alias_name": localpart}
            (await self.bot.post(f"{V3}/createRoom", body)).ok()
        return answer

    def count(self, kind: str) -> int:
        """How often it was asked for some."""
        return sum(f"/app/v1/{kind}/" in asked.path for asked in self.asked)


@pytest.fixture
async def made(postgres: Server, tmp_path: Path) -> AsyncIterator[tuple[Maker, Hearth]]:
    maker = Maker()
    async with (
        answering(maker),
        bridged(postgres, tmp_path, registration(maker.port)) as hearth,
    ):
        maker.bot = bot(hearth)
        yield maker, hearth


async def test_a_user_whose_profile_is_looked_at(made: tuple[Maker, Hearth]) -> None:
    maker, hearth = made
    path = f"{V3}/profile/@_irc_zoe:{hearth.name}"
    assert (await hearth.anybody.get(path)).status == 200
    assert (await hearth.anybody.get(path)).status == 200
    assert maker.count("users") == 1


async def test_a_user_who_is_invited(made: tuple[Maker, Hearth]) -> None:
    maker, hearth = made
    ben, zoe = await hearth.user("ben"), f"@_irc_zoe:{hearth.name}"
    room = (await ben.post(f"{V3}/createRoom", {"invite": [zoe]})).ok()["room_id"]
    assert maker.bot
    (await maker.bot.post(f"{V3}/join/{room}", user_id=zoe)).ok()


async def test_a_room_that_is_joined(made: tuple[Maker, Hearth]) -> None:
    """The room exists before the join answers."""
    _, hearth = made
    ben, alias = await hearth.user("ben"), quote(f"#_irc_tea:{hearth.name}", safe="")
    room = (await ben.post(f"{V3}/join/{alias}")).ok()["room_id"]
    assert (await ben.get(f"{V3}/directory/room/{alias}")).ok()["room_id"] == room


async def test_names_that_nobody_has(made: tuple[Maker, Hearth]) -> None:
    maker, hearth = made
    other = quote(f"#other:{hearth.name}", safe="")
    assert (await hearth.anybody.get(f"{V3}/directory/room/{other}")).status == 404
    assert maker.asked == []
    theirs = quote(f"#_irc_nobody:{hearth.name}", safe="")
    assert (await hearth.anybody.get(f"{V3}/directory/room/{theirs}")).status == 404
    assert maker.count("rooms") == 1


async def test_a_bridge_that_is_away(postgres: Server, tmp_path: Path) -> None:
    async with bridged(postgres, tmp_path, registration(1)) as hearth:
        path = f"{V3}/profile/@_irc_zoe:{hearth.name}"
        assert (await hearth.anybody.get(path)).status == 404
