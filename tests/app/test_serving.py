"""The processes of a server: how they begin, how they end, and what happens when one dies."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from homeserver.app.serving import ServingError, _lock
from homeserver.storage.postmaster import is_alive
from tests.app.processes import Serving, serving
from tests.bridge import AS_TOKEN, registration
from tests.servers import eventually


async def gone(pids: list[int], within: float = 30.0) -> bool:
    """Whether all of these end in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while any(is_alive(pid) for pid in pids):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_with_its_children_and_starts_again(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with serving(tmp_path, workers=2) as server:
        children = server.processes()
        assert len(children) == 3
        key = (tmp_path / "hearth-data" / "signing.key").read_text()
        assert (tmp_path / "hearth-data" / "signing.key").stat().st_mode & 0o777 == 0o600
        server.send(how)
        assert await server.ended() == 0
        assert await gone(children, 5)
        server.launch()
        await server.answers()
        assert (tmp_path / "hearth-data" / "signing.key").read_text() == key
    assert "Traceback" not in server.log


async def test_a_killed_worker_is_made_again(tmp_path: Path) -> None:
    async with serving(tmp_path, workers=2) as server:
        _, first, second = server.processes()
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGKILL)
        await server.answers()
        for _ in range(500):
            if len(server.processes()) == 3:
                break
            await asyncio.sleep(0.02)
        assert len(server.processes()) == 3
        assert not {first, second} & set(server.processes())


async def test_children_do_not_outlive_their_parent(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        children = server.processes()
        server.send(signal.SIGKILL)
        await server.ended()
        server.launch()  # at once: it waits for those of before
        await server.answers()
        assert await gone(children)


async def test_postgresql_killed_and_all_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        pid_file = tmp_path / "hearth-data" / "postgres" / "data" / "postmaster.pid"
        before = pid_file.read_text().split()[0]
        os.kill(int(before), signal.SIGKILL)

        async def is_new() -> bool:
            return pid_file.exists() and pid_file.read_text().split()[:1] not in ([], [before])

        for _ in range(500):
            if await is_new():
                break
            await asyncio.sleep(0.02)
        assert await is_new()
        assert await server.is_there()


async def test_one_folder_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.app.serving._LOCK_SECONDS", 0.1)
    async with serving(tmp_path):
        second = Serving(tmp_path, 0)
        with pytest.raises(ServingError, match="data_dir"):
            _lock(second.folder / "hearth-data")


async def test_a_stopped_server_goes_on_after_sigcont(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        everybody = [*server.processes()]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.2)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        assert await server.is_there()


@pytest.mark.parametrize("workers", [1, 2])
async def test_registrations_are_read_again(tmp_path: Path, workers: int) -> None:
    """By all workers, also those that are made later; bad ones change nothing."""
    file, settings = tmp_path / "irc.yaml", tmp_path / "hearth.yaml"
    given = registration(None)

    async def may(token: str) -> bool:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            path = f"{server.url}/_matrix/client/v3/account/whoami"
            answers = [(await session.get(path)).status for _ in range(2 * workers)]
            return answers == [200] * len(answers)

    async with serving(tmp_path, workers=workers) as server:
        none = _hearth(tmp_path, "appservice", "reload")
        assert (none.returncode, none.stdout) == (
            0,
            "The server reads its registrations again: none.\n",
        )
        file.write_text(yaml.safe_dump(given))
        settings.write_text(
            yaml.safe_dump({**server.settings(), "appservices": {"files": ["irc.yaml"]}})
        )
        assert "irc" in _hearth(tmp_path, "appservice", "reload").stdout
        await eventually(lambda: may(AS_TOKEN))
        file.write_text("id: irc")
        refused = _hearth(tmp_path, "appservice", "reload")
        assert refused.returncode == 2
        assert "Nothing was changed" in refused.stderr
        server.send(signal.SIGHUP)
        await eventually(lambda: _says(server, "the former stay"))
        assert await may(AS_TOKEN)
        file.write_text(yaml.safe_dump({**given, "as_token": "another"}))
        assert _hearth(tmp_path, "appservice", "reload").returncode == 0
        await eventually(lambda: may("another"))
        os.kill(server.processes()[-1], signal.SIGKILL)
        await eventually(lambda: _says(server, "is started again"))
        await eventually(lambda: may("another"))
    assert _hearth(tmp_path, "appservice", "reload").returncode == 1


async def test_a_key_that_is_replaced_is_published_as_an_old_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        before = await _keys(server)
        refused = _hearth(tmp_path, "key", "rotate")
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
        server.send(signal.SIGTERM)
        assert await server.ended() == 0
        assert _hearth(tmp_path, "key", "rotate").returncode == 0
        server.launch()
        await server.answers()
        after = await _keys(server)
    [(gone, key)] = before["verify_keys"].items()
    assert gone not in after["verify_keys"]
    assert after["old_verify_keys"][gone]["key"] == key["key"]
    assert after["old_verify_keys"][gone]["expired_ts"] < after["valid_until_ts"]
    assert list(after["signatures"]["one.test"]) == list(after["verify_keys"])


async def _keys(server: Serving) -> Any:
    url = f"{server.url}/_matrix/key/v2/server"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.json()


async def _says(server: Serving, text: str) -> bool:
    return text in server.log


def _hearth(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "homeserver", *words, "-c", "hearth.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
