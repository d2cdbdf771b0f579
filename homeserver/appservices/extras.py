"""What an application service is told beside events, if its registration asks for it.

Under the stable names, and under those of the proposals (MSC2409, MSC3202) that bridges read.

https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from federation.identifiers import RoomID, UserID
from homeserver.accounts.app_services import AppService
from homeserver.appservices.interest import Interest
from homeserver.appservices.turns import turns_of
from homeserver.storage import app_services, device_lists
from homeserver.storage.app_services import News
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.receipts import UNTHREADED, Shown

_EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")
_TO_DEVICE = ("to_device", "de.sorunome.msc2409.to_device")
_LISTS = ("device_lists", "org.matrix.msc3202.device_lists")
_COUNTS = (
    "device_one_time_keys_count",
    "org.matrix.msc3202.device_one_time_keys_count",
    # COMPAT(mautrix) as the proposal once had it.
    "org.matrix.msc3202.device_one_time_key_counts",
)
_FALLBACK = (
    "device_unused_fallback_key_types",
    "org.matrix.msc3202.device_unused_fallback_key_types",
)

_OF_DEVICES = (Kind.DEVICE_KEYS, Kind.DEVICE_GONE)


def kinds_for(service: AppService) -> list[Kind]:
    """The rows of the log that concern an application service."""
    # Invitations to rooms that we are not in come as the last.
    kinds = [Kind.EVENT, Kind.STATE, Kind.FORGOTTEN]
    if service.wants_ephemeral:
        kinds += [Kind.RECEIPT, Kind.TO_DEVICE]
    if service.wants_encryption:
        kinds += [*_OF_DEVICES, Kind.ONE_TIME_KEYS]
    return kinds


def ephemeral(edus: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The part of a transaction that has ephemeral data; none if there is none."""
    return dict.fromkeys(_EPHEMERAL, edus) if edus else {}


def devices_told(rows: Iterable[News], interest: Interest) -> set[int]:
    """The devices of the application service's users for which messages came."""
    return {
        row.item
        for row in rows
        if row.kind == Kind.TO_DEVICE and row.item is not None and interest.has_user(row.user_id)
    }


class Extras:
    """Gathers them for one application service, from a span of the log at a time."""

    def __init__(self, service: AppService, interest: Interest) -> None:
        self._service = service
        self._interest = interest

    async def gather(
        self, conn: Connection, rows: Sequence[News], after: int, up_to: int
    ) -> dict[str, Any]:
        """All that the rows give, by the names of a transaction's parts."""
        found: dict[str, Any] = {}
        if self._service.wants_ephemeral:
            found |= ephemeral(await self._receipts(conn, rows, after, up_to))
            found |= await self._to_device(conn, rows, after, up_to)
        if self._service.wants_encryption:
            found |= await self._lists(conn, rows)
            found |= await self._counts(conn, rows)
        return found

    async def of_interest(self, conn: Connection, users: Collection[UserID]) -> set[UserID]:
        """Those who are in a room that the application service hears of, or are its own."""
        rooms = await app_services.rooms_of(conn, users) if users else {}
        await self._interest.load(conn, {room for listed in rooms.values() for room, _ in listed})
        return {
            user
            for user, listed in rooms.items()
            if self._interest.has_user(user)
            or any(self._interest.has_room(room, room_id) for room, room_id in listed)
        }

    async def _receipts(
        self, conn: Connection, rows: Sequence[News], after: int, up_to: int
    ) -> list[dict[str, Any]]:
        rooms: dict[RoomNid, RoomID] = {}
        pairs: set[tuple[RoomNid, UserNid]] = set()
        for row in rows:
            if row.kind != Kind.RECEIPT or not (row.room and row.room_id and row.user):
                continue
            if self._interest.has_room(row.room, row.room_id):
                rooms[row.room] = row.room_id
                pairs.add((row.room, row.user))
        found = await app_services.receipts(conn, pairs, after, up_to) if pairs else []
        return [
            {"type": "m.receipt", "room_id": room_id, "content": _content(found, room)}
            for room, room_id in rooms.items()
            if any(receipt.room == room for receipt in found)
        ]

    async def _to_device(
        self, conn: Connection, rows: Sequence[News], after: int, up_to: int
    ) -> dict[str, Any]:
        devices = devices_told(rows, self._interest)
        if not devices:
            return {}
        messages = [
            {
                **orjson.loads(message.json),
                "to_user_id": message.user_id,
                "to_device_id": message.device_id,
            }
            for message in await app_services.for_devices(conn, devices, after, up_to)
        ]
        return dict.fromkeys(_TO_DEVICE, messages) if messages else {}

    async def _lists(self, conn: Connection, rows: Sequence[News]) -> dict[str, Any]:
        """Whose devices changed of those that its users share rooms with; who came there, and left.

        As in `/sync`, "or who now share an encrypted room with the client".
        """
        changed = {r.user_id for r in rows if r.kind in _OF_DEVICES and r.user_id}
        turns = turns_of(rows, self._interest)
        changed |= turns.came
        gone = turns.parted | await self._others_in(conn, turns.left)
        sharing = await self.of_interest(conn, changed | gone)
        met = await self._others_in(conn, turns.entered)
        lists = {"changed": sorted(changed & sharing | met), "left": sorted(gone - sharing - met)}
        return dict.fromkeys(_LISTS, lists) if any(lists.values()) else {}

    async def _others_in(self, conn: Connection, rooms: Collection[RoomNid]) -> set[UserID]:
        """Whoever is in these rooms and none of its users."""
        people = await device_lists.people_in(conn, rooms) if rooms else ()
        return {user for user in people if not self._interest.has_user(user)}

    async def _counts(self, conn: Connection, rows: Sequence[News]) -> dict[str, Any]:
        kinds = {Kind.ONE_TIME_KEYS, Kind.TO_DEVICE}
        users = {r.user_id for r in rows if r.kind in kinds and self._interest.has_user(r.user_id)}
        if not users:
            return {}
        devices, left = await app_services.key_counts(conn, [user for user in users if user])
        counts: dict[str, dict[str, dict[str, int]]] = {}
        unused: dict[str, dict[str, list[str]]] = {}
        for user_id, device_id in devices:
            # Bridges look for this algorithm: where it is missing they would not know of zero.
            counts.setdefault(user_id, {})[device_id] = {"signed_curve25519": 0}
            unused.setdefault(user_id, {})[device_id] = []
        for key in left:
            if key.is_fallback:
                unused[key.user_id][key.device_id].append(key.algorithm)
            else:
                counts[key.user_id][key.device_id][key.algorithm] = key.left
        return {**dict.fromkeys(_COUNTS, counts), **dict.fromkeys(_FALLBACK, unused)}


def _content(receipts: Iterable[Shown], room: RoomNid) -> dict[str, Any]:
    """The content of an `m.receipt`."""
    found: dict[str, Any] = {}
    for receipt in receipts:
        if receipt.room == room:
            data: dict[str, Any] = {"ts": receipt.ts}
            if receipt.thread != UNTHREADED:
                data["thread_id"] = receipt.thread
            readers = found.setdefault(receipt.event_id, {}).setdefault("m.read", {})
            readers[receipt.user_id] = data
    return found
