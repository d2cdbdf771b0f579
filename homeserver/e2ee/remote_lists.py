"""Device lists of people of other servers, as somebody here is told them.

From what is kept while that is fresh; else their servers are asked. Where one does not answer, its
name is among the failures, and what was known of its people is told all the same.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson

from federation.identifiers import ServerName, UserID
from homeserver.e2ee.bridges import Found
from homeserver.e2ee.fetching import AT_ONCE, Fetching, Flight
from homeserver.e2ee.listed import Listed
from homeserver.e2ee.turns import answering_first
from homeserver.storage import remote_devices
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.remote_devices import DeviceRow, Standing

Wanted = Mapping[str, Collection[str]]
"""Users with the devices that are wanted; none: all."""


class Missing(NamedTuple):
    """What has to be asked for, by server."""

    shared: dict[ServerName, Wanted]
    """Of people who share a room with somebody here."""
    unshared: dict[ServerName, dict[str, Any]]
    """Of others: nobody tells of their changes, so nothing is kept."""
    stale: dict[str, Listed]
    """What was known of the former."""


class RemoteLists:
    """Answers from what is kept.

    Args:
        process: the one that this is part of.
        fetching: fetches what is not.

    """

    def __init__(self, process: Process, fetching: Fetching) -> None:
        self._process = process
        self._fetching = fetching

    async def look_up(
        self, found: Found, by_server: Mapping[ServerName, Mapping[str, Any]]
    ) -> Missing:
        """Add the lists that are fresh to `found`; what else is wanted."""
        wanted = {user: of for users in by_server.values() for user, of in users.items()}
        name = self._process.server
        async with self._process.database.reader() as conn:
            me = (await self._process.numbers.servers.intern(conn, [name]))[name]
            standings = await remote_devices.standings(conn, wanted, me)
            known = [standing.user for standing in standings if standing.is_known]
            devices = await remote_devices.devices_of(conn, known) if known else []
            if known:
                await remote_devices.want(conn, known)
        lists = _lists(standings, devices)
        stale = {standing.user_id for standing in standings if standing.is_stale}
        for user in lists.keys() - stale:
            _show(found, user, lists[user], wanted[user])
        shared = {
            server: {user: of for user, of in users.items() if user in stale}
            for server, users in by_server.items()
        }
        unshared = {
            server: {
                user: of for user, of in users.items() if user not in lists and user not in stale
            }
            for server, users in by_server.items()
        }
        return Missing(
            {server: users for server, users in shared.items() if users},
            {server: users for server, users in unshared.items() if users},
            {user: one for user, one in lists.items() if user in stale},
        )

    async def fetch(self, found: Found, missing: Missing, seconds: float) -> set[ServerName]:
        """Add lists that are stale, as their servers tell them now; who did not answer in time."""
        flights: dict[UserID, Flight] = {}
        for server in await answering_first(self._process, missing.shared, AT_ONCE):
            named = [UserID(user) for user in missing.shared[server]]
            flights |= self._fetching.many(server, named)
        if flights:
            await asyncio.wait(set(flights.values()), timeout=seconds)
        failed = set()
        for server, users in missing.shared.items():
            for user, of in users.items():
                flight = flights[UserID(user)]
                lists = flight.result() if flight.done() and not flight.cancelled() else None
                if lists is None:
                    failed.add(server)
                told = lists[UserID(user)] if lists else missing.stale.get(user)
                if told is not None:
                    _show(found, user, told, of)
        return failed


def _lists(standings: Collection[Standing], devices: Collection[DeviceRow]) -> dict[str, Listed]:
    by_user: dict[UserNid, dict[str, bytes]] = {}
    for row in devices:
        if row.json is not None:
            by_user.setdefault(row.user, {})[row.device_id] = row.json
    return {
        s.user_id: Listed(by_user.get(s.user, {}), s.master_key, s.self_signing_key, s.stream_id)
        for s in standings
        if s.is_known
    }


def _show(found: Found, user: str, listed: Listed, devices: Collection[str]) -> None:
    found["device_keys"][user] = {
        device_id: orjson.loads(raw)
        for device_id, raw in listed.devices.items()
        if not devices or device_id in devices
    }
    for section, raw in (
        ("master_keys", listed.master_key),
        ("self_signing_keys", listed.self_signing_key),
    ):
        if raw is not None:
            found[section][user] = orjson.loads(raw)
