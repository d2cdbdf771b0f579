"""A private PostgreSQL in the data folder, for those who do not bring one.

How its programs are run is ours: no TCP, a random password, folders that only the owner may enter,
a session of its own so that Ctrl-C reaches us first. One that still runs in the folder, say after
we were killed, is adopted.

    FOLDER/password     0600
    FOLDER/data/        PostgreSQL's own
    FOLDER/run/         its socket; elsewhere where the path would be too long
    FOLDER/log          what it says; log.old is what it said before
"""

import asyncio
import fcntl
import hashlib
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

from homeserver.logs import get_logger
from homeserver.storage.launcher import MAJOR, EmbeddedPostgresError, Launcher, find_launcher
from homeserver.storage.postmaster import find_postmaster, is_alive, processes_in

log = get_logger(__name__)

USER = "hearth"
_PORT = 5432
_MAX_SOCKET_PATH = 107
"""Bytes; the kernel's limit."""
_MAX_LOG = 4 * 1024 * 1024
_START_SECONDS = 60.0
_RECOVERY_SECONDS = 900.0
"""How long it may need to replay what was not yet in its place when it was killed."""
_STOP_SECONDS = {signal.SIGINT: 7.0, signal.SIGQUIT: 1.5, signal.SIGKILL: 1.5}
"""Fast, immediate (what is committed is replayed at the next start), and by force: ten in all."""
_LOOK_AGAIN = 0.02
_GLANCE = 0.25
"""Seconds between two looks at one that should go on running."""
_MOST_KILLED = 10
"""So often in a row it may be killed while it starts, before we give up."""
_PATIENCE = 50
"""Looks, a second of them, in which the children of a killed postmaster notice that it is gone."""

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "wal_compression": "on",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "idle_in_transaction_session_timeout": "60s",
    "autovacuum_naptime": "15s",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    # Statements and the rows they stumble upon would tell of people.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
