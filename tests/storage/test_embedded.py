"""The embedded PostgreSQL, through everything that happens to a server."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from homeserver.storage.embedded import (
    Address,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    processes_in,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(tmp_path / "pg", for_tests=True)
    yield embedded
    await embedded.stop()


async def answer(address: Address, query: str) -> object:
    conn = await asyncpg.connect(**address.connection, database="postgres")
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


async def test_it_starts_quickly_and_keeps_what_it_was_told(server: EmbeddedPostgres) -> None:
    """First start under 8 seconds, later ones under 2."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    address = await server.start()
    assert loop.time() - began < 8
    await answer(address, "CREATE TABLE kept AS SELECT 42 AS it")
    await server.stop()
    began = loop.time()
    address = await server.start()
    assert loop.time() - began < 2
    assert await answer(address, "SELECT it FROM kept") == 42
    assert str(await answer(address, "SHOW jit")) == "off"


async def test_stopping_leaves_nothing_behind(server: EmbeddedPostgres, tmp_path: Path) -> None:
    address = await server.start()
    assert processes_in(tmp_path / "pg" / "data")
    await server.stop()
    assert not processes_in(tmp_path / "pg" / "data")
    with pytest.raises(OSError):
        await answer(address, "SELECT 1")
    await server.stop()  # twice is no error


async def test_a_killed_one_starts_again(tmp_path: Path) -> None:
    """kill -9 of the postmaster: its children and lock files are no obstacle, nothing is lost."""
    server = EmbeddedPostgres(tmp_path / "pg")
    address = await server.start()
    try:
        await answer(address, "CREATE TABLE kept AS SELECT 1")
        os.kill(_postmaster(tmp_path), signal.SIGKILL)
        address = await server.start()
        assert await answer(address, "SELECT count(*) FROM kept") == 1
    finally:
        await server.stop()


async def test_a_running_one_is_adopted(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Whoever started it is gone; the next one finds it running, and can stop it."""
    await server.start()
    before = _postmaster(tmp_path)
    other = EmbeddedPostgres(tmp_path / "pg", for_tests=True)
    address = await other.start()
    assert _postmaster(tmp_path) == before
    assert await answer(address, "SELECT 1") == 1


async def test_two_starters_at_once(server: EmbeddedPostgres, tmp_path: Path) -> None:
    other = EmbeddedPostgres(tmp_path / "pg", for_tests=True)
    one, two = await asyncio.gather(server.start(), other.start())
    assert one == two
    assert await answer(one, "SELECT 1") == 1


async def test_somebody_elses_number_in_the_pid_file(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """After a reboot the number may be any process's: this one's, say."""
    await server.start()
    await server.stop()
    (tmp_path / "pg" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_a_first_start_that_was_broken_off(server: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "pg" / "data.new").mkdir(parents=True)
    (tmp_path / "pg" / "data.new" / "PG_VERSION").write_text("18\n")
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_data_of_another_version(server: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "pg" / "data").mkdir(parents=True)
    (tmp_path / "pg" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="is of PostgreSQL 16, and this is 18"):
        await server.start()


async def test_a_folder_with_a_long_name(tmp_path: Path) -> None:
    """The path of a socket may have 107 bytes."""
    embedded = EmbeddedPostgres(tmp_path / ("long" * 30), for_tests=True)
    address = await embedded.start()
    try:
        assert len(address.host) < 90
        assert _mode(Path(address.host)) == 0o700
        assert await answer(address, "SELECT 1") == 1
    finally:
        await embedded.stop()


async def test_others_are_kept_out(server: EmbeddedPostgres, tmp_path: Path) -> None:
    address = await server.start()
    folder = tmp_path / "pg"
    assert {_mode(folder), _mode(folder / "data"), _mode(folder / "run")} == {0o700}
    assert _mode(folder / "password") == 0o600
    assert await answer(address, "SHOW listen_addresses") == ""
    wrong = {**address.connection, "password": "guess", "database": "postgres"}
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**wrong)
    assert address.password not in repr(address)


async def test_somebody_elses_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((EmbeddedPostgresError, OSError)):
        await EmbeddedPostgres(tmp_path / "file", for_tests=True).start()


async def test_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    """The terminal interrupts the whole group of processes; PostgreSQL is in one of its own."""
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from homeserver.storage.embedded import EmbeddedPostgres\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "asyncio.run(EmbeddedPostgres(Path(sys.argv[1]), for_tests=True).start())\n"
        "os.killpg(0, signal.SIGINT); os._exit(0)\n"
    )
    folder = tmp_path / "pg"
    command = [sys.executable, "-c", code, str(folder)]
    await asyncio.to_thread(subprocess.run, command, check=True, start_new_session=True)
    embedded = EmbeddedPostgres(folder, for_tests=True)
    before = _postmaster(tmp_path)
    try:
        assert await answer(await embedded.start(), "SELECT 1") == 1
        assert _postmaster(tmp_path) == before
    finally:
        await embedded.stop()


def _postmaster(tmp_path: Path) -> int:
    return int((tmp_path / "pg" / "data" / "postmaster.pid").read_text().split()[0])


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
