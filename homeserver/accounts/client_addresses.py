"""From which addresses people use the server, as far as the settings want that to be known.

In memory it is known for ten minutes after a request; a client that waits for news asks more
often. Each worker knows what came to it, and the others ask. On the disk it stays for four weeks,
or as long as the device.
"""

import asyncio
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from homeserver.storage import device_addresses
from homeserver.storage.bus import Bus, Message
from homeserver.storage.device_addresses import Seen
from homeserver.storage.process import DAY, Process
from homeserver.storage.tokens import DeviceNid

Mode = Literal["none", "memory", "stored"]

_ASK, _ANSWER = "whose address", "the address"
_OFTEN = 60_000
"""Milliseconds in which one request of a device is looked at."""
_LIVES = 600_000
"""Milliseconds for which it is known in memory."""
_KEPT = 28 * DAY
_MOST_DEVICES = 100_000
_MOST_ADDRESSES = 10
"""Of one device, in memory."""
_WAIT = 0.5
"""Seconds for what the other workers know."""
_FLUSH = 5.0
"""Seconds between two writes."""


class ClientAddresses:
    """Notes addresses, and tells them. `run` has to run where they are stored.

    Args:
        process: the one that this is part of.
        bus: asks the other workers.
        mode: the setting `privacy.client_addresses`.
        others: so many other workers there are.

    """

    def __init__(self, process: Process, bus: Bus, mode: Mode, others: int) -> None:
        self._process = process
        self._bus = bus
        self._mode = mode
        self._others = others
        self._noted: OrderedDict[DeviceNid, int] = OrderedDict()
        """When it was last looked at each, the longest ago first."""
        self._known: dict[DeviceNid, dict[str, int]] = {}
        self._unwritten: dict[tuple[DeviceNid, str], int] = {}
        self._answers: dict[str, asyncio.Queue[Message]] = {}
        bus.hear(_ASK, self._hear_question)
        bus.hear(_ANSWER, self._hear_answer)

    def wants(self, device: DeviceNid) -> bool:
        """Whether it is to be noted from where a device asks now."""
        if self._mode == "none":
            return False
        return self._noted.get(device, 0) <= self._process.now() - _OFTEN

    def note(self, device: DeviceNid, address: str) -> None:
        """Note from where a device asks."""
        now = self._process.now()
        self._noted[device] = now
        self._noted.move_to_end(device)
        known = self._known.setdefault(device, {})
        known.pop(address, None)
        known[address] = now
        if len(known) > _MOST_ADDRESSES:
            del known[next(iter(known))]
        if self._mode == "stored":
            self._unwritten[(device, address)] = now
        self._forget(now)

    async def of(self, devices: Collection[DeviceNid]) -> Mapping[DeviceNid, list[Seen]]:
        """From where devices were used, the latest first."""
        if self._mode == "none":
            return {}
        if self._mode == "stored":
            return _sorted([*await self._read(devices), *self._remembered(devices)])
        return _sorted([*self._remembered(devices), *await self._told(devices)])

    async def latest(self, devices: Collection[DeviceNid]) -> Mapping[DeviceNid, str]:
        """From where devices were used last, where that is stored."""
        if self._mode != "stored":
            return {}
        return {device: seen[0].address for device, seen in (await self.of(devices)).items()}

    async def run(self) -> None:
        """Write what is to be stored, some at a time."""
        while True:
            await asyncio.sleep(_FLUSH)
            await self.flush()

    async def flush(self) -> None:
        """Write what was not written yet."""
        unwritten, self._unwritten = self._unwritten, {}
        if unwritten:
            rows = [Seen(*which, ts) for which, ts in unwritten.items()]
            async with self._process.database.reader() as conn:
                await device_addresses.note(conn, rows)

    async def clean(self) -> None:
        """Forget what is old, and all where nothing is to be stored any more."""
        now = self._process.now()
        before = now - _KEPT if self._mode == "stored" else now + DAY
        async with self._process.database.reader() as conn:
            await device_addresses.forget(conn, before)

    def _forget(self, now: int) -> None:
        while self._noted:
            device, ts = next(iter(self._noted.items()))
            if ts > now - _LIVES and len(self._noted) <= _MOST_DEVICES:
                return
            del self._noted[device]
            self._known.pop(device, None)

    def _remembered(self, devices: Iterable[DeviceNid]) -> list[Seen]:
        oldest = self._process.now() - _LIVES
        return [
            Seen(device, address, ts)
            for device in devices
            for address, ts in reversed(self._known.get(device, {}).items())
            if ts > oldest
        ]

    async def _read(self, devices: Collection[DeviceNid]) -> list[Seen]:
        async with self._process.database.reader() as conn:
            return await device_addresses.read(conn, devices)

    async def _told(self, devices: Collection[DeviceNid]) -> list[Seen]:
        """What the other workers remember."""
        if not self._others:
            return []
        question = secrets.token_hex(8)
        answers = self._answers[question] = asyncio.Queue()
        found: list[Seen] = []
        try:
            self._bus.tell(_ASK, {"id": question, "devices": list(devices)})
            async with asyncio.timeout(_WAIT):
                for _ in range(self._others):
                    found += [Seen(*row) for row in (await answers.get())["seen"]]
        except TimeoutError:
            pass  # a worker that is just starting, say
        finally:
            del self._answers[question]
        return found

    def _hear_question(self, message: Message) -> None:
        # Our own is heard by us as well.
        if message["id"] not in self._answers:
            seen = [list(one) for one in self._remembered(message["devices"])]
            self._bus.tell(_ANSWER, {"id": message["id"], "seen": seen})

    def _hear_answer(self, message: Message) -> None:
        answers = self._answers.get(message["id"])
        if answers is not None:
            answers.put_nowait(message)


def _sorted(found: Iterable[Seen]) -> Mapping[DeviceNid, list[Seen]]:
    latest: dict[tuple[DeviceNid, str], int] = {}
    for device, address, ts in found:
        latest[(device, address)] = max(ts, latest.get((device, address), 0))
    by_device: defaultdict[DeviceNid, list[Seen]] = defaultdict(list)
    for (device, address), ts in sorted(latest.items(), key=lambda one: -one[1]):
        by_device[device].append(Seen(device, address, ts))
    return by_device
