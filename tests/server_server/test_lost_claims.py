"""Rooms that are taken from a process while it writes to them; see ADR 2.

PostgreSQL ends the session of whoever has a room and is silent for too long, for somebody else to
go on. What came in is not lost with it, and nothing of it is half done.
"""

from typing import Any

import pytest

from federation.events import Event
from homeserver.storage.pool import Database, OwnConnection
from tests.server_server.conftest import Scene
from tests.servers import Hearth

_MOST_STATEMENTS = 60


class _Fragile:
    """A connection whose session is ended with one of its statements: as it begins, or is done."""

    def __init__(self, conn: OwnConnection, database: Database, mortal: "_Mortal") -> None:
        self._conn = conn
        self._database = database
        self._mortal = mortal

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conn, name)
        if name not in ("fetch", "fetchrow", "fetchval", "execute"):
            return found

        async def ask(*args: Any) -> Any:
            is_last = self._mortal.count()
            if is_last and not self._mortal.is_done_first:
                await self._end()
            answer = await found(*args)
            if is_last and self._mortal.is_done_first:
                await self._end()
                await found("SELECT 'what it gets to hear'")
            return answer

        return ask

    async def _end(self) -> None:
        async with self._database.reader() as conn:
            pid = self._conn.get_server_pid()
            assert await conn.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)


class _Mortal:
    """Which statement it is that ends the session."""

    def __init__(self, last: int, *, is_done_first: bool) -> None:
        self.left = last
        self.is_done_first = is_done_first

    def count(self) -> bool:
        self.left -= 1
        return self.left == 0


async def _make_mortal(hearth: Hearth, mortal: _Mortal, monkeypatch: pytest.MonkeyPatch) -> None:
    claims: Any = hearth.parts.federating.claims
    connection, database = claims._connection, hearth.parts.base.process.database
    await claims.close()

    async def fragile() -> Any:
        conn = await connection()
        return conn if isinstance(conn, _Fragile) else _Fragile(conn, database, mortal)

    monkeypatch.setattr(claims, "_connection", fragile)


def _redacted_before(scene: Scene) -> tuple[Event, Event]:
    """What Eve says behind a gap, and how she takes it back."""
    peer, eve = scene.peer, scene.peer.user("eve")
    at = scene.room.place("m.room.redaction", eve, None, {})
    scene.room.add(peer.say(scene.room, "lost", eve))
    said = peer.say(scene.room, "regrettable", eve)
    content, named = {"redacts": said.event_id}, said.event_id
    taken_back = peer.make(scene.room, "m.room.redaction", content, eve, place=at, redacts=named)
    return said, taken_back


@pytest.mark.parametrize("is_done_first", [False, True])
async def test_everything_is_written_whenever_the_claim_is_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, is_done_first: bool
) -> None:
    peer, process = scene.peer, scene.hearth.parts.base.process
    peer.lies["get_missing_events"] = lambda _: {"events": []}
    peer.hosted[scene.room.room_id] = scene.room
    for number in range(1, _MOST_STATEMENTS):
        said, taken_back = _redacted_before(scene)
        assert await peer.send([taken_back]) == {taken_back.event_id: {}}
        mortal = _Mortal(number, is_done_first=is_done_first)
        with monkeypatch.context() as patch:
            await _make_mortal(scene.hearth, mortal, patch)
            assert await peer.send([said]) == {said.event_id: {}}
        shown = (await scene.ann.get(f"{scene.path}/event/{said.event_id}")).ok()
        assert shown["content"] == {}, number
        async with process.database.reader() as conn:
            gaps = await conn.fetchval(
                "SELECT count(*) FROM missing_parents m JOIN events e ON e.room_nid = m.room_nid"
                " AND e.room_order = m.child_order JOIN event_ids i ON i.event_nid = e.event_nid"
                " WHERE i.event_id = $1",
                said.event_id,
            )
        assert gaps == 1, number
        if mortal.left > 0:
            break
    assert 5 < number < _MOST_STATEMENTS - 1, "the statements are counted"
