"""Reports: stored with who made them of what, events only by those who are in the room."""

from typing import Any

import pytest

from homeserver.rooms import reporting
from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


@pytest.fixture
async def room(ann: Client) -> Stage:
    return await staged(ann)


async def stored(hearth: Hearth) -> list[tuple[Any, ...]]:
    """Who reported which room, event and user, and why."""
    async with hearth.parts.base.process.database.reader() as conn:
        rows = await conn.fetch(
            """
            SELECT u.user_id, r.room_id, i.event_id, v.user_id, reason
              FROM reports
              JOIN users u USING (user_nid)
              LEFT JOIN rooms r USING (room_nid)
              LEFT JOIN event_ids i USING (event_nid)
              LEFT JOIN users v ON v.user_nid = reported_nid
             ORDER BY report_nid
            """
        )
    return [tuple(row) for row in rows]


async def test_reports_are_stored(room: Stage, ann: Client, bob: Client) -> None:
    event_id = await room.say(ann, "nasty")
    (await bob.post(f"{room.path}/report", {"reason": "sp\0am"})).ok()
    (await ann.post(f"{room.path}/report/{event_id}")).ok()
    (await bob.post(f"/_matrix/client/v3/users/{ann.user_id}/report", {"reason": ""})).ok()
    assert await stored(room.hearth) == [
        (bob.user_id, room.room_id, None, None, "spam"),
        (ann.user_id, room.room_id, event_id, None, ""),
        (bob.user_id, None, None, ann.user_id, ""),
    ]


async def test_events_are_reported_by_those_who_are_there(
    room: Stage, ann: Client, bob: Client
) -> None:
    event_id = await room.say(ann, "nasty")
    path = f"{room.path}/report/{event_id}"
    strange = await bob.post(path)
    assert (strange.status, strange.errcode) == (404, "M_NOT_FOUND")
    await room.member(bob, "join")
    (await bob.post(path)).ok()
    assert (await bob.post(f"{room.path}/report/$nothing")).status == 404
    await room.member(bob, "leave")
    assert (await bob.post(path)).status == 404
    assert len(await stored(room.hearth)) == 1


async def test_what_is_known_here_is_not_told(hearth: Hearth, ann: Client) -> None:
    for path in ("rooms/!none:one.test", "users/@none:one.test"):
        (await ann.post(f"/_matrix/client/v3/{path}/report", {"reason": "x"})).ok()
    assert await stored(hearth) == []
    # What is elsewhere can be seen without having to do with it.
    for path in ("rooms/!none:elsewhere.test", "users/@none:elsewhere.test"):
        (await ann.post(f"/_matrix/client/v3/{path}/report", {"reason": "x"})).ok()
    assert [(room, user) for _, room, _, user, _ in await stored(hearth)] == [
        ("!none:elsewhere.test", None),
        (None, "@none:elsewhere.test"),
    ]


async def test_reports_have_bounds(
    room: Stage, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{room.path}/report"
    assert (await ann.post(path, {})).errcode == "M_MISSING_PARAM"
    assert (await ann.post(path, {"reason": "x" * 2001})).status == 413
    monkeypatch.setattr(reporting, "MOST", 1)
    (await ann.post(path, {"reason": "x"})).ok()
    assert (await ann.post(path, {"reason": "x"})).errcode == "M_LIMIT_EXCEEDED"
