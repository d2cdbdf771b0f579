"""Which rooms a client wants: filters, order and ranges of lists, and subscriptions.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186, "Lists and subscriptions"
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from homeserver.accounts.sessions import Session
from homeserver.rooms.standings import Reader
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.sync.sliding.departures import Departure, Departures
from homeserver.sync.sliding.facts import RoomFacts
from homeserver.sync.sliding.personal import Personal
from homeserver.sync.sliding.positions import Sent
from homeserver.sync.sliding.recency import Recency
from homeserver.sync.sliding.state_wishes import RoomConfig, combined
from homeserver.sync.sliding.wishes import ListRule, RoomFilter, Rules

_GONE = frozenset({Membership.LEAVE, Membership.BAN})


class Match(NamedTuple):
    """A room that is wanted."""

    room: RoomOf
    config: RoomConfig
    lists: tuple[str, ...]
    """Those that it is in; none where it is only subscribed to."""
    is_subscribed: bool
    departure: Departure | None
    """How the user left it, if so."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What the rules select."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How many rooms are in each list, in its ranges or not."""
    matches: Mapping[RoomNid, Match] = field(default_factory=dict)
    is_passing: bool = False
    """Whether the rules select something else once this was told."""


_Passes = Callable[[RoomOf], bool]


class Lists:
    """Selects rooms."""

    def __init__(self, recency: Recency, facts: RoomFacts, departures: Departures) -> None:
        self._recency = recency
        self._facts = facts
        self._departures = departures

    async def select(
        self,
        who: Session,
        given: Sequence[RoomOf],
        rules: Rules,
        personal: Personal,
        sent: Mapping[RoomNid, Sent],
        reader: Reader,
    ) -> Windows:
        """The rooms that the rules select.

        Args:
            who: whose rooms.
            given: all that they have something to do with.
            rules: of the client.
            personal: what they made of their rooms.
            sent: what the connection was sent before of which rooms.
            reader: the same person, who may not want to see some invitations.

        """
        is_open = reader.invitations.are_open
        rooms = given if is_open else await self._welcome(who, given, reader, sent)
        left = [room for room in rooms if room.membership in _GONE and _is_known(room, sent)]
        departures = await self._departures.of(who.user_id, left) if left else {}
        listed = [room for room in rooms if _is_listed(room, sent, departures)]
        ordered = await self._recency.sorted(listed) if rules.lists else []
        counts: dict[str, int] = {}
        named: dict[RoomNid, list[str]] = {}
        for name, rule in rules.lists.items():
            passing = await self._passing(who, rule.filter, ordered, personal)
            counts[name] = len(passing)
            for room in _in_ranges(passing, rule):
                named.setdefault(room.room, []).append(name)
        matches = {}
        for room in rooms:
            if room.room in named or room.room_id in rules.subscriptions:
                match = _match(room, rules, named.get(room.room, ()), departures, sent)
                if match is not None:
                    matches[room.room] = match
        is_passing = any(match.room.is_forgotten for match in matches.values())
        return Windows(counts, matches, is_passing)

    async def _welcome(
        self,
        who: Session,
        rooms: Sequence[RoomOf],
        reader: Reader,
        sent: Mapping[RoomNid, Sent],
    ) -> list[RoomOf]:
        """All but unwanted invitations: clients "must not" be sent them."""
        invited = [room for room in rooms if room.membership is Membership.INVITE]
        facts = await self._facts.of(who, invited)
        hidden = {r.room for r in invited if reader.invitations.hides(facts[r.room].inviter)}
        known = [room for room in rooms if room.room in hidden and room.room in sent]
        shown = [room for room in rooms if room.room not in hidden]
        return [*shown, *await self._departures.before_invitations(reader, known)]

    async def _passing(
        self, who: Session, wanted: RoomFilter, rooms: Sequence[RoomOf], personal: Personal
    ) -> list[RoomOf]:
        """Those of the rooms that pass a filter."""
        found = [room for room in rooms if _passes_simply(room, wanted, personal)]
        asks = wanted.room_types is not None or wanted.not_room_types
        if asks or wanted.is_encrypted is not None:
            facts = await self._facts.of(who, found)
            if wanted.is_encrypted is not None:
                found = [r for r in found if facts[r.room].is_encrypted == wanted.is_encrypted]
            if wanted.room_types is not None:
                found = [r for r in found if facts[r.room].type in wanted.room_types]
            found = [r for r in found if facts[r.room].type not in wanted.not_room_types]
        if wanted.spaces is not None:
            # "Unknown spaces or spaces the user is not joined to will be ignored."
            joined = [r for r in rooms if r.membership is Membership.JOIN]
            spaces = [r.room for r in joined if r.room_id in wanted.spaces]
            children = await self._facts.children(spaces) if spaces else set()
            found = [room for room in found if room.room_id in children]
        return found


def _passes_simply(room: RoomOf, wanted: RoomFilter, personal: Personal) -> bool:
    """What needs no look at the room itself."""
    is_invite = room.membership is Membership.INVITE
    if wanted.is_invite is not None and wanted.is_invite != is_invite:
        return False
    if wanted.is_dm is not None and wanted.is_dm != (room.room_id in personal.directs):
        return False
    if wanted.tags is None and not wanted.not_tags:
        return True
    tags = personal.tags.get(room.room, frozenset())
    if tags.intersection(wanted.not_tags):
        return False
    return wanted.tags is None or bool(tags.intersection(wanted.tags))


def _in_ranges(rooms: Sequence[RoomOf], rule: ListRule) -> list[RoomOf]:
    if rule.ranges is None:
        return list(rooms)
    return [room for first, last in rule.ranges for room in rooms[first : last + 1]]


def _is_known(room: RoomOf, sent: Mapping[RoomNid, Sent]) -> bool:
    """Whether the client may know of the room: of a forgotten one until it is told that it is out.

    Another client of the user may have left and forgotten it.
    """
    before = sent.get(room.room)
    is_untold = before is not None and before.membership is not room.membership
    return is_untold or not room.is_forgotten


def _is_listed(
    room: RoomOf, sent: Collection[RoomNid], departures: Mapping[RoomNid, Departure]
) -> bool:
    """Whether lists know the room: of rooms that were left those that the client has to know of."""
    if room.membership not in _GONE:
        return True
    departure = departures.get(room.room)
    if departure is None:
        return False
    return room.room in sent or (departure.is_forced and departure.was_joined)


def _match(
    room: RoomOf,
    rules: Rules,
    named: Sequence[str],
    departures: Mapping[RoomNid, Departure],
    sent: Mapping[RoomNid, Sent],
) -> Match | None:
    configs = [rules.lists[name].config for name in dict.fromkeys(named)]
    subscribed = rules.subscriptions.get(room.room_id) if _is_known(room, sent) else None
    if subscribed is not None:
        configs.append(subscribed)
    if not configs:
        return None
    names = tuple(dict.fromkeys(named))
    is_subscribed = subscribed is not None
    return Match(room, combined(configs), names, is_subscribed, departures.get(room.room))
