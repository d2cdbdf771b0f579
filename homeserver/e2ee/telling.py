"""Telling other servers that somebody's devices changed.

Each user has one sequence of updates, told to whoever shares a room with them at the time; each
update names the one before it. Who missed one sees that, and asks for the whole list.

https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from federation.identifiers import UserID
from homeserver.e2ee.bridges import Found
from homeserver.e2ee.queries import Queries
from homeserver.storage import device_updates
from homeserver.storage.device_updates import Change, Told
from homeserver.storage.holding import Lost
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.outgoing import Edu, queue_edus
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

_SIGNING_KINDS = ("m.signing_key_update", "org.matrix.signing_key_update")
_LIST_KIND = "m.device_list_update"
_AT_ONCE = 200
"""People of whom a server that was away is told together."""


class Telling:
    """Queues what other servers are told."""

    def __init__(self, process: Process, queries: Queries) -> None:
        self._process = process
        self._queries = queries

    async def tell(self, changes: Sequence[Change], joins: Sequence[Change]) -> None:
        """Tell of changes of people here; what was told of before is not told again.

        Args:
            changes: of their devices and keys, by position.
            joins: to rooms whose servers may not know of their devices.

        """
        names = {c.user: c.user_id for c in [*changes, *joins] if c.user and c.user_id}
        if not names:
            return
        async with self._process.database.reader() as conn:
            told = await device_updates.told(conn, names)
            new = {
                (c.user, c.device_id): c
                for c in changes
                if c.user and c.device_id and c.pos > _last(told, c.user)
            }
            signing = {c.user for c in changes if c.user and _is_of_signing_keys(c)}
            met = [(c.user, c.room, c.pos) for c in joins if c.user in told and c.room]
        if not new and not signing and not met:
            return
        # This reads by itself, and may ask a bridge.
        shown = await self._queries.local({user_id: [] for user_id in names.values()})
        chains = _chains(told, [c for c in sorted(new.values()) if c.user])
        async with self._process.database.reader() as conn:
            edus = await self._edus(conn, names, chains, signing, shown)
            edus += await self._introductions(conn, names, chains, met, shown)
            self._process.committed(await queue_edus(conn, edus))
            gone = [c.item for c in changes if c.kind == Kind.DEVICE_GONE and c.item]
            latest = [(user, chain[-1]) for user, chain in chains.items() if chain]
            await device_updates.note(conn, latest, gone)

    async def _edus(
        self,
        conn: Connection,
        names: Mapping[UserNid, UserID],
        chains: Mapping[UserNid, Sequence[Told]],
        signing: set[UserNid],
        shown: Found,
    ) -> list[tuple[ServerNid, Edu]]:
        """What those are told who share rooms with people whose devices or keys changed."""
        servers = await device_updates.servers_sharing(conn, names, await self._me(conn))
        lacking = await device_updates.lacking(conn)
        told: list[tuple[ServerNid, Edu]] = []
        for user, chain in chains.items():
            edus = [_update(names[user], one, shown) for one in chain]
            told += [(s, edu) for s in servers.get(user, ()) if s not in lacking for edu in edus]
        for user in signing:
            edus = _signing_updates(names[user], shown)
            told += [(server, edu) for server in servers.get(user, ()) for edu in edus]
        return told

    async def _introductions(
        self,
        conn: Connection,
        names: Mapping[UserNid, UserID],
        chains: Mapping[UserNid, Sequence[Told]],
        joins: Sequence[tuple[UserNid, RoomNid, int]],
        shown: Found,
    ) -> list[tuple[ServerNid, Edu]]:
        """The last update for servers that somebody met: who lacks what is before it, sees that."""
        if not joins:
            return []
        met = await device_updates.servers_met(conn, joins, await self._me(conn))
        told = await device_updates.told(conn, met)
        lacking = await device_updates.lacking(conn)
        return [
            (server, _update(names[user], told[user], shown))
            for user, servers in met.items()
            if not chains.get(user)
            for server in servers
            if server not in lacking
        ]

    async def catch_up(self, holder: str) -> None:
        """Tell servers that were away the last update of whoever changed meanwhile.

        It names the one before it: who lacks that asks for the whole list. `holder` is who has the
        duty to follow devices; `Lost` is raised once they have it no more.
        """
        async with self._process.database.reader() as conn:
            returned = await device_updates.returned(conn)
        for server, behind in returned:
            await self._catch_up(server, behind, holder)

    async def _catch_up(self, server: ServerNid, behind: int, holder: str) -> None:
        after: UserNid | None = UserNid(0)
        while after is not None:
            after = await self._tell_some(server, behind, after)
        async with self._process.database.reader() as conn:
            is_ours = await device_updates.catch_up(conn, server, behind, holder)
        if not is_ours:
            raise Lost

    async def _tell_some(self, server: ServerNid, behind: int, after: UserNid) -> UserNid | None:
        """Tell a server of the next of those whom it missed; the last of them, if there are any."""
        async with self._process.database.reader() as conn:
            missed = await device_updates.missed(conn, server, behind, after, _AT_ONCE)
        if not missed:
            return None
        shown = await self._queries.local({user_id: [] for user_id, _ in missed.values()})
        edus = [(server, _update(user, told, shown)) for user, told in missed.values()]
        async with self._process.database.reader() as conn:
            self._process.committed(await queue_edus(conn, edus))
        return max(missed)

    async def _me(self, conn: Connection) -> ServerNid:
        name = self._process.server
        return (await self._process.numbers.servers.intern(conn, [name]))[name]


def _last(told: Mapping[UserNid, Told], user: UserNid) -> int:
    return told[user].stream_id if user in told else 0


def _is_of_signing_keys(change: Change) -> bool:
    return change.kind == Kind.DEVICE_KEYS and change.item is None


def _chains(told: Mapping[UserNid, Told], changes: Sequence[Change]) -> dict[UserNid, list[Told]]:
    """The new updates of each user, each with the one before it."""
    found: dict[UserNid, list[Told]] = {}
    for change in changes:
        if change.user is None or change.device_id is None:
            continue
        chain = found.setdefault(change.user, [])
        before = chain[-1] if chain else told.get(change.user)
        prev_id = before.stream_id if before else None
        chain.append(Told(change.pos, prev_id, change.device_id))
    return found


def _update(user_id: UserID, told: Told, shown: Found) -> Edu:
    """What is said of a device: its keys as they are now, or that it is gone."""
    content: dict[str, Any] = {
        "user_id": user_id,
        "device_id": told.device_id,
        "stream_id": told.stream_id,
        "prev_id": [] if told.prev_id is None else [told.prev_id],
    }
    keys = shown["device_keys"].get(user_id, {}).get(told.device_id)
    content |= {"deleted": True} if keys is None else {"keys": keys}
    return Edu(_LIST_KIND, orjson.dumps(content), f"{user_id} {told.device_id}")


def _signing_updates(user_id: UserID, shown: Found) -> list[Edu]:
    content: dict[str, Any] = {"user_id": user_id}
    for usage in ("master", "self_signing"):
        if user_id in shown[f"{usage}_keys"]:
            content[f"{usage}_key"] = shown[f"{usage}_keys"][user_id]
    return [Edu(kind, orjson.dumps(content), user_id) for kind in _SIGNING_KINDS]
