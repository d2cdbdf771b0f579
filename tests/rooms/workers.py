"""Processes of one server, as far as rooms are concerned: each an intake with its own memory."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from federation.building import Draft, Place, build
from federation.identifiers import RoomID, UserID
from federation.room_versions import V12, RoomVersion
from homeserver.rooms.create import NewRoom, Preset, create_event, first_events
from homeserver.rooms.drafting import Submission, Written
from homeserver.rooms.heads import Heads
from homeserver.rooms.intake import Answer, Intake, Means
from homeserver.storage.clock import Clock, read_position
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.log import Entry
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Database
from homeserver.storage.states import States
from homeserver.storage.tail import RecentLog
from tests.federation.rooms import ANN, signer

SIGNER = signer("one.test")
_times = itertools.count(1_700_000_000_000)


@dataclass(frozen=True)
class Worker:
    """One process. All users are of one server, whoever they are."""

    intake: Intake
    heads: Heads
    log: RecentLog
    """As this process knows it."""
    clock: Clock

    async def create(self, version: RoomVersion = V12, **wanted: Any) -> RoomID:
        """A public room of Ann's, unless told otherwise."""
        new = NewRoom(ANN, version, **{"preset": Preset.PUBLIC, **wanted})
        room_id = None if version.room_id_is_create_id else RoomID(f"!{next(_times)}:one.test")
        draft = create_event(new, room_id)
        created = build(draft, Place(), version, SIGNER, now=next(_times), opaque_id="create")
        drafts = first_events(new, created.room_id)
        answer = await self.intake.submit(created.room_id, Submission(drafts, created))
        assert isinstance(answer, Written), answer
        return created.room_id

    async def send(
        self,
        room_id: RoomID,
        kind: str,
        content: Mapping[str, Any],
        *,
        sender: UserID = ANN,
        state_key: str | None = None,
        once: tuple[int, bytes] | None = None,
    ) -> Answer:
        draft = Draft(kind, sender, content, state_key, room_id)
        return await self.intake.submit(room_id, Submission([draft], once=once))

    async def say(self, room_id: RoomID, text: str, **more: Any) -> Answer:
        return await self.send(room_id, "m.room.message", {"body": text}, **more)

    async def member(
        self, room_id: RoomID, user: UserID, membership: str, by: UserID | None = None
    ) -> Answer:
        content = {"membership": membership}
        return await self.send(room_id, "m.room.member", content, sender=by or user, state_key=user)


@asynccontextmanager
async def worker(database: Database) -> AsyncIterator[Worker]:
    """A process, for as long as it is used."""
    conn = await database.connect(lock_timeout="5s")
    numbers, states = Numbers(), States()
    heads = Heads(numbers, states)
    opaque_ids = (f"e{number}" for number in _times)
    clock = Clock(SharedPositions(1), 0)
    log = RecentLog(database, clock, await read_position(conn))

    def wrote(entries: Sequence[Entry]) -> None:
        log.note(entries)
        clock.advance(entries[-1].pos)

    means = Means(
        numbers,
        states,
        heads,
        SIGNER,
        b"key",
        lambda: next(_times),
        opaque_ids,
        wrote=wrote,
        recent=log.recent,
    )
    intake = Intake(means)
    running = asyncio.create_task(intake.run(conn))
    try:
        yield Worker(intake, heads, log, clock)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await conn.close()
