"""How events enter rooms, many at a time.

Each process has one intake with one connection to write on. While a batch is being committed,
submissions wait; then they go out together, in one call. With nothing under way a submission goes
at once. An answer is given after its commit, never before.

Nobody holds a lock while a batch is put together: the commit only succeeds for rooms whose head is
the one that was built upon. A room whose head had moved is claimed before it is tried again, and
for some batches more, so that nobody is overtaken twice and little is built in vain.

Gather, judge, write: https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from federation.building import Signer
from federation.decision import Denied
from federation.events import Event, StateKey
from federation.identifiers import EventID, RoomID
from federation.room_versions import RoomVersion
from homeserver.rooms import redacting, vanishing
from homeserver.rooms.drafting import Submission, Work, Written
from homeserver.rooms.heads import Head, Heads
from homeserver.rooms.interning import Nids, intern
from homeserver.rooms.rows import RoomRows
from homeserver.storage import sticky
from homeserver.storage.batch import AlreadyKnownError, Batch, append, logged
from homeserver.storage.clearings import note_clearings
from homeserver.storage.events import claim_rooms, get_sent, release_rooms
from homeserver.storage.log import Entry
from homeserver.storage.numbers import Numbers, RoomNid
from homeserver.storage.pool import OUTAGES, Connection
from homeserver.storage.received import by_ids
from homeserver.storage.recent_events import RecentEvents
from homeserver.storage.state_groups import EventNid
from homeserver.storage.states import States

MOST_IN_BATCH = 100
"""Submissions that are committed together."""

_CONTENDED_BATCHES = 20
_MOST_FAILURES = 3
"""Tries after which somebody is told that it does not work, whatever the reason is."""
_PATIENCE = 100
"""Milliseconds that a batch waits for a room that somebody else has, before it goes without it."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The device sent this before, and that is what came of it."""

    event_id: EventID


@dataclass(frozen=True, slots=True)
class _Policed:
    """Another server has to be asked first; nobody waits for that here."""


Answer = Written | Repeated | Denied


@dataclass(slots=True, eq=False)
class _Waiting:
    """A submission in the queue."""

    room_id: RoomID
    submission: Submission
    answer: asyncio.Future[Answer | _Policed]
    failures: int = 0
    """How many times it was in a batch that could not be written."""
    is_suspect: bool = False
    """Whether it may have been sent before."""

    def settle(self, answer: Answer | _Policed | Exception) -> None:
        if self.answer.done():
            return  # whoever asked has gone
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


@dataclass(slots=True)
class _Room:
    """A room of the batch that is being put together."""

    work: Work
    waiting: list[_Waiting]
    written: list[tuple[_Waiting, Written]] = field(default_factory=list)
    refused: list[tuple[_Waiting, Denied]] = field(default_factory=list)
    policed: list[_Waiting] = field(default_factory=list)
    """What a policy server has to be asked about."""

    @property
    def changes_nothing(self) -> bool:
        """Whether no commit will tell if the head was of the present."""
        return not self.work.made


