"""Administrators looking through what people reported."""

from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.events import load
from federation.identifiers import RoomID
from federation.room_versions import ROOM_VERSIONS
from homeserver.errors import NotFound
from homeserver.rooms.showing import client_event
from homeserver.storage import public_rooms, reports
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.reports import Reported, Wanted

MOST = 500
"""Reports of one page."""
_NAME = ("m.room.name", "")
_ALIAS = ("m.room.canonical_alias", "")


class Review(NamedTuple):
    """A report with how its room is called."""

    reported: Reported
    name: str | None
    alias: str | None


class Page(NamedTuple):
    """Some of the reports that are looked for."""

    reviews: list[Review]
    total: int
    next_start: int | None
    """Where the next page begins; `None`: there is no more."""


class Reviewing:
    """Reads reports of events, and forgets them.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process

    async def search(self, wanted: Wanted, start: int, limit: int) -> Page:
        """Reports, page by page."""
        async with self._process.database.reader() as conn:
            found, total = await reports.page(conn, wanted, start, min(limit, MOST))
            reviews = await self._named(conn, found)
        end = start + len(found)
        return Page(reviews, total, end if found and end < total else None)

    async def report(self, number: int) -> tuple[Review, JsonObject | None]:
        """One report with its event, if that is still there; or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            found = await reports.find(conn, number)
            if found is None:
                raise NotFound("there is no such report")
            (review,) = await self._named(conn, [found])
        if found.json is None or found.version is None:
            return review, None
        event = load(found.json, found.event_id, ROOM_VERSIONS[found.version])
        return review, client_event(event)

    async def remove(self, number: int) -> None:
        """Forget a report, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            if not await reports.remove(conn, number):
                raise NotFound("there is no such report")

    async def _named(self, conn: Connection, found: list[Reported]) -> list[Review]:
        rooms = {report.room: report.room_id for report in found}
        names = await self._names(conn, rooms)
        return [Review(report, *names[report.room]) for report in found]

    async def _names(
        self, conn: Connection, rooms: dict[RoomNid, RoomID]
    ) -> dict[RoomNid, tuple[str | None, str | None]]:
        keys = await self._process.numbers.state_keys.find(conn, [_NAME, _ALIAS])
        states = await public_rooms.states(conn, list(rooms), list(keys.values()))

        def says(room: RoomNid, key: tuple[str, str], field: str) -> str | None:
            event = states[room].get(key)
            value = event.content.get(field) if event is not None else None
            return value if isinstance(value, str) else None

        return {room: (says(room, _NAME, "name"), says(room, _ALIAS, "alias")) for room in rooms}
