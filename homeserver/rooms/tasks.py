"""Work that administrators begin and look after: it goes on when their request is answered."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from federation.identifiers import RoomID
from homeserver.ending import end
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.logs import get_logger
from homeserver.storage import admin_tasks
from homeserver.storage.admin_tasks import Task, TaskKind
from homeserver.storage.process import Process

log = get_logger(__name__)

_LEASE = 60_000
"""Milliseconds after which a task of which nothing was heard has failed."""

Result = Mapping[str, Any]
Report = Callable[[Result | None], Awaitable[None]]
"""Says that the work goes on, and perhaps what came of it so far."""
Work = Callable[[Report], Awaitable[Result]]


class State(NamedTuple):
    """How far a task is."""

    task_id: str
    room_id: str
    status: str
    """`active`, `complete` or `failed`."""
    result: Result
    """What came of it so far; of a failure, `error` says why."""


class Tasks:
    """Begins tasks, and tells what became of them.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._running: dict[str, asyncio.Task[None]] = {}

    async def begin(self, kind: TaskKind, room_id: RoomID, work: Work) -> str:
        """Begin a task; answer its ID.

        Raises:
            InvalidParam: one of that kind goes on in the room already.

        """
        task_id, now = secrets.token_urlsafe(12), self._process.now()
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]
            if not await admin_tasks.begin(conn, task_id, kind, room, now, now + _LEASE):
                raise InvalidParam("this is being done in the room already")
        running = asyncio.create_task(self._run(task_id, work))
        self._running[task_id] = running
        running.add_done_callback(lambda _: self._running.pop(task_id, None))
        return task_id

    async def finish(self, kind: TaskKind, task_id: str) -> State:
        """Wait for the end of a task that was begun here."""
        running = self._running.get(task_id)
        if running is not None:
            await asyncio.shield(running)
        return await self.state(kind, task_id)

    async def state(self, kind: TaskKind, task_id: str) -> State:
        """How far a task is, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            found = await admin_tasks.find(conn, kind, task_id)
        if found is None:
            raise NotFound("there is no such task, or it ended long ago")
        return self._state(found)

    async def of_room(self, kind: TaskKind, room_id: RoomID) -> list[State]:
        """The tasks of a room, the latest first."""
        async with self._process.database.reader() as conn:
            found = await admin_tasks.of_room(conn, kind, room_id)
        return [self._state(task) for task in found]

    async def close(self) -> None:
        """End what is running; it can be asked for again."""
        await end(*self._running.values())

    async def _run(self, task_id: str, work: Work) -> None:
        async def report(result: Result | None) -> None:
            await self._note(task_id, "active", result, _LEASE)

        try:
            result = await work(report)
        except MatrixError as error:
            await self._note(task_id, "failed", {"error": error.message}, 0)
        except Exception:  # whoever waits for the task has to be told
            log.exception("a task failed", task=task_id)
            await self._note(task_id, "failed", {"error": "see the log of the server"}, 0)
        else:
            await self._note(task_id, "complete", result, 0)

    async def _note(self, task_id: str, status: str, result: Result | None, lease: int) -> None:
        written = None if result is None else orjson.dumps(result)
        until = self._process.now() + lease
        async with self._process.database.reader() as conn:
            await admin_tasks.update(conn, task_id, status, until, written)

    def _state(self, task: Task) -> State:
        result = orjson.loads(task.result)
        if task.status == "active" and task.until_ts < self._process.now():
            return State(
                task.task_id,
                task.room_id,
                "failed",
                {**result, "error": "the server was stopped meanwhile; ask for it again"},
            )
        return State(task.task_id, task.room_id, task.status, result)
