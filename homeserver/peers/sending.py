"""Sending to other servers: what waits for each goes out in order, a transaction at a time.

One process at a time has this duty. It reads the log, puts what others must know into their
queues, and keeps a task for each server for which something waits and that is not left alone.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from federation.errors import FederationError, HttpError
from federation.identifiers import ServerName, domain_of, is_user_id
from federation.net.target import encode_target
from federation.net.transport import Limits
from homeserver.config.settings import Federation
from homeserver.ending import Errands, end
from homeserver.logs import get_logger
from homeserver.peers.company import Company
from homeserver.peers.pauses import Pace, Pauses
from homeserver.peers.peers import Peers
from homeserver.peers.queues import Queues
from homeserver.peers.sizes import Sizes
from homeserver.storage import destinations, outgoing, sticky
from homeserver.storage.bus import Bus, Message
from homeserver.storage.destinations import LocalEvent, News, Standing, Transaction
from homeserver.storage.holding import Duty, Lost
from homeserver.storage.log import MOST_AT_ONCE, Entry, Kind
from homeserver.storage.numbers import RoomNid, ServerNid
from homeserver.storage.outgoing import QueuedEvent, Waiting
from homeserver.storage.pool import DatabaseError
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid

log = get_logger(__name__)

DUTY = "send to other servers"
MOST_EVENTS = 50
MOST_EDUS = 100
"""In one transaction: "A transaction [...] limited to 50 PDUs and 100 EDUs"."""
_LARGE = 500_000
"""Bytes of EDUs after which a transaction has enough of them, where none was too large before."""
_READ = 500
_HEARD_AGAIN = 5.0
"""Seconds in which one sign of life of a server is enough."""
_MOST_HEARD = 10_000
_LONG_QUEUE = 1000
"""Events beyond which a server that did not answer gets each room's newest only."""
_AWAY = 3_600_000
"""Milliseconds of a pause from which on nothing is queued for a server: when it is tried again, it
gets each room's newest event."""
_MOST_EDUS_WAITING = 1000
"""Of one kind for one server, beyond which the oldest are lost; devices make new sessions."""
_MOST_BYTES_WAITING = 8_000_000
_TOLD_OFTEN = 16
"""Times that EDUs are queued for a server, after which it is seen whether they are too many."""
ANSWERS = "server answers"
"""Of the message that a server which was away takes what it is sent."""
BACK = "server back"
"""Of the message that a server which was left alone shows life."""
_SILENT = "server silent"
"""Of the message that a server did not answer: a sign of life from before says nothing more."""
_MOST_TRIES = 7
"""To bring what sticks to a server that does not take it, in some two minutes."""
_LIMITS = Limits(total=60.0)


class _Made(NamedTuple):
    """A transaction that is to be sent."""

    transaction: Transaction
    is_more: bool
    """Whether there may be more to send."""
    events: Sequence[EventNid] = ()
    """Those in it, while that is known."""


