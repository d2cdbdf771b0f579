"""What other servers tell of the devices of their people.

An update that follows on what is known goes into the list; after any other, the list is stale. A
stale list is told of once: that more came is noted, and costs nothing else.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from federation.identifiers import ServerName, UserID, domain_of, is_user_id
from homeserver.e2ee.listed import MOST_DEVICES, is_fit, named, packed
from homeserver.storage import device_lists, remote_devices
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.remote_devices import DeviceRow, Move, Standing

_SOON = 2000
"""Milliseconds after which a list that became stale is fetched: until then, more may come."""
_MOST_BEFORE = 100


class Update(NamedTuple):
    """An `m.device_list_update` of a device."""

    device_id: str
    stream_id: int
    prev_ids: frozenset[int]
    keys: bytes | None
    """As JSON; `None`: it is gone."""


class SigningKeys(NamedTuple):
    """An `m.signing_key_update`; `None`: it says nothing of that key."""

    master: bytes | None
    self_signing: bytes | None


class Told(NamedTuple):
    """An EDU, and whom it says it is about."""

    user_id: object
    what: Update | SigningKeys | None
    """`None`: something of which nothing can be made."""


class Step(NamedTuple):
    """What updates make of a list."""

    move: Move
    devices: tuple[DeviceRow, ...]
    is_news: bool


class RemoteUpdates:
    """Takes them."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def receive(self, origin: ServerName, edus: Iterable[Told]) -> None:
        """Take all EDUs of a transaction, in their order.

        Those of people of other servers, or with whom nobody here shares a room, are left out.
        """
        told: dict[UserID, list[Update | SigningKeys | None]] = {}
        for user, what in edus:
            if is_user_id(user) and domain_of(str(user)) == origin:
                told.setdefault(UserID(str(user)), []).append(what)
        if not told:
            return
        async with self._process.database.reader() as conn:
            names = [origin, self._process.server]
            servers = await self._process.numbers.servers.find(conn, names)
            if len(servers) < len(names):
                return  # one of them was never in a room
            me = servers[self._process.server]
            standings = await remote_devices.standings(conn, told, me)
            steps = {s.user: follow(s, told[s.user_id]) for s in standings}
            changed = await self._apply(conn, [step for step in steps.values() if step])
            doubtful = steps.keys() - changed.keys()
            if doubtful:
                next_ts = self._process.now() + _SOON
                newly = await remote_devices.mark_stale(conn, doubtful, servers[origin], next_ts)
                changed |= dict.fromkeys(newly, True)
            news = [user for user, is_news in changed.items() if is_news]
            if news:
                self._process.committed(await device_lists.touch(conn, news))

    async def _apply(self, conn: Any, steps: Sequence[Step]) -> dict[UserNid, bool]:
        """Whose lists moved on, and whether there is anything new in them."""
        moving = [step for step in steps if step.is_news]
        done = {step.move.user: False for step in steps if not step.is_news}
        if moving:
            devices = [row for step in moving for row in step.devices]
            moves = [step.move for step in moving]
            moved = await remote_devices.apply(conn, moves, devices, MOST_DEVICES)
            done |= dict.fromkeys(moved, True)
        return done


def signing_keys(content: Mapping[str, Any]) -> Told:
    """An `m.signing_key_update`, whatever is in it."""
    master, self_signing = content.get("master_key"), content.get("self_signing_key")
    return Told(content.get("user_id"), SigningKeys(packed(master), packed(self_signing)))


def device_update(content: Mapping[str, Any]) -> Told:
    """An `m.device_list_update`, whatever is in it."""
    return Told(content.get("user_id"), _update(content))


def _update(content: Mapping[str, Any]) -> Update | None:
    device_id, stream_id = content.get("device_id"), content.get("stream_id")
    before, keys = content.get("prev_id"), content.get("keys")
    if not isinstance(device_id, str) or not is_fit(device_id) or not _is_position(stream_id):
        return None
    if not isinstance(before, list) or not before or len(before) > _MOST_BEFORE:
        return None
    if not all(map(_is_position, before)):
        return None
    gone = content.get("deleted") is True
    raw = None if gone else packed(named(keys, content.get("device_display_name")))
    if raw is None and not gone:
        return None
    return Update(device_id, int(stream_id or 0), frozenset(before), raw)


def follow(known: Standing, told: Iterable[Update | SigningKeys | None]) -> Step | None:
    """What these updates make of a list; `None`: they do not follow on it."""
    if not known.is_known or known.is_stale:
        return None
    at, seen = known.stream_id, {known.stream_id}
    devices: dict[str, bytes | None] = {}
    master, self_signing = known.master_key, known.self_signing_key
    for one in told:
        if one is None:
            return None
        if isinstance(one, SigningKeys):
            master, self_signing = one.master or master, one.self_signing or self_signing
        elif one.stream_id == at:
            continue  # heard before
        elif not seen.issuperset(one.prev_ids):
            return None
        else:
            devices[one.device_id] = one.keys
            at = one.stream_id
            seen.add(at)
    rows = tuple(DeviceRow(known.user, device_id, raw) for device_id, raw in devices.items())
    is_news = bool(rows) or (master, self_signing) != (known.master_key, known.self_signing_key)
    return Step(Move(known.user, known.stream_id, at, master, self_signing), rows, is_news)


def _is_position(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63
