"""What somebody was, or would have been, notified of, page by page.

https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.canonical_json import JsonObject
from homeserver.push.evaluating import Around, Outcome, evaluate
from homeserver.push.naming import look_at_names, names_in
from homeserver.push.rulesets import Ruleset, Rulesets
from homeserver.rooms.lifetimes import Lifetimes
from homeserver.rooms.showing import Reader, Showing, client_event
from homeserver.storage import history, notified, public_rooms, thread_subscriptions
from homeserver.storage.batch import Membership
from homeserver.storage.history import LATEST, Placed
from homeserver.storage.notified import EVERY, Notified
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS, StreamToken
from homeserver.storage.unread import MAIN, Flag, is_for_all
from homeserver.sync.activity import Activity
from homeserver.sync.user_rooms import UserRooms

MOST = 100
"""Notifications on one page."""
_LOOKED_AT = 500
"""Messages for one page, where rules of one's own decide."""


class Page(NamedTuple):
    """Some notifications, the newest first."""

    notifications: Sequence[JsonObject]
    next: StreamToken | None
    """Where the next page begins; `None`: this was the last."""


@dataclass(frozen=True, slots=True)
class Notifications:
    """Lists them, by the rules as they are now.

    `epoch` is of the installation.
    """

    process: Process
    epoch: int
    activity: Activity
    user_rooms: UserRooms
    rulesets: Rulesets
    showing: Showing
    lifetimes: Lifetimes

    async def page(
        self, reader: Reader, start: StreamToken | None, limit: int, *, only_highlights: bool
    ) -> Page:
        """A page of somebody's notifications.

        Args:
            reader: who; without what comes from those they ignore.
            start: where it begins; `None`: with the newest.
            limit: how many at most.
            only_highlights: whether others are left out.

        """
        await self.activity.catch_up()
        await self.process.tail.catch_up()
        ruleset = await self.rulesets.of(reader.user, reader.user_id)
        rooms = {
            room.room: room.pos
            for room in await self.user_rooms.of(reader.user)
            if room.membership is Membership.JOIN
        }
        flags = (Flag.HIGHLIGHT if only_highlights else EVERY) if ruleset.is_default else None
        most = limit if ruleset.is_default else _LOOKED_AT
        before = LATEST if start is None else start.room_order
        async with self.process.database.reader() as conn:
            rows = await notified.page(conn, reader.user, rooms, before, flags, most)
            events = await history.by_nid(conn, [row.event for row in rows])
            outcomes = await self._outcomes(conn, reader, ruleset, rows, events)
            chosen = [
                row
                for row in rows
                if row.event in outcomes and (outcomes[row.event].highlight or not only_highlights)
            ]
            shown = await self._shown(conn, reader, chosen[:limit], events, outcomes)
        if len(chosen) > limit:
            return Page(shown, self._behind(chosen[limit - 1]))
        return Page(shown, self._behind(rows[-1]) if len(rows) == most else None)

    def _behind(self, row: Notified) -> StreamToken:
        return StreamToken(self.epoch, row.order >> ORDER_BITS, order=row.order - 1)

    async def _outcomes(
        self,
        conn: Connection,
        reader: Reader,
        ruleset: Ruleset,
        rows: Sequence[Notified],
        events: Mapping[EventNid, Placed],
    ) -> dict[EventNid, Outcome]:
        """What the rules say of those events that are worth a notification."""
        rooms = await public_rooms.counted(conn, {row.room for row in rows})
        places = {(room, reader.user) for room in rooms} if look_at_names(ruleset.rules) else ()
        names = await names_in(conn, places)
        threads = {row.thread for row in rows} - {MAIN}
        users = [reader.user]
        followed = await thread_subscriptions.followers(conn, users, threads) if threads else ()
        found = {}
        for row in rows:
            placed = events.get(row.event)
            if placed is None or placed.event.sender in reader.ignores:
                continue
            if self.lifetimes.is_expired(placed):
                continue  # and not deleted yet
            members = rooms[row.room].joined if row.room in rooms else 0
            permitted = ("room",) if is_for_all(row.flags) else ()
            follows = None if row.thread == MAIN else (reader.user, row.thread) in followed
            around = Around(members, permitted, names.get((row.room, reader.user)), follows)
            outcome = evaluate(ruleset.rules, client_event(placed.event), around)
            if outcome.notify:
                found[row.event] = outcome
        return found

    async def _shown(
        self,
        conn: Connection,
        reader: Reader,
        rows: Sequence[Notified],
        events: Mapping[EventNid, Placed],
        outcomes: Mapping[EventNid, Outcome],
    ) -> list[JsonObject]:
        placed = [events[row.event] for row in rows]
        shown = await self.showing.show_bundled(conn, reader, placed)
        return [
            {
                "actions": list(outcomes[row.event].actions),
                "event": event,
                "read": row.is_read,
                "room_id": event["room_id"],
                "ts": event["origin_server_ts"],
            }
            for row, event in zip(rows, shown, strict=True)
        ]
