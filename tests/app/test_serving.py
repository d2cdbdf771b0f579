"""The processes of a server: how they begin, how they end, and what happens when one dies."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from homeserver.app.serving import ServingError, _lock
from homeserver.storage.postmaster import is_alive
from tests.app.processes import Serving, serving


async def gone(pids: list[int], within: float = 10.0) -> bool:
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
        assert await gone(children, 0.5)
        server.launch()
        assert await server.answers() < 5
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