class Sending:
    """Has the duty, or waits for it. `run` has to run.

    Args:
        process: the one that this is part of.
        peers: for asking.
        settings: the section `federation`.
        bus: on which others say what is worth telling now or never.

    """

    def __init__(self, process: Process, peers: Peers, settings: Federation, bus: Bus) -> None:
        self._process = process
        self._peers = peers
        self._settings = settings
        self._duty = Duty(process, DUTY, begin=0)
        self._tasks: dict[ServerNid, asyncio.Task[None]] = {}
        self._more: dict[ServerNid, asyncio.Event] = {}
        self._pauses = Pauses(process)
        self._pace = Pace()
        self._company = self._nobody_known()
        self._queues = Queues()
        self._sizes = Sizes(MOST_EVENTS)
        self._answering: dict[ServerNid, ServerName] = {}
        """Who took what was sent last, while this duty is ours."""
        self._away: set[ServerNid] = set()
        """For whom nothing is queued, because they have not answered for long."""
        self._barred: set[ServerNid] = set()
        """With whom the settings say not to deal."""
        self._queueing = asyncio.Lock()
        """Whoever has it decides for whom what comes next in the log is queued."""
        self._passing: dict[ServerName, deque[dict[str, Any]]] = {}
        """EDUs that are told now or never; the newest."""
        self._heard: dict[ServerName, float] = {}
        self._tries: dict[tuple[ServerNid, EventNid], int] = {}
        """How often something that sticks was brought in vain."""
        self._told: Counter[ServerNid] = Counter()
        """How often EDUs were queued since it was seen whether they are too many."""
        self._later_tasks: set[asyncio.Task[None]] = set()
        self._errands = Errands(DatabaseError)
        self._is_mine = False
        self._bus = bus
        bus.hear("edu", self._hear)
        bus.hear(BACK, self._hear_back)
        bus.hear(_SILENT, self._hear_silence)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.run(self._work)

    def heard_from(self, server: ServerName) -> None:
        """A server that may have been left alone is back."""
        now = asyncio.get_running_loop().time()
        if now < self._heard.get(server, 0.0) + _HEARD_AGAIN:
            return
        if len(self._heard) > _MOST_HEARD:
            self._heard.clear()
        self._heard[server] = now
        self._errands.run(self._welcome(server))

    async def _work(self) -> None:
        self._is_mine = True
        # What was learnt while the duty was ours before may not be true any more.
        self._company = self._nobody_known()
        self._queues.clear()
        self._answering.clear()
        watching = asyncio.create_task(self._pauses.watch())
        try:
            async with self._process.database.reader() as conn:
                waiting = await outgoing.waiting_servers(conn)
                self._away = set(await destinations.away(conn))
            await self._wake({*waiting, *self._away})
            while True:
                await self._read_on()
                await self._process.clock.wait_beyond(self._duty.pos)
        finally:
            self._is_mine = False
            await end(watching)
            await self._end()

    async def _read_on(self) -> None:
        """Put what the log has in store into queues."""
        target, duty = self._process.clock.position, self._duty
        while duty.pos < target:
            rows = await self._process.tail.log.after(duty.pos)
            reached = rows[-1].pos if len(rows) == MOST_AT_ONCE else target
            await self._meet(self._company.strange(rows))
            if self._company.may_concern(rows):
                await self._queue(reached, self._recall(rows, reached))
                while duty.pos < reached:
                    await self._queue(reached)
            duty.pos = reached

    def _nobody_known(self) -> Company:
        return Company(self._process.server, self._process.tail.log.recent)

    async def _meet(self, rooms: Collection[RoomNid]) -> None:
        """Know who is in these rooms."""
        if rooms:
            async with self._process.database.reader() as conn:
                await self._company.servers_of(conn, rooms, await self._me_as_server(conn))

    def _recall(self, rows: Sequence[Entry], reached: int) -> News | None:
        """What is in rows of the log for others, if this process wrote all their events."""
        recent = self._process.tail.log.recent
        told = [ServerNid(row.item or 0) for row in rows if row.kind == Kind.OUTGOING]
        events = []
        for row in rows:
            if row.kind == Kind.EVENT:
                one = recent.get(EventNid(row.item or 0))
                if one is None:
                    return None
                event = one.placed.event
                member = event.state_key if event.type == "m.room.member" else None
                events.append(
                    LocalEvent(row.pos, one.placed.room, one.placed.nid, event.json, member)
                )
        return News(events, told, reached)

    async def _queue(self, target: int, news: News | None = None) -> None:
        """Queue what others must know of the next stretch of the log; `news`, if it is known."""
        duty = self._duty
        async with self._queueing, self._process.database.reader() as conn:
            if news is None:
                me = await self._me_as_server(conn)
                news = await destinations.news(conn, duty.pos, target, _READ, me)
            rows = await self._addressed(conn, news.events)
            await self._bring(conn, news.events)
            queued = [(server, e.pos, e.room, e.event) for e, server in rows]
            at_once = self._note_queued(rows, news.told)
            # They are told while it is written down: should that fail, they are told again.
            await self._wake(at_once)
            # Where nothing was found there is nothing to find again: that need not be noted.
            if queued and not await outgoing.queue_events(
                conn, queued, DUTY, duty.holder, news.reached
            ):
                raise Lost
            duty.pos = news.reached
            await self._shorten(conn, news.told)
        await self._wake(({server for _, server in rows} | set(news.told)) - at_once)

    def _note_queued(
        self, rows: Collection[tuple[LocalEvent, ServerNid]], told: Iterable[ServerNid]
    ) -> set[ServerNid]:
        """Events are put into queues; for which servers it is known what waits then."""
        for server in told:
            self._queues.doubt(server)
        for event, server in rows:
            self._queues.add(server, QueuedEvent(event.pos, event.event, event.json))
        return {server for _, server in rows if self._queues.waiting(server) is not None}

    async def _shorten(self, conn: Any, told: Collection[ServerNid]) -> None:
        """Let no server's EDUs become too many, whether it is away or slow."""
        self._told.update(told)
        often = [server for server in set(told) if self._told[server] >= _TOLD_OFTEN]
        if often:
            await outgoing.shorten(conn, often, _MOST_EDUS_WAITING, _MOST_BYTES_WAITING)
        for server in often:
            del self._told[server]

    async def _me_as_server(self, conn: Any) -> ServerNid:
        name = self._process.server
        return (await self._process.numbers.servers.intern(conn, [name]))[name]

    async def _addressed(
        self, conn: Any, events: Iterable[LocalEvent]
    ) -> list[tuple[LocalEvent, ServerNid]]:
        """Each event of ours with each server that is to have it."""
        ours = [event for event in events if self._is_ours(event)]
        if not ours:
            return []
        me = await self._me_as_server(conn)
        in_rooms = await self._company.servers_of(conn, {event.room for event in ours}, me)
        # Whose membership it is, their server is told, in the room or not any more.
        members = {event.member for event in ours if event.member and is_user_id(event.member)}
        named = {domain_of(member) for member in members}
        nids = await self._process.numbers.servers.intern(conn, named)
        # No rule says that a membership's key must be a user's ID.
        homes = {e: nids[domain_of(e.member)] for e in ours if e.member and e.member in members}
        elsewhere = [event for event, home in homes.items() if home not in in_rooms[event.room]]
        lifted = await self._lifted(conn, elsewhere)
        found = []
        for event in ours:
            servers = set(in_rooms[event.room] - self._away)
            # Invitations go their own way.
            if event in homes and not _says(event, "invite") and event not in lifted:
                servers.add(homes[event])
            found += [(event, server) for server in sorted(servers - self._barred - {me})]
        return found

    async def _lifted(self, conn: Any, members: Iterable[LocalEvent]) -> set[LocalEvent]:
        """Those that lift the ban of somebody whose server is not there: it ends nothing for them.

        Their server could take it for the end of an invitation that comes right after.
        """
        events = {(event.room, event.pos): event for event in members if _says(event, "leave")}
        before = await sticky.entered(conn, events) if events else []
        return {events[one.room, one.pos] for one in before if _membership(one.before) == "ban"}

    async def _bring(self, conn: Any, events: Iterable[LocalEvent]) -> None:
        """Whose user came into a room, that server is told what of ours sticks there.

        "When a new server joins the room, existing servers MUST attempt to push all of their own
        sticky events." A server that has them already knows them by their IDs.
        """
        joins = [event for event in events if self._is_join_of_others(event)]
        if not joins:
            return
        ours = await sticky.ours(conn, {event.room for event in joins}, self._process.now())
        joins = [event for event in joins if event.room in ours]
        if not joins:
            return
        before = await sticky.entered(conn, [(event.room, event.pos) for event in joins])
        stayed = {(one.room, one.pos) for one in before if _membership(one.before) == "join"}
        new = [event for event in joins if (event.room, event.pos) not in stayed]
        names = {event.pos: domain_of(str(event.member)) for event in new}
        nids = await self._process.numbers.servers.intern(conn, set(names.values()))
        rows = {(nids[names[e.pos]], e.room, told) for e in new for told in ours[e.room]}
        pos = await outgoing.queue_again(conn, sorted(rows))
        if pos is not None:
            self._process.committed(pos)

    def _is_join_of_others(self, event: LocalEvent) -> bool:
        if event.member is None or domain_of(event.member) == self._process.server:
            return False
        return _says(event, "join")

    def _is_ours(self, event: LocalEvent) -> bool:
        """What people here did, and joins that came through us: others would not know of them."""
        fields = orjson.loads(event.json)
        if domain_of(fields["sender"]) == self._process.server:
            return True
        signatures = fields.get("signatures", {})
        return event.member is not None and self._process.server in signatures

    async def _wake(self, servers: Collection[ServerNid]) -> None:
        """Have something sent to these servers; those that are known to answer come first."""
        for server in servers:
            self._more.setdefault(server, asyncio.Event()).set()
        idle = [server for server in servers if not self._is_served(server)]
        found = {server: self._answering[server] for server in idle if server in self._answering}
        standings = {s: (name, Standing(was_tried=True)) for s, name in found.items()}
        strange = [server for server in idle if server not in standings]
        if strange:
            async with self._process.database.reader() as conn:
                standings |= await destinations.look_up(conn, strange)
        proven = {server for server, one in standings.items() if self._is_proven(*one)}
        for server in sorted(standings, key=lambda server: server not in proven):
            if not self._is_served(server):
                work = self._serve(server, *standings[server], is_proven=server in proven)
                self._tasks[server] = asyncio.create_task(_unless_lost(work))

    def _is_served(self, server: ServerNid) -> bool:
        task = self._tasks.get(server)
        return task is not None and not task.done()

    def _is_proven(self, name: ServerName, standing: Standing) -> bool:
        """Whether a server has answered what it was asked last."""
        answers = standing.was_tried or self._peers.client.has_answered(name)
        return answers and not standing.pause

    async def _serve(
        self, server: ServerNid, name: ServerName, standing: Standing, *, is_proven: bool
    ) -> None:
        """Send to one server until nothing waits for it."""
        if not self._peers.is_allowed(name):
            self._barred.add(server)
            async with self._process.database.reader() as conn:
                await outgoing.forget(conn, server)
            return
        wait = standing.retry_ts - self._process.now()
        while True:
            if wait > 0:
                is_proven = await self._pauses.leave_alone(server, wait / 1000)
                # What was to be told now or never is not worth telling any more.
                self._passing.pop(name, None)
                # Nor is what was taken back meanwhile: see what is left of the transaction.
                async with self._process.database.reader() as conn:
                    standing = await destinations.find(conn, server)
            if not is_proven:
                await self._pace.turn()
            self._more[server].clear()
            made = await self._next(server, name, standing)
            try:
                if made is not None:
                    await self._send(server, name, made)
            except FederationError as error:
                wait, standing = await self._failed(server, name, error, made)
                continue
            wait, standing, is_proven = 0, Standing(), True
            if not (made and made.is_more) and not self._more[server].is_set():
                # What is being queued at the moment has not been seen by whoever sends.
                if not self._queueing.locked():
                    self._queues.note_empty(server)
                return

    async def _next(self, server: ServerNid, name: ServerName, standing: Standing) -> _Made | None:
        """The next transaction, if anything waits."""
        if standing.transaction is not None:
            return _Made(standing.transaction, is_more=True)
        was_away = server in self._away
        if was_away:
            await self._catch_up(server)
        async with self._process.database.perhaps() as conn:
            if standing.pause:
                await outgoing.keep_newest(conn, server, _LONG_QUEUE, self._process.now())
            asks = was_away and await destinations.shares_room(conn, server)
            return await self._make(conn, server, name, even_empty=asks)

    async def _send(self, server: ServerNid, name: ServerName, made: _Made) -> None:
        """Send one transaction."""
        transaction = made.transaction
        target = encode_target("_matrix", "federation", "v1", "send", transaction.txn_id)
        answer = await self._peers.client.put_json(
            name, target, orjson.loads(transaction.content), limits=_LIMITS
        )
        if len(self._answering) > _MOST_HEARD:
            self._answering.clear()
        self._answering[server] = name
        self._queues.note_sent(server, transaction.last_pos)
        taken = self._note(answer)
        async with self._process.database.reader() as conn:
            lacks_devices = await destinations.finish(conn, server, transaction)
            if len(taken) < len(made.events):
                await self._bring_again(conn, server, made.events, taken)
        if lacks_devices:
            self._bus.tell(ANSWERS, {})

    async def _catch_up(self, server: ServerNid) -> None:
        """Queue each room's newest event for a server for which nothing was queued for long.

        What is between, it fetches when it has that.
        """
        async with self._queueing, self._process.database.reader() as conn:
            now, ours = self._process.now(), self._process.server
            duty = self._duty
            if not await outgoing.catch_up(conn, server, duty.pos, ours, now, DUTY, duty.holder):
                raise Lost
            self._away.discard(server)
            await outgoing.keep_newest(conn, server, 0, now)

    async def _make(
        self, conn: Any, server: ServerNid, name: ServerName, *, even_empty: bool
    ) -> _Made | None:
        """Put a transaction together; an empty one shows whether a server that was away answers.

        It is kept only should it not arrive. If this process ends before, what is in it is sent in
        another one, and whoever has it already knows it by its ID.
        """
        most = self._sizes.of(server)
        events, edus = await self._waiting(conn, server, most)
        passing = self._passing.pop(name, ())
        if not events and not edus and not passing and not even_empty:
            return None
        body = {
            "origin": self._process.server,
            "origin_server_ts": self._process.now(),
            "pdus": [orjson.Fragment(event.json) for event in events],
            "edus": [
                *({"edu_type": e.type, "content": orjson.Fragment(e.content)} for e in edus),
                *passing,
            ],
        }
        transaction = Transaction(
            secrets.token_urlsafe(15),
            orjson.dumps(body),
            events[-1].pos if events else None,
            [edu.edu for edu in edus],
        )
        is_large = len(edus) == most or sum(len(e.content) for e in edus) >= _large(most)
        is_more = len(events) == most or is_large
        return _Made(transaction, is_more, [event.event for event in events])

    async def _waiting(self, conn: Any, server: ServerNid, most: int) -> Waiting:
        """The first of what waits for a server."""
        known = self._queues.waiting(server)
        if known is not None:
            return Waiting(list(known[:most]), [])
        return await outgoing.waiting(conn, server, most, most, _large(most))

    async def _failed(
        self, server: ServerNid, name: ServerName, error: FederationError, made: _Made | None
    ) -> tuple[int, Standing]:
        """Leave the server alone for longer than last time; for how many milliseconds."""
        self._pauses.begin(server)
        self._answering.pop(server, None)
        self._queues.doubt(server)
        least = self._settings.retry_minimum.milliseconds
        most = self._settings.retry_maximum.milliseconds
        status = error.status if isinstance(error, HttpError) else None
        async with self._queueing, self._process.database.reader() as conn:
            standing = await destinations.find(conn, server)
            pause = most if status == 410 else min(max(standing.pause * 2, least), most)
            is_away = pause >= _AWAY
            retry_ts = self._process.now() + pause
            behind = self._duty.pos if is_away else None
            transaction = made.transaction if made else None
            if transaction and status == 413 and self._sizes.halve(server, transaction.content):
                transaction = None  # what is in it still waits, and goes in smaller ones
            if not await destinations.fail(
                conn, server, pause, retry_ts, transaction, behind, DUTY, self._duty.holder
            ):
                raise Lost
            if is_away:
                self._away.add(server)
        self._bus.tell(_SILENT, {"server": name})
        log.debug("another server does not answer", server=name, reason=str(error), pause=pause)
        return pause, Standing(pause, retry_ts, transaction, was_tried=True)

    def _note(self, answer: dict[str, Any]) -> set[str]:
        """The IDs of those events that the other server took; say how many it refused."""
        pdus = answer.get("pdus")
        results = pdus if isinstance(pdus, dict) else {}
        refused = {i for i, one in results.items() if isinstance(one, dict) and one.get("error")}
        if refused:
            log.info("another server refused events of ours", count=len(refused))
        return results.keys() - refused

    async def _bring_again(
        self, conn: Any, server: ServerNid, events: Sequence[EventNid], taken: Collection[str]
    ) -> None:
        """What sticks and was not taken is brought again: a server may not be in the room yet."""
        found = await sticky.named(conn, events, self._process.now())
        left = [one for one in found if one.event_id not in taken]
        if not left:
            return
        tries = 1 + max(self._tries.get((server, one.event), 0) for one in left)
        if tries > _MOST_TRIES:
            return
        if len(self._tries) > _MOST_HEARD:
            self._tries.clear()
        self._tries |= {(server, one.event): tries for one in left}
        rows = [(server, one.room, one.event) for one in left]
        task = asyncio.create_task(self._later(rows, 2.0 ** (tries - 1)))
        self._later_tasks.add(task)
        task.add_done_callback(self._later_tasks.discard)

    async def _later(
        self, rows: Sequence[tuple[ServerNid, RoomNid, EventNid]], wait: float
    ) -> None:
        await asyncio.sleep(wait)
        async with self._process.database.reader() as conn:
            pos = await outgoing.queue_again(conn, rows)
        if pos is not None:
            self._process.committed(pos)

    async def _welcome(self, server: ServerName) -> None:
        async with self._process.database.reader() as conn:
            nids = await self._process.numbers.servers.find(conn, [server])
            if server in nids:
                standing = await destinations.find(conn, nids[server])
                if standing.pause:
                    await destinations.forgive(conn, nids[server])
                    self._bus.tell(BACK, {"server": nids[server], "pause": standing.pause})
        self._peers.keys.forgive(server)

    def _hear(self, message: Message) -> None:
        """Something is told now or never: by whoever has the duty."""
        if not self._is_mine:
            return
        edu = {"edu_type": message["type"], "content": message["content"]}
        for name in message["servers"]:
            newest = self._passing.setdefault(ServerName(name), deque(maxlen=MOST_EDUS // 2))
            newest.append(edu)
        self._errands.run(self._wake_named(message["servers"]))

    def _hear_back(self, message: Message) -> None:
        self._pauses.note_life(message["server"])

    def _hear_silence(self, message: Message) -> None:
        self._heard.pop(message["server"], None)

    async def _wake_named(self, names: list[str]) -> None:
        async with self._process.database.reader() as conn:
            nids = await self._process.numbers.servers.intern(conn, names)
        await self._wake([nid for nid in nids.values() if nid not in self._barred])

    async def _end(self) -> None:
        await end(*self._tasks.values(), *self._later_tasks)
        self._tasks.clear()


def _large(most: int) -> int:
    """Bytes of EDUs after which a transaction of so many at most has enough of them."""
    return _LARGE * most // MOST_EVENTS


async def _unless_lost(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until the duty is somebody else's: they go on with it."""
    with suppress(Lost):
        await work


def _membership(event: bytes | None) -> object:
    return None if event is None else orjson.loads(event)["content"].get("membership")


def _says(event: LocalEvent, membership: str) -> bool:
    return _membership(event.json) == membership
