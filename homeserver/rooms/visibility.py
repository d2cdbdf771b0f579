"""Which events of rooms somebody may see.

The rules are `federation.history_visibility`'s; here is what they ask for, gathered for many events
of many rooms at a time. Mostly nothing has to be gathered: who is in the room sees what was sent
there since, and in most rooms everything from before too.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from federation.history_visibility import HistoryVisibility, UserFacts, user_may_see
from federation.identifiers import ServerName, domain_of
from homeserver.rooms.lifetimes import Lifetimes
from homeserver.rooms.moments import Moments, is_first, word_of
from homeserver.rooms.standings import VISIBILITY, Reader, Standing, Standings
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.standings import Change
from homeserver.storage.stream_tokens import ORDER_BITS


class _Known(NamedTuple):
    """What the rules are told about one event, beside itself."""

    visibility: str | None
    membership: str | None
    joined_later: bool


class Visibility:
    """Says who may see what.

    Args:
        server: this one.
        standings: of readers.
        moments: of events.
        lifetimes: of messages.

    """

    def __init__(
        self, server: ServerName, standings: Standings, moments: Moments, lifetimes: Lifetimes
    ) -> None:
        self.lifetimes = lifetimes
        self._server = server
        self._standings = standings
        self._moments = moments

    async def visible(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        standings: Mapping[RoomNid, Standing] | None = None,
    ) -> list[Placed]:
        """Those of the events, of any rooms, that the reader may see, in the same order.

        Args:
            conn: no query is made where nothing is in doubt, at most five otherwise.
            reader: who wants to see them.
            events: accepted ones; outliers are nobody's to see.
            standings: the reader's in these rooms, if they are known already.

        """
        wanted = [
            event
            for event in events
            if _is_wanted(event, reader) and not self.lifetimes.is_expired(event)
        ]
        if standings is None:
            rooms = {event.room for event in wanted}
            standings = await self._standings.read(conn, reader, rooms) if rooms else {}
        unsure = [event for event in wanted if not self._is_sure(event, standings[event.room])]
        if not unsure:
            return wanted
        unsure = await self._without_open(conn, unsure, standings)
        if not unsure:
            return wanted
        hidden = {event.nid for event in unsure}
        hidden -= {e.nid for e in await self._judged(conn, reader, unsure, standings)}
        return [event for event in wanted if event.nid not in hidden]

    def _is_sure(self, event: Placed, standing: Standing) -> bool:
        """Whether the reader was in the room, in the eyes of the sender's server.

        What our own server sent builds on what it knew; another one may not have known yet.
        """
        return standing.joined_before(event) and domain_of(event.event.sender) == self._server

    async def _without_open(
        self, conn: Connection, events: Iterable[Placed], standings: Mapping[RoomNid, Standing]
    ) -> list[Placed]:
        """Leave out what everybody may see who is in the room, of rooms that the reader is in."""
        doubtful = [e for e in events if not (standings[e.room].is_joined and is_first(e))]
        rooms = {event.room for event in doubtful if standings[event.room].is_joined}
        if not rooms:
            return doubtful
        rules = await self._standings.rules(conn, [standings[room] for room in rooms])
        return [e for e in doubtful if e.room not in rules or not rules[e.room].is_open_at(e)]

    async def _judged(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        standings: Mapping[RoomNid, Standing],
    ) -> list[Placed]:
        keys = [VISIBILITY, ("m.room.member", reader.user_id)]
        entries = await self._moments.entries(conn, keys, events)
        words = await self._moments.words(
            conn, {nid for pair in entries.values() for nid in pair if nid}
        )
        gone = {e.room for e in events if standings[e.room].membership is not None}
        gone -= {room for room in gone if standings[room].is_joined}
        changes = await self._standings.changes(conn, reader, gone) if gone else {}
        judged = []
        for event in (event for event in events if event.nid in entries):
            visibility, member = (words[nid] if nid else None for nid in entries[event.nid])
            later = standings[event.room].is_joined or joined_after(
                event, changes.get(event.room, ())
            )
            if user_may_see(facts_of(event, reader, _Known(visibility, member, later))):
                judged.append(event)
        return judged


def _is_wanted(event: Placed, reader: Reader) -> bool:
    # "Servers must still send state events sent by ignored users to clients."
    ignored = event.event.sender in reader.ignores and event.event.state_key is None
    return event.order is not None and not ignored


def joined_after(event: Placed, changes: Iterable[Change]) -> bool:
    """Whether any of the changes of a membership is a join that came after the event."""
    return event.order is not None and any(
        change.event.membership == "join" and change.pos << ORDER_BITS > event.order
        for change in changes
    )


def facts_of(event: Placed, reader: Reader, known: _Known) -> UserFacts:
    """What the rules ask for."""
    return UserFacts(
        visibility=_visibilities(event, known.visibility),
        membership=_memberships(event, reader, known.membership),
        joined_later=known.joined_later,
    )


def _visibilities(event: Placed, before: str | None) -> Collection[HistoryVisibility]:
    found = {HistoryVisibility(before) if before else HistoryVisibility.SHARED}
    if (event.event.type, event.event.state_key) == VISIBILITY:
        found.add(HistoryVisibility(word_of(event.event)))
    return found


def _memberships(event: Placed, reader: Reader, before: str | None) -> Collection[str | None]:
    found = {before}
    if is_own_membership(event, reader):
        found.add(event.event.membership)
    return found


def is_own_membership(event: Placed, reader: Reader) -> bool:
    """Whether the event is about the reader's being in the room."""
    return event.event.type == "m.room.member" and event.event.state_key == reader.user_id
