"""Registrations come, change and go while the server runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeserver.config.settings import AppServices
from homeserver.errors import ConfigError
from tests.appservices.test_delivery import Speaker, make_room
from tests.bridge import Bridge, answering, bot, bridged, ghost, registration
from tests.database import Server
from tests.servers import Hearth

V3 = "/_matrix/client/v3"


def reload(hearth: Hearth, folder: Path, *registrations: dict[str, Any]) -> None:
    """As all workers do at a signal."""
    files = []
    for number, one in enumerate(registrations):
        files.append(folder / f"again{number}.yaml")
        files[-1].write_text(json.dumps(one), encoding="utf-8")
    settings = replace(hearth.settings, appservices=AppServices(files=(*files,)))
    for worker in hearth.workers:
        worker.reload(settings)


@pytest.mark.parametrize("workers", [1, 2])
async def test_one_that_comes_is_known_at_once(
    postgres: Server, tmp_path: Path, workers: int
) -> None:
    speaker = Speaker()
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, workers=workers) as hearth,
    ):
        ben = await hearth.user("ben")
        assert (await bot(hearth).get(f"{V3}/account/whoami")).status == 401
        reload(hearth, tmp_path, registration(bridge.port))
        irc = bot(hearth)
        room = await make_room(ben)
        (await irc.post(f"{V3}/join/{room}", user_id=await ghost(irc, "_irc_ann"))).ok()
        await bridge.until_event(await speaker.say(ben, room))
        taken = {"username": "_irc_eve", "password": "a long password"}
        refused = await hearth.anybody.post(f"{V3}/register", taken)
        assert refused.errcode == "M_EXCLUSIVE"


async def test_one_that_goes_may_nothing_any_more(postgres: Server, tmp_path: Path) -> None:
    """And goes on where it was when it comes back."""
    speaker = Speaker()
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        irc = bot(hearth)
        room = await make_room(irc)
        ben = await hearth.user("ben")
        (await ben.post(f"{V3}/join/{room}")).ok()
        await bridge.until_event(await speaker.say(irc, room))
        reload(hearth, tmp_path)
        gone = await irc.get(f"{V3}/account/whoami")
        assert (gone.status, gone.errcode) == (401, "M_UNKNOWN_TOKEN")
        before = len(bridge.asked)
        meanwhile = await speaker.say(ben, room)
        body: dict[str, Any] = {"username": "_irc_free", "password": "a long password"}
        body |= {"auth": {"type": "m.login.dummy"}}
        (await hearth.anybody.post(f"{V3}/register", body)).ok()
        assert len(bridge.asked) == before
        reload(hearth, tmp_path, registration(bridge.port))
        (await irc.get(f"{V3}/account/whoami")).ok()
        await bridge.until_event(meanwhile)


async def test_one_that_changes(postgres: Server, tmp_path: Path) -> None:
    """Its token, its address and its names; what was under way goes to the new address."""
    speaker, away = Speaker(), Bridge()
    async with answering(away):
        pass
    async with (
        answering(Bridge()) as moved,
        bridged(postgres, tmp_path, registration(away.port)) as hearth,
    ):
        irc = bot(hearth)
        ann = await ghost(irc, "_irc_ann")
        assert (await irc.get(f"{V3}/account/whoami", user_id=ann)).ok()["user_id"] == ann
        said = [await speaker.say(irc, await make_room(irc)) for _ in range(3)]
        names = {"users": [{"regex": "@_xmpp_.*", "exclusive": True}]}
        changed = registration(moved.port, as_token="another token", namespaces=names)
        reload(hearth, tmp_path, changed)
        for event_id in said:
            await moved.until_event(event_id)
        assert (await irc.get(f"{V3}/account/whoami")).status == 401
        irc = bot(hearth, "another token")
        assert (await irc.get(f"{V3}/account/whoami", user_id=ann)).status == 403
        await ghost(irc, "_xmpp_ann")


async def test_one_that_is_wrong_changes_nothing(postgres: Server, tmp_path: Path) -> None:
    async with (
        answering(Bridge()) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port)) as hearth,
    ):
        wrong = registration(bridge.port, url="nowhere")
        with pytest.raises(ConfigError, match="url"):
            reload(hearth, tmp_path, wrong)
        (await bot(hearth).get(f"{V3}/account/whoami")).ok()