@dataclass(frozen=True, slots=True)
class Means:
    """What an intake works with."""

    numbers: Numbers
    states: States
    heads: Heads
    signer: Signer
    hash_key: bytes
    """Of the installation, for the digests of states."""
    now: Callable[[], int]
    """Milliseconds since the epoch."""
    opaque_ids: Iterator[str]
    """Endless and random."""
    committed: Callable[[int], None] = lambda _: None
    """Told of each position that was written, before anybody gets an answer: who was answered
    must find what they did."""
    wrote: Callable[[Sequence[Entry]], None] = lambda _: None
    """Told the same by rows of the log, where they are at hand."""
    recent: RecentEvents = field(default_factory=RecentEvents)
    """Told before of the events themselves."""
    clearing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody was put out whose events are to be redacted."""
    keep_redacted: int = 0
    """Milliseconds for which moderators may read what was redacted."""
    lets_vanish: bool = False
    """Whether messages may say when they vanish."""

    @property
    def until(self) -> int | None:
        """How long something is kept that is redacted now, if it is."""
        return self.now() + self.keep_redacted if self.keep_redacted else None


class Intake:
    """The one way into a room. `run` has to run for `submit` to be answered."""

    _conn: Connection
    """Of the current run; its own."""
    _is_written = False
    """Whether the batch that is under way may be on the disk."""

    def __init__(self, means: Means) -> None:
        self.policed: Callable[[RoomID, Submission], Awaitable[Answer]] | None = None
        """Lets things happen in rooms with a policy server."""
        self._means = means
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._contended: dict[RoomNid, int] = {}
        """Rooms that others write to as well, and for how many batches they are still claimed."""

    async def submit(self, room_id: RoomID, submission: Submission) -> Answer:
        """Let it happen, whole or not at all; the answer comes when it is on the disk.

        Raises:
            FederationError: the content has no canonical form, or the event is too large.

        """
        answer: asyncio.Future[Answer | _Policed] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(room_id, submission, answer))
        self._filled.set()
        found = await answer
        if not isinstance(found, _Policed):
            return found
        return await self.policed(room_id, submission) if self.policed else _UNASKED

    async def run(self, conn: Connection) -> None:
        """Write batch after batch over this connection, which nobody else uses, until it fails.

        Whoever waits in the queue then waits for the next run; only those of a batch that was
        being written are told, as nobody knows what became of it.
        """
        self._conn = conn
        while True:
            await self._filled.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_IN_BATCH))]
            if not self._queue:
                self._filled.clear()
            try:
                await self._write(batch)
            except BaseException as error:
                self._fail(batch, error)
                raise

    def _fail(self, batch: Sequence[_Waiting], error: BaseException) -> None:
        """Let the next run try what cannot happen twice; tell the others that it failed."""
        queued = set(self._queue)
        again = [w for w in batch if w not in queued and self._may_repeat(w, error)]
        self._try_again(again)
        for waiting in batch:
            if waiting not in queued and waiting not in again and not waiting.answer.done():
                waiting.answer.set_exception(error)

    def _may_repeat(self, waiting: _Waiting, error: BaseException) -> bool:
        """Whether trying again is safe, whatever became of the batch."""
        waiting.failures += 1
        if not isinstance(error, OUTAGES) or waiting.failures > _MOST_FAILURES:
            return False
        submission = waiting.submission
        # The same state again is no event, and a transaction ID is used once.
        is_known = submission.once or all(d.state_key is not None for d in submission.drafts)
        return not self._is_written or (submission.created is None and bool(is_known))

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        self._is_written = False
        numbers = await self._find_rooms(batch)
        contended = self._contended.keys() & numbers.values()
        if contended and not await self._claim(contended):
            batch = self._put_off(batch, {n for n, room in numbers.items() if room in contended})
        try:
            rooms = await self._gather(await self._without_repeats(batch), numbers)
            self._judge(rooms.values())
            self._suspect(rooms.values())
            await self._settle_unchanged(rooms)
            await self._commit([room for room in rooms.values() if not room.changes_nothing])
        finally:
            if contended:
                await release_rooms(self._conn)

    def _put_off(self, batch: Sequence[_Waiting], rooms: Collection[str]) -> list[_Waiting]:
        """What can be done without some rooms; the rest comes after all others."""
        self._queue.extend(waiting for waiting in batch if waiting.room_id in rooms)
        self._filled.set()
        return [waiting for waiting in batch if waiting.room_id not in rooms]

    async def _claim(self, rooms: Collection[RoomNid]) -> bool:
        """Be the next to write to these rooms, and know what they are by then."""
        if not await claim_rooms(self._conn, rooms, _PATIENCE):
            return False
        overtaken = await self._means.heads.drop_old(self._conn, rooms)
        for room in rooms:
            self._contended[room] -= 1
            if room in overtaken:
                self._contended[room] = _CONTENDED_BATCHES
            elif not self._contended[room]:
                del self._contended[room]
        return True

    async def _find_rooms(self, batch: Sequence[_Waiting]) -> dict[str, RoomNid]:
        new = [w.room_id for w in batch if w.submission.created]
        known = [w.room_id for w in batch if not w.submission.created]
        names = self._means.numbers.rooms
        return await names.intern(self._conn, new) | await names.find(self._conn, known)

    async def _without_repeats(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Answer what was sent before; of what is in the batch twice, keep one for later.

        Hardly anything was: it is looked for only where there is a suspicion.
        """
        onces = {once for w in batch if w.is_suspect and (once := w.submission.once)}
        sent = await get_sent(self._conn, onces) if onces else {}
        kept, later, seen = [], [], set()
        for waiting in batch:
            once = waiting.submission.once
            if once is None:
                kept.append(waiting)
            elif once in sent:
                waiting.settle(Repeated(sent[once]))
            elif once in seen:
                later.append(waiting)
            else:
                seen.add(once)
                kept.append(waiting)
        self._look_up(later)
        return kept

    async def _gather(
        self, batch: Sequence[_Waiting], numbers: Mapping[str, RoomNid]
    ) -> dict[RoomNid, _Room]:
        """The heads that the batch builds on, with all that judging it needs."""
        by_room: dict[RoomNid, list[_Waiting]] = {}
        for waiting in batch:
            nid = numbers.get(waiting.room_id)
            if nid is None:
                waiting.settle(_UNKNOWN_ROOM)
            else:
                by_room.setdefault(nid, []).append(waiting)
        heads = await self._means.heads.get(self._conn, dict.fromkeys(by_room, ()))
        versions = {room: _version(heads[room], waiting) for room, waiting in by_room.items()}
        needs: dict[RoomNid, set[StateKey]] = {}
        for room, version in versions.items():
            if version is None:
                _settle_all(by_room[room], _UNKNOWN_ROOM)
            else:
                needs[room] = set().union(*(w.submission.needs(version) for w in by_room[room]))
        heads = await self._means.heads.get(self._conn, needs)
        return {room: self._room(heads[room], by_room[room]) for room in needs}

    def _room(self, head: Head, waiting: list[_Waiting]) -> _Room:
        version = _version(head, waiting)
        if version is None:
            raise ValueError("a room without a version was gathered")
        means = self._means
        work = Work(head, version, means.signer, means.now(), means.opaque_ids)
        return _Room(work, waiting)

    def _judge(self, rooms: Iterable[_Room]) -> None:
        for room in rooms:
            for waiting in room.waiting:
                if room.work.is_policed(waiting.submission):
                    room.policed.append(waiting)
                    continue
                try:
                    found = room.work.add(waiting.submission)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is nobody else's
                    waiting.settle(error)
                    continue
                if isinstance(found, Denied):
                    room.refused.append((waiting, found))
                else:
                    room.written.append((waiting, found))

    def _suspect(self, rooms: Iterable[_Room]) -> None:
        """Look whether what does not pass was sent before: then it did, and that is the answer."""
        again = []
        for room in rooms:
            unwritten = [*room.policed, *(waiting for waiting, _ in room.refused)]
            unsure = [w for w in unwritten if w.submission.once and not w.is_suspect]
            room.policed = [w for w in room.policed if w not in unsure]
            room.refused = [(w, denied) for w, denied in room.refused if w not in unsure]
            for waiting in room.policed:
                waiting.settle(_Policed())
            again += unsure
        self._look_up(again)

    def _doubt(self, waiting: Iterable[_Waiting]) -> None:
        """Something of a batch is known already: of what came from elsewhere others see what."""
        own = []
        for one in waiting:
            if one.submission.unheard:
                one.settle(_KNOWN)
            else:
                own.append(one)
        self._look_up(own)

    def _look_up(self, waiting: Sequence[_Waiting]) -> None:
        """Try again, and see first whether it was sent before."""
        for one in waiting:
            one.is_suspect = True
        self._try_again(waiting)

    async def _settle_unchanged(self, rooms: Mapping[RoomNid, _Room]) -> None:
        """Refuse what was refused, and answer what is as it was, unless the head was too old.

        Where something is written the commit itself tells whether the head still was the room's; a
        refusal must not come from the past either.
        """
        unsure = [nid for nid, room in rooms.items() if room.refused or room.changes_nothing]
        old = await self._means.heads.drop_old(self._conn, unsure) if unsure else set()
        for nid in unsure:
            room = rooms[nid]
            if nid in old:
                self._try_again(room.waiting)
                room.work.made.clear()
                continue
            for waiting, denied in room.refused:
                waiting.settle(denied)
            if room.changes_nothing:
                _settle_written(room)

    async def _commit(self, rooms: Sequence[_Room]) -> None:
        if not rooms:
            return
        batch, heads, new = await self._rows(rooms)
        self._is_written = True
        if batch.sticky:
            await sticky.note(self._conn, batch.sticky)
        await note_clearings(self._conn, batch, self._means.now())
        try:
            positions = await append(self._conn, batch)
        except AlreadyKnownError:
            self._doubt([waiting for room in rooms for waiting, _ in room.written])
            return
        self._means.numbers.events.note({i: n for i, n in new.items() if n in positions})
        if positions:
            self._tell(batch, positions, heads, new, [e for room in rooms for e in room.work.made])
        if batch.clearings:
            self._means.clearing.set()
        for room, head in zip(rooms, heads, strict=True):
            if head.tips[-1].nid in positions:
                self._means.heads.put(head)
                _settle_written(room)
            else:
                self._means.heads.drop(head.room)
                self._contended[head.room] = _CONTENDED_BATCHES
                self._try_again([waiting for waiting, _ in room.written])

    def _tell(
        self,
        batch: Batch,
        positions: Mapping[EventNid, int],
        heads: Sequence[Head],
        new: Mapping[str, EventNid],
        made: Iterable[Event],
    ) -> None:
        """Tell everybody on this host what was written."""
        events = {new[event.event_id]: event for event in made if event.event_id in new}
        lifetimes = {head.room: head.lifetime for head in heads}
        self._means.recent.wrote(batch, positions, events, lifetimes)
        self._means.wrote(logged(batch, positions))

    async def _rows(
        self, rooms: Sequence[_Room]
    ) -> tuple[Batch, list[Head], Mapping[str, EventNid]]:
        made = [event for room in rooms for event in room.work.made]
        nids = await self._intern(rooms, made)
        most = sum(event.is_state for event in made)
        groups = iter(await self._means.states.number(self._conn, most) if most else [])
        batch, means = Batch(), self._means
        named = redacting.targets_of(made)
        targets = await by_ids(self._conn, named) if named else {}
        heads = [
            RoomRows(batch, room.work, nids, groups, means.hash_key, means.until).fill(
                (written for _, written in room.written), targets
            )
            for room in rooms
        ]
        if means.lets_vanish:
            batch.vanishing += vanishing.rows(
                {nids.events[event.event_id]: event for event in made}
            )
        return batch, heads, nids.new

    async def _intern(self, rooms: Sequence[_Room], events: Sequence[Event]) -> Nids:
        """The numbers of all that the events name; what is made here is new to everybody."""
        written = [waiting for room in rooms for waiting, _ in room.written]
        received = {e.event_id for one in written for e in one.submission.received}
        for one in written:
            received -= one.submission.unheard
        made = [e.event_id for e in events if e.event_id not in received]
        numbers = self._means.numbers
        return await intern(self._conn, numbers, events, made=made, are_new=True)

    def _try_again(self, waiting: Sequence[_Waiting]) -> None:
        """Put submissions back to where they came from, before all others."""
        self._queue.extendleft(one for one in reversed(waiting) if not one.answer.done())
        if self._queue:
            self._filled.set()


_UNASKED = Denied("policy_server.missing", "nobody here can ask the policy server of the room")
_KNOWN = Denied("received.known", "one of the events may be known already")
_UNKNOWN_ROOM = Denied("room.unknown", "there is no such room here")


def _version(head: Head, waiting: Iterable[_Waiting]) -> RoomVersion | None:
    created = (w.submission.created for w in waiting)
    return head.version or next((event.version for event in created if event), None)


def _settle_all(waiting: Iterable[_Waiting], answer: Answer) -> None:
    for one in waiting:
        one.settle(answer)


def _settle_written(room: _Room) -> None:
    for waiting, written in room.written:
        waiting.settle(written)
