"""Other servers' keys: from memory, from the store, or from whoever may know them.

A key is asked of its own server first, then of the servers that the caller names (such as the
one a room is joined through), then of the configured notaries. No failure of theirs reaches the
asker: a key that nobody tells is absent from the answer, one that expired is in it, and whether
it will do is for `federation.server_keys.is_usable` to say. Knows nothing of HTTP and SQL.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from federation.canonical_json import JsonObject
from federation.errors import FederationError, IdentifierError, KeyFormatError, KeyStoreError
from federation.identifiers import KeyID, ServerName, parse_key_id, parse_server_name
from federation.net.key_fetcher import KeyFetcher
from federation.server_keys import (
    MAX_SIGNERS,
    KeyDocument,
    KeyName,
    Keys,
    KnownKey,
    ServerKey,
    Source,
    merged,
    parse_document,
    parse_notarised,
    request_keys,
    signing_keys_of,
)
from federation.signing import VerifyKey

NOTARY_BATCH = 100
"""The most servers that one request to a notary asks for."""

DOCUMENTS_PER_SERVER = 8
"""The most documents of a notary's answer that are looked at, for each server asked for."""

PAUSE = 30_000
"""How long a server is not asked again after an answer or a first failure, in milliseconds."""

MAX_PAUSE = 15 * 60_000
"""How long it is not asked again after many failures; each one doubles the pause till then."""

DEADLINE = 30.0
"""How long an asker waits who does not say, in seconds."""

HEAD_START = 1.0
"""How long many servers are waited for, or those of whose keys somebody told already, before others
are asked for the keys of those that have not answered, in seconds."""

MANY = 10
"""Servers of which some will not answer: nobody waits for the last of them."""

_REMEMBERED_PAUSES = 20_000
_LOG = logging.getLogger(__name__)
_K = TypeVar("_K")
_V = TypeVar("_V")

_Question = tuple[ServerName, ServerName | None]
"""Who is asked for whose keys; `None`: for anybody's."""


class KeyRequest(NamedTuple):
    """One key that is wanted."""

    server: ServerName
    key_id: KeyID
    valid_until_at_least: int = 0
    """In milliseconds: an event's `origin_server_ts`, now for a request; 0: any will do."""


class KeyStore(Protocol):
    """Where keys outlive the process. That it raises `KeyStoreError` is survived."""

    async def load(self, wanted: Sequence[KeyName]) -> Iterable[KnownKey]:
        """Those of the keys that are stored."""

    async def save(self, keys: Sequence[KnownKey], documents: Sequence[KeyDocument]) -> None:
        """Replace what is stored of these keys; keep the documents for servers that ask us.

        The keys are already merged with what was stored. Documents of one server may be several,
        the newest first.
        """


