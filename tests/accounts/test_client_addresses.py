"""From where people use the server, and who gets to know it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from homeserver.accounts import client_addresses
from homeserver.app.housekeeping import tidy
from homeserver.config.settings import Privacy
from homeserver.storage.process import DAY
from tests.database import Server
from tests.remains import remains
from tests.servers import Client, Hearth, own_database, serving
from tests.servers import test_settings as settings_for

V3 = "/_matrix/client/v3"
HERE, THERE = "203.0.113.9", "2001:db8::7"


async def ask(who: Client, address: str) -> None:
    """A request that comes through our proxy."""
    headers = {"Authorization": f"Bearer {who.token}", "X-Forwarded-For": address}
    url = f"{who.hearth.url}{V3}/account/whoami"
    async with who.hearth.session.get(url, headers=headers) as answer:
        assert answer.status == 200


async def addresses(root: Client, who: Client) -> list[str | None]:
    found = (await root.get(f"{V3}/admin/whois/{who.user_id}")).ok()
    (session,) = found["devices"][who.device_id]["sessions"]
    return [one.get("ip") for one in session["connections"]]


def settings(folder: Path, mode: Any, **more: Any) -> Any:
    return settings_for("one.test", folder, privacy=Privacy(client_addresses=mode), **more)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_addresses, "_OFTEN", 0)


@pytest.fixture
async def where(postgres: Server, tmp_path: Path) -> Any:
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as found:
        yield found


async def people(hearth: Hearth) -> tuple[Client, Client]:
    return await hearth.user("root", is_admin=True), await hearth.user("ann")


async def test_in_memory(where: Mapping[str, Any], tmp_path: Path) -> None:
    """By default: nothing of it is on the disk, and it is gone with the process."""
    async with serving(settings(tmp_path, "memory"), where) as hearth:
        root, ann = await people(hearth)
        assert await addresses(root, ann) == [None]
        for address in (HERE, THERE, HERE):
            await ask(ann, address)
        assert await addresses(root, ann) == [HERE, THERE]
        # Of their own devices people are told what is kept.
        (device,) = (await ann.get(f"{V3}/devices")).ok()["devices"]
        assert "last_seen_ip" not in device
        assert await remains(hearth.parts.base.process.database, HERE) == set()
    async with serving(settings(tmp_path, "memory"), where) as hearth:
        root = Client(hearth, root.token, root.user_id)
        assert await addresses(root, ann) == [None]


async def test_it_is_forgotten(
    where: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings(tmp_path, "memory"), where) as hearth:
        root, ann = await people(hearth)
        for number in range(12):
            await ask(ann, f"203.0.113.{number}")
        found = await addresses(root, ann)
        assert found == [f"203.0.113.{number}" for number in range(11, 1, -1)]
        known = hearth.parts.accounts.client_addresses._known
        assert len(known) == 2
        monkeypatch.setattr(client_addresses, "_LIVES", -1)
        assert await addresses(root, ann) == [None]
        assert len(known) == 0


async def test_what_other_workers_know(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(settings(tmp_path, "memory", workers=2), where, workers=2) as hearth:
        _, ann = await people(hearth)
        process = hearth.parts.base.process
        async with process.database.reader() as conn:
            nid = await conn.fetchval(
                "SELECT device_nid FROM devices WHERE device_id = $1", ann.device_id
            )
        for worker, address in zip(hearth.workers, (HERE, THERE), strict=True):
            assert worker.parts
            worker.parts.accounts.client_addresses.note(nid, address)
        for worker in hearth.workers:
            assert worker.parts
            found = (await worker.parts.accounts.client_addresses.of([nid]))[nid]
            assert {one.address for one in found} >= {HERE, THERE}


async def test_nowhere(where: Mapping[str, Any], tmp_path: Path) -> None:
    async with serving(settings(tmp_path, "none"), where) as hearth:
        root, ann = await people(hearth)
        await ask(ann, HERE)
        assert await addresses(root, ann) == [None]
        assert hearth.parts.accounts.client_addresses._known == {}


async def test_stored(where: Mapping[str, Any], tmp_path: Path) -> None:
    """It outlives the process, not the device, nor four weeks, nor the setting."""
    async with serving(settings(tmp_path, "stored"), where) as hearth:
        root, ann = await people(hearth)
        await ask(ann, THERE)
        await ask(ann, HERE)
        assert (await addresses(root, ann))[0] == HERE
        await hearth.parts.accounts.client_addresses.flush()
        other = await ann.log_in_again()
        await ask(other, THERE)
        await hearth.parts.accounts.client_addresses.flush()
    async with serving(settings(tmp_path, "stored"), where) as hearth:
        root, ann, other = [
            Client(hearth, who.token, who.user_id, who.device_id) for who in (root, ann, other)
        ]
        assert set(await addresses(root, ann)) == {HERE, THERE}
        shown = {d["device_id"]: d for d in (await ann.get(f"{V3}/devices")).ok()["devices"]}
        assert shown[other.device_id]["last_seen_ip"] == THERE
        database = hearth.parts.base.process.database
        (await other.post(f"{V3}/logout")).ok()
        async with database.reader() as conn:
            count = "SELECT count(*) FROM device_addresses WHERE address = $1"
            assert await conn.fetchval(count, THERE) == 1
            await conn.execute(
                "UPDATE device_addresses SET seen_ts = seen_ts - $1 WHERE address = $2",
                28 * DAY,
                THERE,
            )
            await tidy(hearth.parts)
            assert await conn.fetchval(count, THERE) == 0
            assert await conn.fetchval(count, HERE) == 1
    async with serving(settings(tmp_path, "memory"), where) as hearth:
        await tidy(hearth.parts)
        assert await remains(hearth.parts.base.process.database, HERE) == set()
