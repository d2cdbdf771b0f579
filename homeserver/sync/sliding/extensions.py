"""What is told beside rooms: to-device messages, devices, account data, receipts and typing.

https://github.com/matrix-org/matrix-spec-proposals/pull/3885 (to-device)
https://github.com/matrix-org/matrix-spec-proposals/pull/3884 (encryption)
https://github.com/matrix-org/matrix-spec-proposals/pull/3959 (account data)
https://github.com/matrix-org/matrix-spec-proposals/pull/3960 (receipts)
https://github.com/matrix-org/matrix-spec-proposals/pull/3961 (typing)
https://github.com/matrix-org/matrix-spec-proposals/pull/4308 (thread subscriptions)
https://github.com/matrix-org/matrix-spec-proposals/pull/4480 (sticky events)
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.standings import Reader
from homeserver.rooms.typing import Typing
from homeserver.storage.account_data import Datum
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.raw_json import RawJson
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.account import AccountSections, room_data
from homeserver.sync.activity import Activity
from homeserver.sync.device_changes import device_changes
from homeserver.sync.keys import Keys
from homeserver.sync.sliding.lists import Match, Windows
from homeserver.sync.sliding.positions import Position
from homeserver.sync.sliding.receipts_under import ReceiptsUnder
from homeserver.sync.sliding.sections import Said
from homeserver.sync.sliding.wishes import Scope, SlidingWish, StickyWish
from homeserver.sync.sticky import Asked, StickyEvents
from homeserver.sync.thread_subscriptions import SubscriptionPages
from homeserver.sync.to_device import ToDevice
from homeserver.sync.wishes import Wish

THREAD_SUBSCRIPTIONS = "io.element.msc4308.thread_subscriptions"
STICKY_EVENTS = "org.matrix.msc4354.sticky_events"


@dataclass(frozen=True, slots=True)
class Moment:
    """What an answer is made of, beside what is asked."""

    rooms: Sequence[RoomOf]
    """All that the user has something to do with."""
    windows: Windows
    position: Position
    """What the connection was sent before."""
    said: Said
    up_to: int
    """The position up to which is told."""
    reader: Reader


class Told(NamedTuple):
    """What is told beside rooms."""

    sections: JsonObject
    has_news: bool
    """Whether anything of it is worth an answer."""


class Means(NamedTuple):
    """What extensions work with."""

    process: Process
    epoch: int
    activity: Activity
    account: AccountSections
    keys: Keys
    to_device: ToDevice
    receipts: Receipts
    typing: Typing
    subscriptions: SubscriptionPages
    sticky: StickyEvents


class ExtensionSections:
    """Reads them."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._under = ReceiptsUnder(means.process, means.activity, means.receipts)

    async def read(self, wish: SlidingWish, moment: Moment) -> Told:
        """The extensions that are wanted, as far as there is something to tell."""
        wanted, sections = wish.extensions, JsonObject()
        has_news = False
        if wanted.to_device is not None:
            sections["to_device"] = await self._to_device(wish, moment)
            has_news = bool(sections["to_device"]["events"])
        if wanted.e2ee:
            sections["e2ee"] = await self._e2ee(wish, moment)
            has_news = has_news or "device_lists" in sections["e2ee"]
        for name, scope, read in (
            ("account_data", wanted.account_data, self._account_data),
            ("receipts", wanted.receipts, self._receipts),
            ("typing", wanted.typing, self._typing),
        ):
            found = await read(wish, moment, scope) if scope is not None else {}
            if found:
                sections[name], has_news = found, True
        if wanted.thread_subscriptions is not None:
            found = await self._thread_subscriptions(wish, moment, wanted.thread_subscriptions)
            if found:
                sections[THREAD_SUBSCRIPTIONS], has_news = found, True
        if wanted.sticky is not None:
            found = await self._sticky(moment, wanted.sticky)
            if found:
                sections[STICKY_EVENTS], has_news = found, True
        return Told(sections, has_news)

    async def _to_device(self, wish: SlidingWish, moment: Moment) -> JsonObject:
        asked = wish.extensions.to_device
        since = asked.since if asked and asked.since else StreamToken(0, 0)
        after = since.to_device if since.epoch == self._means.epoch else 0
        limit = asked.limit if asked else 0
        who = wish.who
        page = await self._means.to_device.page(who.user, who.device, after, moment.up_to, limit)
        return {
            "next_batch": str(StreamToken(self._means.epoch, moment.up_to, page.last)),
            "events": [RawJson(message.json) for message in page.messages],
        }

    async def _e2ee(self, wish: SlidingWish, moment: Moment) -> JsonObject:
        counts = await self._means.keys.counts(wish.who.device)
        found: JsonObject = {
            "device_one_time_keys_count": dict(counts.by_algorithm),
            "device_unused_fallback_key_types": list(counts.unused_fallback),
        }
        # As in `/sync`, a new client asks for all that it needs.
        if wish.pos is None:
            return found
        keys, activity, user = self._means.keys, self._means.activity, wish.who.user
        lists = await device_changes(keys, activity, user, moment.rooms, wish.after, moment.up_to)
        if lists.changed or lists.left:
            found["device_lists"] = {"changed": list(lists.changed), "left": list(lists.left)}
        return found

    async def _thread_subscriptions(
        self, wish: SlidingWish, moment: Moment, limit: int
    ) -> JsonObject:
        is_new = THREAD_SUBSCRIPTIONS not in moment.position.extensions
        user, after = wish.who.user, 0 if is_new else wish.after
        if after and not self._means.activity.user_changed(user, after):
            return {}
        page = await self._means.subscriptions.page(user, after, moment.up_to, limit)
        return page.sections | ({"prev_batch": str(page.rest)} if page.rest is not None else {})

    async def _sticky(self, moment: Moment, asked: StickyWish) -> JsonObject:
        """What sticks in rooms that the client knows, or is told of now: there all of it."""
        since = asked.since.pos if asked.since and asked.since.epoch == self._means.epoch else 0
        known = {r for r, s in moment.position.rooms.items() if s.membership is Membership.JOIN}
        wanted = known | moment.windows.matches.keys()
        joined = {
            room.room: room
            for room in moment.rooms
            if room.membership is Membership.JOIN and room.room in wanted
        }
        spans = {
            room: since if room in known and joined[room].pos <= since else 0
            for room in await self._means.sticky.among(joined)
        }
        if not spans:
            return {}
        told = {
            room: {event["event_id"] for event in section.get("timeline", ())}
            for room, of in joined.items()
            if (section := moment.said.rooms.get(of.room_id))
        }
        limits = Asked(spans, moment.up_to, asked.limit)
        page = await self._means.sticky.read(moment.reader, limits, told)
        if not page.events and page.last is None:
            return {}
        last = moment.up_to if page.last is None else page.last
        rooms = {str(joined[room].room_id): {"events": e} for room, e in page.events.items()}
        return {"rooms": rooms, "next_batch": str(StreamToken(self._means.epoch, last))}

    async def _account_data(self, wish: SlidingWish, moment: Moment, scope: Scope) -> JsonObject:
        account, found = self._means.account, JsonObject()
        is_new = "account_data" not in moment.position.extensions
        asked = Wish(wish.who, None if is_new or wish.pos is None else wish.pos.stream)
        data = await account.data(asked, moment.up_to)
        everything = await account.read(asked, data, moment.up_to)
        if everything:
            found["global"] = everything["account_data"]["events"]
        spans = _spans(wish, moment, scope, is_new=is_new)
        rooms = await self._room_data(wish, asked, data, spans, moment)
        if rooms:
            found["rooms"] = rooms
        return found

    async def _room_data(
        self,
        wish: SlidingWish,
        asked: Wish,
        data: Sequence[Datum],
        spans: Mapping[RoomNid, int],
        moment: Moment,
    ) -> JsonObject:
        """The account data of rooms, of each since a position of its own.

        Args:
            wish: of the client.
            asked: since when.
            data: what changed since then.
            spans: the rooms, and since when.
            moment: that is told.

        """
        if not spans:
            return {}
        first = min(spans.values())
        if first < asked.after:
            since = StreamToken(self._means.epoch, first) if first else None
            asked = Wish(wish.who, since)
            data = await self._means.account.data(asked, moment.up_to)
        told = [datum for datum in data if datum.pos > spans.get(datum.room, moment.up_to)]
        # What was deleted before a room is told of need not be told.
        told = [datum for datum in told if datum.content is not None or spans[datum.room]]
        return {
            str(moment.windows.matches[room].room.room_id): events
            for room, events in room_data(told, asked).items()
        }

    async def _receipts(self, wish: SlidingWish, moment: Moment, scope: Scope) -> JsonObject:
        is_new = "receipts" not in moment.position.extensions
        spans = _spans(wish, moment, scope, is_new=is_new)
        moved = self._means.activity.with_receipts
        known = {r: pos for r, pos in spans.items() if pos and moved([r], pos)}
        timelines = {r: moment.said.timelines.get(r, ()) for r, pos in spans.items() if not pos}
        if not known and not timelines:
            return {}
        user, up_to = wish.who.user, moment.up_to
        found = await self._under.read(user, timelines, up_to) if timelines else {}
        if known:
            async with self._means.process.database.reader() as conn:
                found |= await self._means.receipts.since(conn, user, known, up_to)
        return _by_room(moment, "m.receipt", found)

    async def _typing(self, wish: SlidingWish, moment: Moment, scope: Scope) -> JsonObject:
        matches = _in_scope(moment.windows.matches.values(), scope)
        joined = {m.room.room for m in matches if m.room.membership is Membership.JOIN}
        new = joined & moment.said.sent.keys() - moment.position.rooms.keys()
        stamp = wish.pos.stream.ephemeral if wish.pos else 0
        found = self._means.typing.since(joined - new, stamp)
        found |= self._means.typing.since(new, 0)
        contents: dict[RoomNid, JsonObject] = {
            room: {"user_ids": list(users)} for room, users in found.items()
        }
        return _by_room(moment, "m.typing", contents)