class KeyRing:
    """The keys of all servers, for everybody in the process who verifies a signature.

    `server` is ours, and is never asked; `fixed` are the keys that are known beforehand: ours,
    and those that the configuration pins. `now` is the clock, in milliseconds.
    """

    def __init__(
        self,
        server: ServerName,
        *,
        fixed: Keys,
        store: KeyStore,
        fetcher: KeyFetcher,
        now: Callable[[], int],
        notaries: Sequence[ServerName] = (),
        max_keys: int = 50_000,
        max_requests: int = 20,
    ) -> None:
        self._server = server
        self._fixed = fixed
        self._store = store
        self._fetcher = fetcher
        self._now = now
        self._notaries = tuple(notaries)
        self._memory: _LRU[KeyName, KnownKey] = _LRU(max_keys)
        self._pauses = _Pauses()
        self._few = _Lane({}, asyncio.Semaphore(max_requests))
        # Of their own: many are wanted for what may take long, and hold up nobody who wants few.
        self._crowd = _Lane({}, asyncio.Semaphore(max_requests))
        # Of their own: nobody verifies anything by those keys, and anybody may wish for any.
        self._refreshing = _Lane({}, asyncio.Semaphore(max_requests))
        # Of their own: those of servers that do not answer are taken for long.
        self._to_notaries = _Lane({}, asyncio.Semaphore(max_requests))

    async def get(
        self,
        wanted: Iterable[KeyRequest],
        *,
        sources: Iterable[ServerName] = (),
        deadline: float = DEADLINE,
        beside: int = 0,
    ) -> Keys:
        """Those of the wanted keys that can be had.

        Others are waited for `deadline` seconds in all: each source, while there is one left to
        ask, half of the time that remains. `sources` are servers that may have the keys, and that
        are believed less than a notary. `beside` is how many more the asker wants by other calls:
        of many, nobody waits for the last.
        """
        others = [name for name in sources if name not in {self._server, *self._notaries}]
        asked = [(name, Source.HEARSAY) for name in others]
        asked += [(name, Source.NOTARY) for name in self._notaries]
        return await self._find(list(wanted), asked, deadline, beside)

    async def refresh(self, servers: Iterable[ServerName], *, deadline: float = DEADLINE) -> None:
        """Ask servers for their own keys, as a notary does for others; the store has them then.

        Whoever was asked just now is not asked again; that one does not answer is no error.
        However many are named here, nobody who `get`s keys waits because of them.
        """
        search = _Search({}, asyncio.get_running_loop().time() + deadline)
        others = [server for server in servers if server != self._server]
        flights = [self._to_origin(self._refreshing, server) for server in others]
        await _wait([flight for flight in flights if flight], search, is_last=True)

    def forgive(self, server: ServerName) -> None:
        """Ask the server again at once, although it failed: it is known to be back."""
        self._pauses.forget((server, server))

    async def close(self) -> None:
        """Give up all requests under way."""
        lanes = (self._few, self._crowd, self._refreshing, self._to_notaries)
        tasks = {flight.task for lane in lanes for flight in lane.flights.values()}
        for lane in lanes:
            lane.flights.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(
        self,
        wanted: Collection[KeyRequest],
        notaries: Sequence[tuple[ServerName, Source]],
        deadline: float,
        beside: int = 0,
    ) -> Keys:
        search = _Search(self._to_find(wanted), asyncio.get_running_loop().time() + deadline)
        self._recall(search)
        await self._load(search)
        await self._ask_origins(search, beside, is_last=not notaries)
        for position, (notary, source) in enumerate(notaries, start=1):
            is_last = position == len(notaries)
            await self._ask_notary(search, notary, source, is_last=is_last)
        self._recall(search)  # what came too late for its own turn
        return self._answer(wanted, search)

    def _to_find(self, wanted: Iterable[KeyRequest]) -> dict[KeyName, int]:
        """The keys that are not known beforehand, each with the latest time wanted of it."""
        found: dict[KeyName, int] = {}
        for server, key_id, valid_until in wanted:
            is_known = server == self._server or key_id in self._fixed.get(server, {})
            if not is_known and _may_exist(server, key_id):
                name = (server, key_id)
                found[name] = max(valid_until, found.get(name, valid_until))
        return found

    def _answer(self, wanted: Iterable[KeyRequest], search: "_Search") -> Keys:
        found: dict[ServerName, dict[KeyID, ServerKey]] = {}
        for server, key_id, _ in wanted:
            key = self._fixed.get(server, {}).get(key_id)
            if key is None and (known := search.found.get((server, key_id))):
                key = known.key
            if key is not None:
                found.setdefault(server, {})[key_id] = key
        return found

    # Memory and store

    def _recall(self, search: "_Search") -> None:
        for name in search.wanted:
            known = self._memory.get(name)
            if known is not None:
                search.found[name] = known

    async def _load(self, search: "_Search") -> None:
        for name, known in (await self._stored(search.open_for_origin()) or {}).items():
            held = self._memory.get(name)
            # Another process may have learnt more than we have, or less.
            if held is None or _rank(known) > _rank(held):
                self._memory.put(name, known)
                search.found[name] = known

    async def _stored(self, names: Sequence[KeyName]) -> dict[KeyName, KnownKey] | None:
        """What the store has of the keys; `None` if it is out of reach."""
        if not names:
            return {}
        try:
            return {known.name: known for known in await self._store.load(names)}
        except KeyStoreError as error:
            _LOG.debug("stored keys are out of reach", extra={"reason": str(error)})
            return None

    async def _keep(self, documents: Sequence[KeyDocument], source: Source) -> list[KnownKey]:
        """Remember what the documents tell, as far as the source is believed."""
        claims = [claim for document in documents for claim in _claims(document, source)]
        stored = await self._stored([c.name for c in claims if self._memory.get(c.name) is None])
        kept: dict[KeyName, KnownKey] = {}
        for claim in claims:
            name = claim.name
            held = kept.get(name) or self._memory.get(name) or (stored or {}).get(name)
            kept[name] = merged(held, claim, self._now())
            self._memory.put(name, kept[name])
        if kept and stored is not None:  # never write over what could not be read
            await self._save(list(kept.values()), documents)
        return list(kept.values())

    async def _save(self, keys: Sequence[KnownKey], documents: Sequence[KeyDocument]) -> None:
        try:
            await self._store.save(keys, documents)
        except KeyStoreError as error:
            _LOG.debug("keys were not stored", extra={"reason": str(error)})

    # Asking others

    async def _ask_origins(self, search: "_Search", beside: int, *, is_last: bool) -> None:
        servers = dict.fromkeys(server for server, _ in search.open_for_origin())
        lane = self._crowd if len(servers) + beside >= MANY else self._few
        flights = [flight for server in servers if (flight := self._to_origin(lane, server))]
        is_patient = len(flights) + beside < MANY and bool(search.open_for_notary())
        most = None if is_last or is_patient else _head_start(flights)
        await _wait(flights, search, is_last=is_last, most=most)

    def _to_origin(self, lane: "_Lane", server: ServerName) -> "_Flight | None":
        """The request to a server for its own keys, unless it is left in peace.

        Whoever wants few joins a request of others that is under way, and waits for none in a
        longer queue.
        """
        question = (server, server)
        flight = self._few.flights.get(question) or lane.flights.get(question)
        flight = flight or self._crowd.under_way(question)
        if flight is None and self._pauses.is_over(question, self._now()):
            return lane.launch([question], partial(self._from_origin, server, lane.slots))
        return flight

    async def _ask_notary(
        self, search: "_Search", notary: ServerName, source: Source, *, is_last: bool
    ) -> None:
        flights = set()
        fresh: list[ServerName] = []
        wanted = _by_server(search.open_for_notary(), search.wanted)
        # Its own keys it was asked for already; and checking its signature on an answer about
        # them would wait for that very answer.
        wanted.pop(notary, None)
        for server in wanted:
            flight = self._to_notaries.flights.get((notary, server))
            if flight is not None:
                flights.add(flight)
            elif self._may_query(notary, server):
                fresh.append(server)
        for start in range(0, len(fresh), NOTARY_BATCH):
            batch = {server: wanted[server] for server in fresh[start : start + NOTARY_BATCH]}
            questions = [(notary, server) for server in batch]
            query = partial(self._from_notary, notary, source, batch)
            flights.add(self._to_notaries.launch(questions, query))
        await _wait(flights, search, is_last=is_last)

    def _may_query(self, notary: ServerName, server: ServerName) -> bool:
        now = self._now()
        return self._pauses.is_over((notary, None), now) and self._pauses.is_over(
            (notary, server), now
        )

    async def _from_origin(
        self, server: ServerName, slots: asyncio.Semaphore, flight: "_Flight"
    ) -> list[KnownKey]:
        question = (server, server)
        async with slots:
            flight.is_under_way = True
            if not flight.askers:
                return []
            try:
                fields = await self._fetcher.fetch_server_keys(server)
                document = parse_document(fields, server, self._now())
            except FederationError as error:
                self._pauses.failed(question, self._now())
                _LOG.debug("a server did not tell its keys", extra=_fields(server, error))
                return []
        self._pauses.answered([question], self._now())
        return await self._keep([document], Source.ORIGIN)

    async def _from_notary(
        self,
        notary: ServerName,
        source: Source,
        wanted: Mapping[ServerName, Mapping[KeyID, int]],
        flight: "_Flight",
    ) -> list[KnownKey]:
        async with self._to_notaries.slots:
            if not flight.askers:
                return []
            try:
                answers = await self._fetcher.query_notary(notary, wanted)
            except FederationError as error:
                self._pauses.failed((notary, None), self._now())
                _LOG.debug("a notary did not answer", extra=_fields(notary, error))
                return []
        self._pauses.answered([(notary, server) for server in wanted], self._now())
        answers = answers[: DOCUMENTS_PER_SERVER * len(wanted)]
        documents = _checked(answers, notary, await self._keys_of(notary, answers), self._now())
        asked_for = [document for document in documents if document.server in wanted]
        return await self._keep(asked_for, source)

    async def _keys_of(
        self, notary: ServerName, answers: Iterable[JsonObject]
    ) -> dict[KeyID, VerifyKey]:
        """The notary's keys that it signed with."""
        now = self._now()
        named = {key_id for answer in answers for key_id in signing_keys_of(answer, notary)}
        requests = [KeyRequest(notary, key_id, now) for key_id in sorted(named)[:MAX_SIGNERS]]
        # Asked of the notary itself only, lest two notaries wait for each other's keys.
        found = await self._find(requests, [], DEADLINE)
        return request_keys(found.get(notary, {}), now)


