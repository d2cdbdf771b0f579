"""What of `/sync` is not about rooms: account data and presence.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from bisect import bisect
from collections.abc import Iterable, Sequence

from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from homeserver.accounts.filters import RoomEventFilter
from homeserver.push.rulesets import Rulesets
from homeserver.rooms.filtering import wants
from homeserver.rooms.presence import Presence
from homeserver.storage import account_data
from homeserver.storage.account_data import WHOLE_ACCOUNT, Datum
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.raw_json import RawJson
from homeserver.sync.acquaintance import Acquaintance
from homeserver.sync.activity import Activity
from homeserver.sync.all_data import AllData
from homeserver.sync.user_rooms import UserRooms
from homeserver.sync.wishes import Wish

PUSH_RULES = "m.push_rules"


class AccountSections:
    """Reads them."""

    def __init__(
        self,
        process: Process,
        activity: Activity,
        presence: Presence,
        rulesets: Rulesets,
        user_rooms: UserRooms,
    ) -> None:
        self._user_rooms = user_rooms
        self._rulesets = rulesets
        self._process = process
        self._activity = activity
        self._presence = presence
        self._everything = AllData(process)
        self._acquaintance = Acquaintance(process, activity)

    async def read(self, wish: Wish, data: Iterable[Datum], up_to: int) -> JsonObject:
        """`account_data`, if there is any; `data` is what changed, the earlier first.

        If a filter limits it, the types that were changed last are told, push rules among them.
        """
        mine = [datum for datum in data if _is_global(datum)]
        events = [_event(datum) for datum in mine]
        if wish.since is None or self._activity.user_changed(wish.who.user, wish.after):
            ruleset = await self._rulesets.of(wish.who.user, wish.who.user_id)
            if wish.since is None or wish.after < ruleset.pos <= up_to:
                place = bisect(mine, ruleset.pos, key=lambda datum: datum.pos)
                rules = {"type": PUSH_RULES, "content": {"global": dict(ruleset.rules)}}
                events.insert(place, rules)
        wanted = wish.filter.account_data
        kept = newest([event for event in events if wants(wanted, event["type"])], wanted.limit)
        return {"account_data": {"events": kept}} if kept else {}

    async def data(self, wish: Wish, up_to: int) -> Sequence[Datum]:
        """What changed of the user's account data, of rooms too."""
        if wish.since is None:
            return await self._everything.of(wish.who.user)
        if not self._activity.user_changed(wish.who.user, wish.after):
            return []
        async with self._process.database.reader() as conn:
            return await account_data.read_changes(conn, wish.who.user, wish.after, up_to)

    async def presence(self, wish: Wish, stamp: int, met: Iterable[UserID] = ()) -> JsonObject:
        """`presence` of people with whom a room is shared, if any changed.

        If a filter limits it, those are told who changed last; those just met are the first to go.

        Args:
            wish: who asks for what.
            stamp: of the last change that they know.
            met: people with whom a room is shared that was not: what they are is new to the client.

        """
        limit = wish.filter.presence.limit
        if limit == 0:
            return {}
        events = self._presence.since(met, 0)
        users = self._presence.changed_after(stamp)
        if users:
            rooms = await self._user_rooms.of(wish.who.user)
            shared = await self._acquaintance.among(rooms, users)
            told = {event["sender"] for event in events}
            others = dict.fromkeys(u for u in (*shared, wish.who.user_id) if u not in told)
            events += self._presence.since(others, stamp)
        wanted = [e for e in events if wants(wish.filter.presence, e["type"], e["sender"])]
        if limit is not None:
            ranks = {user: rank for rank, user in enumerate(reversed(users))}
            wanted.sort(key=lambda event: ranks.get(event["sender"], -1))
        wanted = newest(wanted, limit)
        return {"presence": {"events": wanted}} if wanted else {}


def room_data(data: Iterable[Datum], wish: Wish) -> dict[RoomNid, list[JsonObject]]:
    """The account data of rooms, by room; `data` is what changed, the earlier first.

    If a filter limits it, of each room the types that were changed last are told.
    """
    found: dict[RoomNid, list[JsonObject]] = {}
    for datum in data:
        if not _is_global(datum) and wants(wish.filter.room.account_data, datum.type):
            found.setdefault(datum.room, []).append(_event(datum))
    limit = wish.filter.room.account_data.limit
    if limit is None:
        return found
    return {room: newest(events, limit) for room, events in found.items() if limit}


def newest(events: list[JsonObject], limit: int | None) -> list[JsonObject]:
    """The last of events, as many as the `limit` of a filter lets through; 0: none.

    What is cut is not told later either: of what is no event of a room there are no pages, and
    the next sync begins after it. So nothing is cut unless a client asks for it, whatever the
    specification says of a default; and what is kept is what changed last.
    """
    return events if limit is None else events[max(0, len(events) - limit) :]


def wants_room(wanted: RoomEventFilter, room_id: str) -> bool:
    """Whether anything of a room is wanted that is no event of it."""
    return (wanted.rooms is None or room_id in wanted.rooms) and room_id not in (
        wanted.not_rooms or ()
    )


def _is_global(datum: Datum) -> bool:
    return datum.room == WHOLE_ACCOUNT


def _event(datum: Datum) -> JsonObject:
    content: object = RawJson(datum.content) if datum.content is not None else {}
    return {"type": datum.type, "content": content}
