"""`hearth appservice`: what it finds in registrations, and how it walks bridges."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from homeserver.cli import app
from tests.bridge import HS_TOKEN, Bridge, answering, registration

GOOD: dict[str, Any] = {"as_token": "a" * 40, "hs_token": "h" * 40}


class Careful(Bridge):
    """Refuses who does not know its token."""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {HS_TOKEN}":
            return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)
        return await super().answer(request)


def written(folder: Path, name: str = "irc.yaml", port: int | None = 9999, **more: Any) -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump(registration(port, **more)))
    file.chmod(0o600)
    return file


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "hearth.yaml"
    file.write_text("server_name: one.test\nappservices: {files: [irc.yaml]}\n")
    written(tmp_path, **GOOD)
    return file


def hearth(*arguments: str) -> Result:
    command = ("appservice", *arguments)
    return CliRunner().invoke(app, command, prog_name="hearth", catch_exceptions=False)


def checked(settings: Path, file: Path) -> Any:
    result = hearth("check", "-c", str(settings), "--json", str(file))
    return json.loads(result.stdout)


def risks(settings: Path, **more: Any) -> list[str]:
    file = written(settings.parent, **{**GOOD, **more})
    return [risk["path"] for risk in checked(settings, file)["risks"]]


def test_a_good_registration(settings: Path) -> None:
    result = hearth("check", "-c", str(settings), str(settings.parent / "irc.yaml"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("is a good registration of 'irc'.\n")


def everything(exclusive: bool) -> dict[str, Any]:
    return {"users": [{"regex": ".*", "exclusive": exclusive}]}


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"as_token": "short"}, "as_token"),
        ({"hs_token": GOOD["as_token"]}, "hs_token"),
        ({"url": "http://bridge.example.org:80"}, "url"),
        ({"url": None, "receive_ephemeral": True}, "url"),
        ({"namespace": {}}, "namespace"),
        ({"namespaces": everything(True)}, "namespaces.users[0].regex"),
        ({"namespaces": everything(False)}, "namespaces.users[0].regex"),
        ({"namespaces": {"users": [{"regex": "@irc_.*"}]}}, "namespaces.users[0].exclusive"),
        ({"namespaces": {"rooms": [{"regex": "!.*"}]}}, "namespaces.rooms"),
        ({"namespaces": {"aliases": [{"regex": "#"}]}}, "namespaces.aliases"),
    ],
)
def test_what_is_risky(settings: Path, more: dict[str, Any], path: str) -> None:
    assert risks(settings, **more) == [path]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://mautrix-telegram:29317", "http://10.0.0.5", "https://x.y"]
)
def test_where_it_may_be(settings: Path, url: str) -> None:
    assert risks(settings, url=url) == []


def test_the_file_itself(settings: Path) -> None:
    other = written(settings.parent, "other.yaml", **{**GOOD, "id": "x", "as_token": "o" * 40})
    other.chmod(0o644)
    assert [risk["path"] for risk in checked(settings, other)["risks"]] == [
        str(other),
        "appservices.files",
    ]


def test_what_is_wrong(settings: Path) -> None:
    bad = written(settings.parent, "bad.yaml", namespaces={"users": [{"regex": "@["}]}, url="x")
    problems = {problem["path"] for problem in checked(settings, bad)["problems"]}
    assert problems == {"url", "namespaces.users[0].regex"}
    result = hearth("check", "-c", str(settings), str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    twin = written(settings.parent, "twin.yaml", **{**GOOD, "as_token": "t" * 40})
    assert [problem["path"] for problem in checked(settings, twin)["problems"]] == ["id"]
    missing = hearth("check", "-c", str(settings), "nothing.yaml")
    assert (missing.exit_code, missing.stdout) == (2, "")


async def walked(settings: Path, bridge: Bridge, **more: Any) -> tuple[int, dict[str, str]]:
    """The exit status, and what came of each step."""
    file = written(settings.parent, port=bridge.port, **more)
    arguments = ("test", "-c", str(settings), "--json", str(file))
    result = await asyncio.to_thread(hearth, *arguments)
    told = json.loads(result.stdout)
    assert told["ok"] is (result.exit_code == 0)
    return result.exit_code, {step["name"]: step["verdict"] for step in told["steps"]}


async def test_a_bridge_that_does_all(settings: Path) -> None:
    async with answering(Careful()) as bridge:
        more = {"receive_ephemeral": True, "org.matrix.msc3202": True}
        status, steps = await walked(settings, bridge, **more)
    # No server runs from these settings, which could be asked for keys.
    assert steps.pop("encrypted") == "skipped"
    assert (status, set(steps.values()), len(steps)) == (0, {"good"}, 8)
    asked = [(one.method, one.path.partition("?")[0]) for one in bridge.asked]
    assert asked[0] == ("POST", "/_matrix/app/v1/ping")
    assert ("GET", "/_matrix/app/v1/users/%40_irc_hearth_test%3Aone.test") in asked
    assert ("GET", "/_matrix/app/v1/rooms/%23_irc_hearth_test%3Aone.test") in asked
    assert ("GET", "/_matrix/app/v1/thirdparty/protocol/irc") in asked
    # Each of the three was told twice, under the same ID.
    assert len(bridge.transactions) == 3
    assert sum("/transactions/" in path for _, path in asked) == 6
    last = list(bridge.transactions.values())[-1]
    assert last["to_device"] == last["de.sorunome.msc2409.to_device"]
    assert "org.matrix.msc3202.device_one_time_key_counts" in last


async def test_a_bridge_that_knows_little(settings: Path) -> None:
    def respond(request: web.BaseRequest) -> web.Response | None:
        is_old = request.path.startswith(("/transactions/", "/users/", "/rooms/"))
        return None if is_old else web.json_response({}, status=404)

    async with answering(Careful(respond=respond)) as bridge:
        status, steps = await walked(settings, bridge)
    assert status == 0
    assert (steps["ping"], steps["ephemeral"], steps["transaction"]) == (
        "skipped",
        "skipped",
        "good",
    )


class Careless(Bridge):
    """Takes what it is told from anybody."""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({})


async def test_bridges_that_fail(settings: Path) -> None:
    async with answering(Careless()) as bridge:
        status, steps = await walked(settings, bridge)
        assert (status, steps["wrong hs_token"]) == (1, "wrong")
    async with answering(Careful()) as bridge:
        status, steps = await walked(settings, bridge, hs_token="another")
        assert (status, steps) == (1, {"ping": "wrong"})
    status, steps = await walked(settings, bridge)
    assert (status, steps) == (1, {"ping": "wrong"})

    def respond(request: web.BaseRequest) -> web.Response | None:
        is_transaction = "/transactions/" in request.path
        return web.json_response({}, status=500) if is_transaction else None

    async with answering(Careful(respond=respond)) as bridge:
        status, steps = await walked(settings, bridge)
        assert (status, steps["user query"], steps["transaction"]) == (1, "good", "wrong")


async def test_as_people_read_it(settings: Path) -> None:
    async with answering(Careful()) as bridge:
        file = written(settings.parent, port=bridge.port)
        result = await asyncio.to_thread(hearth, "test", "-c", str(settings), str(file))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ok    ping            it answers after ")
    assert lines[1] == "ok    wrong hs_token  it refuses (403)"
