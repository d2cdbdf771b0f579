"""The whole server: one parent, a keeper of the database, and equal workers.

The parent binds the sockets once and forks; it has no thread, no loop and no connection, so it can
fork again whenever a worker has died. Workers accept on what they inherited.
"""

import asyncio
import fcntl
import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from federation.signing import SigningKey
from homeserver.accounts.app_service_files import load_app_services
from homeserver.app import keeper
from homeserver.app.children import CANNOT_START, PARENT_GONE, Child, Lifeline, reap, spawn
from homeserver.app.keeper import end_told
from homeserver.app.worker import Worker
from homeserver.config.settings import Listener, Settings
from homeserver.ending import end
from homeserver.errors import HearthError
from homeserver.http.listeners import Door, door
from homeserver.http.server import BACKLOG
from homeserver.logs import configure, get_logger
from homeserver.peers.signing_keys import load_or_make
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.pool import passes

log = get_logger(__name__)

_LOCK = "lock"
_LOCK_SECONDS = 12.0
"""How long a server that is ending may still hold the data folder."""
_WORKERS_SECONDS = 5.0
"""How long workers may take to end; with the database's time, below ten in all."""
_KEEPER_SECONDS = 12.0
_SHORT_LIFE = 5.0
"""A worker that lived for less, in seconds, is started again more slowly."""
_COLLECTING = (100_000, 10, 10)
"""After how many new objects, and collections of younger ones, cycles are looked for."""
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}


class ServingError(HearthError):
    """The server cannot be started; the text says what to do."""


Read = Callable[[], Settings]
"""Reads the settings again."""