_NOT_THERE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.InternalClientError,
)
_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


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
    """The PostgreSQL of one folder; `async with` starts it, and stops it in the end.

    `for_tests` gives up safety after a crash for speed.
    """

    def __init__(self, folder: Path, *, for_tests: bool = False) -> None:
        self._folder = folder.resolve()  # as the kernel names it
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._settings = _SETTINGS | (_UNSAFE_SETTINGS if for_tests else {})
        self._initdb_options = ["--no-sync"] if for_tests else []
        self._child: subprocess.Popen[bytes] | None = None

    async def start(self) -> Address:
        """Start it, or adopt the one that runs; answer once it takes connections.

        Raises:
            EmbeddedPostgresError: it does not start, or the folder is not fit for it.

        """
        launcher = find_launcher()
        # The owner of the data must get to them; all else in the folder is closed in itself.
        _make_ours(self._folder, 0o711 if launcher.becomes_owner else 0o700)
        launcher.check_path(self._folder)
        async with self._only_starter():
            try:
                return await self._start(launcher)
            except BaseException:  # cancelled, too: nobody would stop it later
                if self._child is not None:
                    await self.stop()
                raise

    async def stop(self) -> None:
        """End it, whoever started it; what was committed is kept. Takes at most ten seconds."""
        pid = self._running()
        for signal_number, seconds in _STOP_SECONDS.items():
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            with suppress(TimeoutError):
                await asyncio.wait_for(_wait_until_gone(pid), seconds)
                break
        self._forget_child()
        if self._socket_place().parent != self._folder:
            with suppress(OSError):
                self._socket_place().rmdir()

    async def keep_running(self) -> None:
        """Start it again whenever it has ended; goes on until cancelled, to be done before `stop`.

        PostgreSQL makes up for the loss of any process of its own but the first; this is for that.

        Raises:
            EmbeddedPostgresError: it does not start again.

        """
        while True:
            pid = self._running()
            if pid is None:
                log.warning("PostgreSQL has ended and is started again")
                await self.start()
            else:
                await _wait_until_gone(pid, _GLANCE)

    async def __aenter__(self) -> Address:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @asynccontextmanager
    async def _only_starter(self) -> AsyncIterator[None]:
        """Keep others from starting in the same folder meanwhile."""
        with _open_private(self._folder / "lock") as lock:
            while True:
                # Not waiting in a thread: nothing could call it back.
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                await asyncio.sleep(_LOOK_AGAIN)
            yield

    async def _start(self, launcher: Launcher) -> Address:
        await self._ensure_data(launcher)
        for _ in range(_MOST_KILLED):
            is_adopted = find_postmaster(self._data) is not None
            if is_adopted:
                log.info("PostgreSQL still runs from before and is taken over")
            else:
                await self._clear_remains()
                self._launch(launcher)
            address = await self._wait_until_ready(is_adopted=is_adopted)
            if address is not None:
                return address
        raise self._failure(f"it was killed {_MOST_KILLED} times as it started")

    async def _ensure_data(self, launcher: Launcher) -> None:
        version_file = self._data / "PG_VERSION"
        if not version_file.exists():
            await self._initialise(launcher)
        version = version_file.read_text().strip()
        if version != MAJOR:
            raise EmbeddedPostgresError(
                f"{self._data} is of PostgreSQL {version}, and this is {MAJOR}. Dump it with the "
                "version of Hearth that wrote it, or point `database` at a server of your own."
            )
        if find_postmaster(self._data) is None:
            launcher.give(self._data)  # it may have run as somebody else before
            launcher.give(self._socket_folder())

    async def _initialise(self, launcher: Launcher) -> None:
        """Make the data folder; half of one, from a start that was broken off, is thrown away."""
        unfinished = self._folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = self._folder / "password"
        with _open_private(password) as file:
            file.truncate(0)
            file.write(secrets.token_urlsafe(32).encode())
        launcher.give(password)
        launcher.give(unfinished)
        await self._run(
            launcher,
            *("initdb", "-D", unfinished, "-U", USER, "-E", "UTF8", "--locale=C"),
            *("-A", "scram-sha-256", f"--pwfile={password}", *self._initdb_options),
        )
        unfinished.rename(self._data)

    async def _run(self, launcher: Launcher, program: str, *arguments: str | Path) -> None:
        # Not asyncio's way: uvloop's knows no other users.
        process = self._spawn(launcher, program, *arguments)
        try:
            while process.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_AGAIN)
        finally:
            if process.returncode is None:  # cancelled
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            raise self._failure(f"{program} failed")

    def _launch(self, launcher: Launcher) -> None:
        settings = self._settings | {"unix_socket_directories": str(self._socket_folder())}
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        self._child = self._spawn(launcher, "postgres", "-D", self._data, *arguments)

    def _spawn(
        self, launcher: Launcher, program: str, *arguments: str | Path
    ) -> subprocess.Popen[bytes]:
        if self._log.exists() and self._log.stat().st_size > _MAX_LOG:
            self._log.replace(self._log.with_suffix(".old"))
        with _open_private(self._log) as output:
            return subprocess.Popen(  # noqa: S603 - our own programs and arguments
                launcher.command(program, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **launcher.identity(),
            )

    def _failure(self, what: str) -> EmbeddedPostgresError:
        said = self._log.read_text(errors="replace").splitlines()[-5:]
        return EmbeddedPostgresError("\n  ".join([f"PostgreSQL: {what}. It said:", *said]))

    async def _wait_until_ready(self, *, is_adopted: bool) -> Address | None:
        """Where it answers; `None` if it is gone: adopted when it was ending, or killed."""
        now = asyncio.get_running_loop().time
        began, limit = now(), _START_SECONDS
        while now() < began + limit:
            address = self._address()
            try:
                connection = await asyncpg.connect(**address.connection, database="postgres")
            except asyncpg.InvalidPasswordError as error:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {self._data} does not take the password in {self._folder}"
                ) from error
            except asyncpg.CannotConnectNowError:
                limit = _RECOVERY_SECONDS
            except _NOT_THERE:
                if is_adopted and find_postmaster(self._data) is None:
                    return None
                if not is_adopted and self._was_killed():
                    return None
            else:
                await connection.close()
                return address
            await asyncio.sleep(_LOOK_AGAIN)
        raise EmbeddedPostgresError(f"PostgreSQL does not answer; its log is {self._log}")

    def _was_killed(self) -> bool:
        """Whether what we started is gone by a signal; if by itself, the next fares no better."""
        status = self._child.poll() if self._child is not None else 1
        if status is not None and status >= 0:
            raise self._failure("it ended at once")
        return status is not None

    async def _clear_remains(self) -> None:
        """Take away what a postmaster that was killed left behind."""
        if (self._data / "postmaster.pid").exists():
            log.warning("PostgreSQL was killed; what it left behind is cleared away")
        for attempt in range(500):
            self._forget_child()
            left = processes_in(self._data)
            if not left and self._child is None:
                break
            if attempt > _PATIENCE:
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(_LOOK_AGAIN)
        # PostgreSQL would believe whatever process has that number now.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for remains in self._socket_folder().glob(".s.PGSQL.*"):
            remains.unlink(missing_ok=True)

    def _running(self) -> int | None:
        found = find_postmaster(self._data)
        if found is not None:
            return found.pid
        self._forget_child()
        return self._child.pid if self._child else None

    def _forget_child(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _address(self) -> Address:
        try:
            password = (self._folder / "password").read_text()
        except FileNotFoundError as error:
            raise EmbeddedPostgresError(
                f"{self._folder / 'password'} is missing: without it nobody can read {self._data}; "
                "restore it from a backup"
            ) from error
        running = find_postmaster(self._data)
        if running is not None and running.socket_folder:
            # Where we would put it may have changed since, with TMPDIR.
            return Address(running.socket_folder, running.port, USER, password)
        return Address(str(self._socket_folder()), _PORT, USER, password)

    def _socket_place(self) -> Path:
        folder = self._folder / "run"
        if not _is_too_long(folder):
            return folder
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"hearth-{os.geteuid()}-{name}"

    def _socket_folder(self) -> Path:
        """Ours or, where the programs run as somebody else, theirs."""
        folder = self._socket_place()
        if _is_too_long(folder):
            raise EmbeddedPostgresError(f"{folder} is too long for a socket: set TMPDIR to another")
        _make_ours(folder, 0o700, also=self._data.stat().st_uid)
        return folder


async def _wait_until_gone(pid: int, look_again: float = _LOOK_AGAIN) -> None:
    # It may be nobody's child by now: there is no event to wait for.
    while is_alive(pid):  # noqa: ASYNC110
        await asyncio.sleep(look_again)


def _is_too_long(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{_PORT}.lock")) > _MAX_SOCKET_PATH


def _make_ours(folder: Path, mode: int, *, also: int | None = None) -> None:
    """Make a folder, and see that it is ours or that of the user `also`."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise EmbeddedPostgresError(f"{folder} cannot be made: {error.strerror}") from error
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), also}:
        raise EmbeddedPostgresError(f"{folder} is not a folder of the user that runs Hearth")
    folder.chmod(mode)


def _open_private(path: Path) -> Any:
    """Open a file for appending that only its owner may read."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b")
