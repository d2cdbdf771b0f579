"""Fetching device lists of people of other servers, each once however many wait for it.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

from federation.errors import FederationError, HttpError
from federation.identifiers import ServerName, UserID
from homeserver.e2ee.listed import Listed, from_devices, from_query
from homeserver.e2ee.peers import KeyPeers
from homeserver.ending import end
from homeserver.logs import get_logger
from homeserver.storage import device_lists, remote_devices
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.remote_devices import DeviceRow, Fetched

log = get_logger(__name__)

SECONDS = 60.0
"""That a server has to answer."""
AT_ONCE = 100
"""Requests that are under way."""
_TOGETHER = 250
"""Users of a server in one request."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5_000, 600_000
"""Milliseconds for which the lists of a server are left alone that does not tell them."""
_AGAIN = 10_000
"""Milliseconds after which a list is fetched again that changed while it was fetched."""

Lists = Mapping[UserID, Listed]
Flight = asyncio.Task[Lists | None]
"""What becomes of a request; `None`: there is no answer."""


class Fetching:
    """Fetches them, and keeps what comes.

    Args:
        process: the one that this is part of.
        peers: who are asked.

    """

    def __init__(self, process: Process, peers: KeyPeers) -> None:
        self._process = process
        self._peers = peers
        self._flights: dict[UserID, Flight] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def many(
        self, server: ServerName, users: Collection[UserID], *, wanted: bool = True
    ) -> dict[UserID, Flight]:
        """Ask for the lists of some users of a server, together.

        What is told so has no place in the sequence of updates: after the next one it is stale.

        Args:
            server: theirs.
            users: who share a room with somebody here.
            wanted: whether a client waits for it.

        """
        found = {user: self._flights[user] for user in users if user in self._flights}
        missing = [user for user in users if user not in found]
        for some in _pieces(missing):

            async def ask(some: Sequence[UserID] = some) -> Lists:
                answer = await self._peers.query_keys(server, {user: [] for user in some})
                return {user: from_query(answer, user) for user in some}

            flight = asyncio.create_task(self._fly(server, some, ask, wanted=wanted))
            found |= dict.fromkeys(some, flight)
            self._flights |= dict.fromkeys(some, flight)
        return found

    def one(self, server: ServerName, user: UserID) -> Flight:
        """Ask for the list of one user, so that updates can be put into it later."""

        async def ask() -> Lists:
            try:
                return {user: from_devices(await self._peers.user_devices(server, user))}
            except HttpError as error:
                if not 400 <= error.status < 500:
                    raise
            answer = await self._peers.query_keys(server, {user: []})
            return {user: from_query(answer, user)}

        flight = self._flights.get(user)
        if flight is None:
            flight = asyncio.create_task(self._fly(server, [user], ask, wanted=False))
            self._flights[user] = flight
        return flight

    async def close(self) -> None:
        """End what is under way."""
        await end(*self._flights.values())

    async def _fly(
        self,
        server: ServerName,
        users: Sequence[UserID],
        ask: Callable[[], Awaitable[Lists]],
        *,
        wanted: bool,
    ) -> Lists | None:
        try:
            async with self._slots:
                numbers, changes = await self._begin(server, users)
                try:
                    async with asyncio.timeout(SECONDS):
                        lists = await ask()
                except (FederationError, TimeoutError) as error:
                    log.debug("device lists cannot be had", server=server, reason=str(error))
                    await self._put_off(server, numbers.values())
                    return None
                await self._keep(numbers, changes, lists, wanted=wanted)
                return lists
        finally:
            for user in users:
                del self._flights[user]

    async def _begin(
        self, server: ServerName, users: Sequence[UserID]
    ) -> tuple[dict[UserID, UserNid], dict[UserNid, int]]:
        async with self._process.database.reader() as conn:
            nid = (await self._process.numbers.servers.intern(conn, [server]))[server]
            found = await self._process.numbers.users.intern(conn, users)
            numbers = {user: found[user] for user in users}
            return numbers, await remote_devices.begin(conn, numbers.values(), nid)

    async def _keep(
        self,
        numbers: Mapping[UserID, UserNid],
        changes: Mapping[UserNid, int],
        lists: Lists,
        *,
        wanted: bool,
    ) -> None:
        fetched, devices = [], []
        for user_id, one in lists.items():
            user = numbers[user_id]
            fetched.append(
                Fetched(user, changes[user], one.stream_id, one.master_key, one.self_signing_key)
            )
            devices += [DeviceRow(user, device_id, raw) for device_id, raw in one.devices.items()]
        again = self._process.now() + _AGAIN
        async with self._process.database.reader() as conn:
            failed = await remote_devices.store(
                conn, fetched, devices, wanted=wanted, again_ts=again
            )
            # Somebody may have been told that these cannot be had.
            if failed:
                self._process.committed(await device_lists.touch(conn, failed))

    async def _put_off(self, server: ServerName, users: Collection[UserNid]) -> None:
        async with self._process.database.reader() as conn:
            nid = (await self._process.numbers.servers.intern(conn, [server]))[server]
            now, pauses = self._process.now(), (_FIRST_PAUSE, _LONGEST_PAUSE)
            await remote_devices.put_off(conn, nid, users, now, pauses)


def _pieces(users: Sequence[UserID]) -> Iterator[Sequence[UserID]]:
    for start in range(0, len(users), _TOGETHER):
        yield users[start : start + _TOGETHER]