@dataclass(slots=True, eq=False)
class _Flight:
    """One request under way, whoever waits for it."""

    task: asyncio.Task[list[KnownKey]] = field(init=False)
    askers: int = 0
    """A request that is still queued when nobody waits for it any more is not made."""
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    is_under_way: bool = False
    """Not queued any more."""


_Journey = Callable[[_Flight], Coroutine[Any, Any, list[KnownKey]]]


class _Lane(NamedTuple):
    """Requests of one kind, of which so many are under way at a time."""

    flights: dict[_Question, _Flight]
    slots: asyncio.Semaphore

    def under_way(self, question: _Question) -> _Flight | None:
        """The request, unless it is still queued."""
        flight = self.flights.get(question)
        return flight if flight and flight.is_under_way else None

    def launch(self, questions: Sequence[_Question], journey: _Journey) -> _Flight:
        """Start a request that belongs to no single asker, so that none can cancel it."""
        flight = _Flight()
        flight.task = asyncio.create_task(self._fly(questions, journey, flight))
        self.flights.update(dict.fromkeys(questions, flight))
        return flight

    async def _fly(
        self, questions: Iterable[_Question], journey: _Journey, flight: _Flight
    ) -> list[KnownKey]:
        """Be listed among the flights for as long as the journey takes."""
        try:
            return await journey(flight)
        finally:
            for question in questions:
                self.flights.pop(question, None)