def serve(settings: Settings, read: Read) -> int:
    """Serve until SIGINT or SIGTERM; answers the exit status.

    At SIGHUP the registrations of application services are read again.

    Args:
        settings: of the server.
        read: reads them again.

    Raises:
        ServingError, OSError: it cannot be started.
        ConfigError: a registration of an application service cannot be used.

    """
    load_app_services(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(settings.data_dir)
    try:
        return _Server(settings, read, load_or_make(settings.signing_key_file)).run()
    finally:
        os.close(lock)


class _Server:
    """The parent."""

    def __init__(self, settings: Settings, read: Read, key: SigningKey) -> None:
        self._settings = settings
        self._read = read
        self._has_terminal = os.isatty(0)
        self._key = key
        self._lifeline = Lifeline()
        self._shared = SharedPositions(settings.workers)
        self._children: dict[int, Child] = {}
        self._places: dict[int, tuple[int, float]] = {}
        """Of each worker, by process ID: its place, and when it was made."""
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        doors = [_open(listener) for listener in self._settings.listeners]
        _share_with_children()
        # Before the first child: nothing may be missed between its end and our looking.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        where = self._start_keeper()
        if where is None:
            return self._end(CANNOT_START)
        for opened in doors:
            # Whoever comes from now on is let in, once a worker is there.
            opened.socket.listen(BACKLOG)
        for place in range(self._settings.workers):
            self._start_worker(place, doors, where)
        self._say_where(doors)
        while not self._stopping:
            self._wait(lambda place: self._start_worker(place, doors, where))
        return self._end(self._status)

    def _start_keeper(self) -> dict[str, Any] | None:
        """The database's address, once it is ready; `None` if it never is."""
        reading, writing = os.pipe()

        def run() -> int:
            os.close(reading)
            return keeper.run(self._prepared(), self._lifeline.hold_on(), writing)

        child = spawn("keeper", run)
        self._children[child.pid] = child
        os.close(writing)
        try:
            return _read_report(reading)
        finally:
            os.close(reading)

    def _prepared(self) -> Settings:
        """In a child: the settings, when the log is its own."""
        configure(self._settings.logging)
        return self._settings

    def _start_worker(self, place: int, doors: Sequence[Door], where: dict[str, Any]) -> None:
        def run() -> int:
            worker = Worker(self._prepared(), self._key, where, self._shared, place)
            return _run_worker(worker, doors, self._lifeline.hold_on(), self._read)

        child = spawn(f"worker {place + 1}", run)
        self._children[child.pid] = child
        self._places[child.pid] = place, time.monotonic()

    def _say_where(self, doors: Sequence[Door]) -> None:
        for listener, opened in zip(self._settings.listeners, doors, strict=True):
            scheme = "http" if opened.tls is None else "https"
            host = f"[{listener.address}]" if listener.address.version == 6 else listener.address
            url = f"{scheme}://{host}:{opened.socket.getsockname()[1]}"
            log.info("serving", server=self._settings.server_name, at=url)

    def _wait(self, start_again: Callable[[int], None]) -> None:
        received = signal.sigwait(_SIGNALS)
        # SIGHUP also says that the terminal is gone.
        if received is signal.SIGHUP and os.isatty(0) == self._has_terminal:
            self._reload()
        elif received is signal.SIGCHLD:
            self._replace_ended(start_again)
        else:
            self._stopping = True

    def _replace_ended(self, start_again: Callable[[int], None]) -> None:
        for child, status in reap(self._children):
            place, began = self._places.pop(child.pid, (None, 0.0))
            if place is None or status == CANNOT_START:
                self._stopping, self._status = True, status or 1
                continue
            log.warning("a worker has ended and is started again", name=child.name, status=status)
            if time.monotonic() - began < _SHORT_LIFE:
                time.sleep(0.5)
            start_again(place)

    def _reload(self) -> None:
        """Have the workers read the registrations again, if they are good."""
        try:
            settings = self._read()
            load_app_services(settings)
        except HearthError as error:
            log.warning("the registrations cannot be used, the former stay", reason=str(error))
            return
        self._settings = replace(self._settings, appservices=settings.appservices)
        for pid in self._places:
            self._children[pid].send(signal.SIGHUP)

    def _end(self, status: int) -> int:
        """Workers first, as they need the database."""
        workers = {pid: child for pid, child in self._children.items() if pid in self._places}
        _end_all(workers, _WORKERS_SECONDS)
        keepers = {pid: c for pid, c in self._children.items() if pid not in self._places}
        _end_all(keepers, _KEEPER_SECONDS)
        return status


def _run_worker(worker: Worker, doors: Sequence[Door], lifeline: int, read: Read) -> int:
    def reload() -> None:
        try:
            worker.reload(read())
        except HearthError as error:
            log.warning("the registrations cannot be used, the former stay", reason=str(error))
        else:
            log.info("the registrations of application services were read again")

    async def run() -> int:
        told = end_told(lifeline)
        starting = asyncio.create_task(worker.start(doors))
        try:
            await asyncio.wait((told, starting), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _leave_to_itself()
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
            status = await told
            if status == PARENT_GONE:
                # The database ends with the parent: nothing can be finished in order any more.
                os._exit(status)
            return status
        finally:
            await end(starting)
            await worker.stop()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    except Exception as error:
        if passes(error):
            log.warning("a worker lost the database as it started", reason=str(error))
            return 1
        if not isinstance(error, HearthError):
            raise
        log.critical("a worker cannot start", reason=str(error))
        return CANNOT_START


def _share_with_children() -> None:
    """What the parent has made stays, and is in memory once for all processes.

    A collector of cycles that looked at it would write to every page of it.
    """
    gc.collect()
    gc.freeze()


def _leave_to_itself() -> None:
    """What a worker has made by now stays: the collector of cycles need not look at it again.

    Little of what comes later is in cycles, and what one answer is made from is soon gone: it looks
    so seldom that an answer of hundreds of events is over before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTING)


def _end_all(children: dict[int, Child], seconds: float) -> None:
    """Ask them to end; those that have not by then are killed."""
    for child in children.values():
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while children and time.monotonic() < deadline:
        reap(children)
        time.sleep(0.02)
    for child in children.values():
        log.warning("a process did not end and is killed", name=child.name)
        child.send(signal.SIGCONT)
        child.send(signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child.pid, 0)


def _read_report(reading: int) -> dict[str, Any] | None:
    """What the keeper tells, while a signal may still end the waiting."""
    told = b""
    while not told.endswith(b"\n"):
        if select.select([reading], [], [], 0.2)[0]:
            piece = os.read(reading, 65536)
            if not piece:
                return None
            told += piece
        elif signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
            return None
    found: dict[str, Any] = json.loads(told)
    return found


def _open(listener: Listener) -> Door:
    try:
        return door(listener)
    except OSError as error:
        raise ServingError(
            f"cannot listen at {listener.address} port {listener.port}: {error.strerror}. Another "
            "program may have it (`ss -ltnp` shows which); `listeners` says where to listen"
        ) from error


def _lock(folder: Path) -> int:
    """Have the folder for ourselves; the lock ends with the last of our processes."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ServingError(
                    f"another Hearth serves from {folder}: stop it, or give this one a `data_dir` "
                    "of its own"
                ) from None
            time.sleep(0.1)
        else:
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return descriptor


def find_server(folder: Path) -> int | None:
    """The process ID of the server that serves from a data folder; `None` if there is none."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.read(descriptor, 20)
        return int(written) if written.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
