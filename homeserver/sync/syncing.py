"""`/sync` as the specification has it since version 1.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.identifiers import UserID
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.presence import Presence
from homeserver.storage.batch import Membership
from homeserver.storage.memberships import RoomOf
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.raw_json import RawJson
from homeserver.storage.stream_tokens import StreamToken
from homeserver.sync.account import AccountSections
from homeserver.sync.activity import Activity
from homeserver.sync.device_changes import device_changes
from homeserver.sync.joined import JoinedRooms, Means
from homeserver.sync.keys import Keys
from homeserver.sync.other_rooms import OtherRooms
from homeserver.sync.to_device import ToDevice
from homeserver.sync.user_rooms import UserRooms
from homeserver.sync.wishes import Wish

LONGEST_WAIT = 120.0
"""Seconds, whatever is asked for."""


class Parts(NamedTuple):
    """What `/sync` is put together from."""

    process: Process
    epoch: int
    activity: Activity
    user_rooms: UserRooms
    joined: JoinedRooms
    others: OtherRooms
    account: AccountSections
    keys: Keys
    to_device: ToDevice
    ignoring: Ignoring
    presence: Presence
    means: Means
    """What rooms are read with."""
    stamp: Callable[[], int]
    """Milliseconds: now, for what is not in the log."""


class Syncing:
    """Answers `/sync`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def readable(self, since: StreamToken | None) -> StreamToken | None:
        """The token, or `None` if it is from before a backup was restored: then all is new."""
        return since if since and since.epoch == self.parts.epoch else None

    async def sync(self, wish: Wish, seconds: float, stopping: asyncio.Event) -> JsonObject:
        """What is new; if nothing is, what is new once something is, or time is over.

        Args:
            wish: who asks for what.
            seconds: how long to wait.
            stopping: ends the waiting.

        """
        parts, loop = self.parts, asyncio.get_running_loop()
        ends = loop.time() + min(seconds, LONGEST_WAIT)
        if wish.since and wish.since.to_device:
            await parts.to_device.acknowledge(wish.who.device, wish.since.to_device)
        known = wish.since
        while True:
            await parts.activity.catch_up(wish.after)
            await parts.process.tail.catch_up()
            stamp = parts.stamp()
            rooms, known_to = await parts.user_rooms.caught_up(wish.who.user)
            up_to = max(known_to, wish.after)
            joined = [room.room for room in rooms if room.membership is Membership.JOIN]
            if known is not None and self._is_quiet(wish, known, joined):
                answer = await self._nothing(wish, known, up_to, stamp)
            else:
                answer = await self._answer(wish, rooms, up_to, stamp)
            left = ends - loop.time()
            is_over = left <= 0 or stopping.is_set()
            if is_over or wish.since is None or wish.full_state or answer.keys() - _ALWAYS:
                return await self._finished(wish, answer)
            # There was nothing up to there: what comes next is looked for from there on.
            known = StreamToken.parse(answer["next_batch"])
            await parts.activity.wait(wish.who.user, joined, up_to, left)
            if stopping.is_set():
                return await self._finished(wish, answer)

    def _is_quiet(self, wish: Wish, known: StreamToken, joined: Sequence[RoomNid]) -> bool:
        """Whether nothing can be new, as far as memory tells: most of those who wait find so."""
        if known.sticky is not None or wish.full_state:
            return False
        parts, activity, user, after = self.parts, self.parts.activity, wish.who.user, known.pos
        return not (
            activity.user_changed(user, after)
            or activity.changed(joined, after)
            or activity.with_receipts(joined, after)
            or activity.devices_changed(after)
            or parts.to_device.known_empty(user, wish.who.device, known.to_device) is None
            or parts.means.typing.since(joined, known.ephemeral)
            or (parts.presence.enabled and parts.presence.changed_after(known.ephemeral))
        )

    async def _nothing(self, wish: Wish, known: StreamToken, up_to: int, stamp: int) -> JsonObject:
        """An answer without sections."""
        answer: JsonObject = {}
        last = await self._to_device(wish, known.to_device, answer, up_to)
        token = StreamToken(self.parts.epoch, up_to, last, max(stamp, known.ephemeral))
        return answer | {"next_batch": str(token)}

    async def _answer(
        self, wish: Wish, rooms: Sequence[RoomOf], up_to: int, stamp: int
    ) -> JsonObject:
        """The sections that are not empty, and the token."""
        parts = self.parts
        reader = await parts.ignoring.reader(wish.who)
        data = await parts.account.data(wish, up_to)
        since = wish.since.ephemeral if wish.since else 0
        answer: JsonObject = {}
        joined = await parts.joined.read(wish, reader, rooms, data, up_to, since)
        sections = {
            "join": joined.sections,
            **await parts.others.read(wish, reader, rooms, data, up_to),
        }
        if any(sections.values()):
            answer["rooms"] = {name: found for name, found in sections.items() if found}
        answer |= await parts.account.read(wish, data, up_to)
        after = wish.since.to_device if wish.since else 0
        last = await self._to_device(wish, after, answer, up_to)
        met = await self._device_lists(wish, rooms, answer, up_to)
        if parts.presence.enabled:
            answer |= await parts.account.presence(wish, since, met)
        token = StreamToken(parts.epoch, up_to, last, max(stamp, since), sticky=joined.sticky)
        answer["next_batch"] = str(token)
        return answer

    async def _to_device(self, wish: Wish, after: int, answer: JsonObject, up_to: int) -> int:
        """Add messages for the device; up to which position it has them all then."""
        page = await self.parts.to_device.page(wish.who.user, wish.who.device, after, up_to)
        if page.messages:
            answer["to_device"] = {"events": [RawJson(message.json) for message in page.messages]}
        return page.last

    async def _device_lists(
        self, wish: Wish, rooms: Sequence[RoomOf], answer: JsonObject, up_to: int
    ) -> Sequence[UserID]:
        """Add whose devices have to be looked at: those just met are among them, which it answers.

        "optional [...] on incremental sync": a new client asks for all that it needs.
        """
        if wish.since is None:
            return ()
        keys, activity, user = self.parts.keys, self.parts.activity, wish.who.user
        found = await device_changes(keys, activity, user, rooms, wish.after, up_to)
        if found.changed or found.left:
            answer["device_lists"] = {"changed": list(found.changed), "left": list(found.left)}
        return found.changed

    async def _finished(self, wish: Wish, answer: JsonObject) -> JsonObject:
        """With what is in every answer."""
        counts = await self.parts.keys.counts(wish.who.device)
        answer["device_one_time_keys_count"] = dict(counts.by_algorithm)
        answer["device_unused_fallback_key_types"] = list(counts.unused_fallback)
        # COMPAT(older clients of the Rust SDK)
        answer["org.matrix.msc2732.device_unused_fallback_key_types"] = list(counts.unused_fallback)
        return answer


_ALWAYS = frozenset({"next_batch"})