class _Search:
    """The keys one asker wants, with the time they should be valid until, and those found."""

    def __init__(self, wanted: Mapping[KeyName, int], ends: float) -> None:
        self.wanted = wanted
        self.ends = ends
        """By the clock of the event loop, in seconds."""
        self.found: dict[KeyName, KnownKey] = {}

    def open_for_origin(self) -> list[KeyName]:
        """What is asked of the keys' own servers: also what only hearsay tells."""
        return [
            name
            for name in self.wanted
            if self._is_open(name) or self.found[name].source is Source.HEARSAY
        ]

    def open_for_notary(self) -> list[KeyName]:
        """What is asked of others."""
        return [name for name in self.wanted if self._is_open(name)]

    def add(self, keys: Iterable[KnownKey]) -> None:
        """Take those that are wanted."""
        for known in keys:
            if known.name in self.wanted:
                self.found[known.name] = known

    def _is_open(self, name: KeyName) -> bool:
        known = self.found.get(name)
        return known is None or not known.key.is_valid_at(self.wanted[name])


class _LRU(Generic[_K, _V]):
    """A mapping that forgets what was not used for longest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: _K, value: _V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def pop(self, key: _K) -> None:
        self._entries.pop(key, None)


class _Pause(NamedTuple):
    until: int
    length: int
    """After an answer 0: the next failure is a first one."""


class _Pauses:
    """Which questions are not to be asked again yet. All times in milliseconds.

    "Requesting servers should limit how frequently they query for certificates to avoid flooding
    a server with requests."
    """

    def __init__(self) -> None:
        self._pauses: _LRU[_Question, _Pause] = _LRU(_REMEMBERED_PAUSES)

    def is_over(self, question: _Question, now: int) -> bool:
        pause = self._pauses.get(question)
        return pause is None or pause.until <= now

    def answered(self, questions: Iterable[_Question], now: int) -> None:
        for question in questions:
            self._pauses.put(question, _Pause(now + PAUSE, 0))

    def failed(self, question: _Question, now: int) -> None:
        pause = self._pauses.get(question)
        length = min(pause.length * 2 if pause and pause.length else PAUSE, MAX_PAUSE)
        self._pauses.put(question, _Pause(now + length, length))

    def forget(self, question: _Question) -> None:
        self._pauses.pop(question)


def _head_start(flights: Iterable[_Flight]) -> float:
    """How much longer requests are waited for that may have begun because of somebody else."""
    began = max((flight.began for flight in flights), default=0.0)
    return max(0.0, HEAD_START - (asyncio.get_running_loop().time() - began))


async def _wait(
    flights: Collection[_Flight], search: _Search, *, is_last: bool, most: float | None = None
) -> None:
    """Wait until all have landed, or as long as the search may, and take what they brought.

    Unless there is nobody else left to ask, half of the time is kept for others; `most` seconds
    are waited if that is said.
    """
    if not flights:
        return
    time_left = max(0.0, search.ends - asyncio.get_running_loop().time())
    patience = time_left if is_last else time_left / 2
    if most is not None:
        patience = min(patience, most)
    for flight in flights:
        flight.askers += 1
    try:
        tasks = [flight.task for flight in flights]
        await asyncio.wait(tasks, timeout=patience)
    finally:
        for flight in flights:
            flight.askers -= 1
    for flight in flights:
        if flight.task.done() and not flight.task.cancelled():
            search.add(flight.task.result())


def _checked(
    answers: Iterable[JsonObject],
    notary: ServerName,
    notary_keys: Mapping[KeyID, VerifyKey],
    now: int,
) -> list[KeyDocument]:
    """The good documents of a notary's answer, the newest first."""
    documents = []
    for fields in answers:
        try:
            documents.append(parse_notarised(fields, notary, notary_keys, now))
        except KeyFormatError as error:
            _LOG.debug("a notary sent a bad document", extra=_fields(notary, error))
    return sorted(documents, key=lambda document: document.valid_until, reverse=True)


def _claims(document: KeyDocument, source: Source) -> Iterable[KnownKey]:
    return (KnownKey(document.server, key_id, key, source) for key_id, key in document.keys.items())


def _may_exist(server: ServerName, key_id: KeyID) -> bool:
    """Whether the names are well-formed: some come from places in events that nobody parses."""
    try:
        return bool(parse_server_name(server) and parse_key_id(key_id))
    except IdentifierError:
        return False


def _by_server(
    names: Iterable[KeyName], wanted: Mapping[KeyName, int]
) -> dict[ServerName, dict[KeyID, int]]:
    found: dict[ServerName, dict[KeyID, int]] = {}
    for server, key_id in names:
        found.setdefault(server, {})[key_id] = wanted[server, key_id]
    return found


def _rank(known: KnownKey) -> tuple[Source, int]:
    return known.source, known.key.valid_until


def _fields(peer: ServerName, error: FederationError) -> dict[str, str]:
    return {"peer": peer, "reason": str(error)}