def _by_room(moment: Moment, kind: str, contents: Mapping[RoomNid, JsonObject]) -> JsonObject:
    rooms = {
        str(moment.windows.matches[room].room.room_id): {"type": kind, "content": content}
        for room, content in contents.items()
    }
    return {"rooms": rooms} if rooms else {}


def _in_scope(matches: Iterable[Match], scope: Scope) -> list[Match]:
    """The rooms for which an extension is wanted, of those that are."""
    return [match for match in matches if _is_in_scope(match, scope)]


def _is_in_scope(match: Match, scope: Scope) -> bool:
    if match.lists and (scope.lists is None or not scope.lists.isdisjoint(match.lists)):
        return True
    rooms = scope.rooms
    if match.is_subscribed and (rooms is None or "*" in rooms):
        return True
    return rooms is not None and match.room.room_id in rooms


def _spans(wish: SlidingWish, moment: Moment, scope: Scope, *, is_new: bool) -> dict[RoomNid, int]:
    """The rooms that the user is in, and up to where each was told; 0: not at all."""
    spans = {}
    for match in _in_scope(moment.windows.matches.values(), scope):
        room, sent = match.room.room, moment.position.rooms.get(match.room.room)
        if match.room.membership is not Membership.JOIN:
            continue
        begins = is_new or sent is None or sent.membership is not Membership.JOIN
        spans[room] = 0 if begins or sent is None else sent.behind or wish.after
    return spans


def wanted_names(wish: SlidingWish) -> Collection[str]:
    """The extensions of which what was told has to be known."""
    found = []
    if wish.extensions.account_data is not None:
        found.append("account_data")
    if wish.extensions.receipts is not None:
        found.append("receipts")
    if wish.extensions.thread_subscriptions is not None:
        found.append(THREAD_SUBSCRIPTIONS)
    return found
