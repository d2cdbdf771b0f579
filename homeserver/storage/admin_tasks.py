"""What administrators asked for that takes longer than a request, and what became of it."""

from enum import IntEnum
from typing import NamedTuple

from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection


class TaskKind(IntEnum):
    """What is done."""

    PURGE_HISTORY = 1
    SHUT_DOWN = 2


class Task(NamedTuple):
    """A row of `admin_tasks`, with the room's ID."""

    task_id: str
    room_id: str
    status: str
    until_ts: int
    """While it goes on, whoever does it says so before that time; then, when it ended."""
    result: bytes
    """A JSON object."""


async def begin(
    conn: Connection, task_id: str, kind: TaskKind, room: RoomNid, now: int, until: int
) -> bool:
    """Note a task; false if one of that kind goes on in the room."""
    made = await conn.fetchval(
        """
        INSERT INTO admin_tasks (task_id, kind, room_nid, status, until_ts, result)
        SELECT $1, $2, $3, 'active', $5, '{}'
         WHERE NOT EXISTS (
               SELECT FROM admin_tasks
                WHERE room_nid = $3 AND kind = $2 AND status = 'active' AND until_ts > $4)
        RETURNING task_id
        """,
        task_id,
        kind,
        room,
        now,
        until,
    )
    return made is not None


async def update(
    conn: Connection, task_id: str, status: str, until: int, result: bytes | None
) -> None:
    """Note how far a task is; without a result the one from before stays."""
    await conn.execute(
        """
        UPDATE admin_tasks
           SET status = $2, until_ts = $3, result = coalesce($4, result)
         WHERE task_id = $1
        """,
        task_id,
        status,
        until,
        result,
    )


async def find(conn: Connection, kind: TaskKind, task_id: str) -> Task | None:
    """One task."""
    row = await conn.fetchrow(
        """
        SELECT t.task_id, r.room_id, t.status, t.until_ts, t.result
          FROM admin_tasks t JOIN rooms r ON r.room_nid = t.room_nid
         WHERE t.task_id = $1 AND t.kind = $2
        """,
        task_id,
        kind,
    )
    return Task(*row) if row else None


async def of_room(conn: Connection, kind: TaskKind, room_id: str) -> list[Task]:
    """The tasks of a kind that a room has or had lately, the latest first."""
    rows = await conn.fetch(
        """
        SELECT t.task_id, r.room_id, t.status, t.until_ts, t.result
          FROM rooms r JOIN admin_tasks t ON t.room_nid = r.room_nid
         WHERE r.room_id = $1 AND t.kind = $2
         ORDER BY t.until_ts DESC
         LIMIT 100
        """,
        room_id,
        kind,
    )
    return [Task(*row) for row in rows]


async def forget(conn: Connection, before: int) -> None:
    """Forget tasks that ended before a time, in milliseconds."""
    await conn.execute("DELETE FROM admin_tasks WHERE until_ts < $1", before)
