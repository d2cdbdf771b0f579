"""Keys that are asked for: of devices, of people, and one-time keys.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

import orjson

from federation.errors import FederationError
from federation.identifiers import ServerName, UserID, domain_of
from homeserver.e2ee.bridges import Found, KeyBridges, merge_claims, merge_keys
from homeserver.e2ee.peers import KeyPeers
from homeserver.e2ee.remote_lists import RemoteLists
from homeserver.e2ee.turns import answering_first
from homeserver.storage import cross_signing, device_keys
from homeserver.storage.cross_signing import SignatureRow
from homeserver.storage.device_keys import Claim, Claimed
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

DEFAULT_TIMEOUT = 10.0
LONGEST_TIMEOUT = 60.0
"""Seconds that other servers have to answer."""
_MOST_ASKED = 50
"""Servers that are asked at the same time for what somebody wants to know."""

_NO_ANSWER = {
    "errcode": "M_UNREACHABLE",
    "error": "the server does not answer",
    "status": 503,
    "message": "the server does not answer",
}


class Queries:
    """Answers what others' keys are."""

    def __init__(
        self, process: Process, peers: KeyPeers, bridges: KeyBridges, remote: RemoteLists
    ) -> None:
        self._process = process
        self._remote = remote
        self._peers = peers
        self._bridges = bridges

    async def query(
        self, reader: UserNid, reader_id: UserID, wanted: Mapping[str, list[str]], seconds: float
    ) -> Found:
        """Keys of users of any server, as somebody of ours gets them.

        Args:
            reader: who asks.
            reader_id: the same.
            wanted: users with the devices that are wanted; none: all.
            seconds: for other servers.

        """
        by_server = _by_server(wanted)
        ours = by_server.pop(self._process.server, {})
        found = await self.local(ours, reader, reader_id)
        found["failures"] = {}
        if by_server:
            missing = await self._remote.look_up(found, by_server)
            failed, _ = await asyncio.gather(
                self._remote.fetch(found, missing, seconds),
                self._ask(
                    missing.unshared,
                    seconds,
                    found["failures"],
                    self._peers.query_keys,
                    lambda server, answer: _merge_remote(found, server, answer, by_server[server]),
                ),
            )
            found["failures"] |= {server: dict(_NO_ANSWER) for server in failed}
            await self._add_own_signatures(found, reader, by_server)
        return found

    async def local(
        self,
        wanted: Mapping[str, list[str]],
        reader: UserNid | None = None,
        reader_id: UserID | None = None,
    ) -> Found:
        """Keys of users of this server; `reader` is `None` for another server."""
        found: Found = {"device_keys": {}, "master_keys": {}, "self_signing_keys": {}}
        if reader is not None:
            found |= {"user_signing_keys": {}, "device_keys": {user: {} for user in wanted}}
        if not wanted:
            return found
        async with self._process.database.reader() as conn:
            devices = await device_keys.devices_of(conn, wanted)
            keys = await cross_signing.find(conn, wanted)
            signatures = await cross_signing.signatures(conn, wanted, reader)
        for device in devices:
            if wanted[device.user_id] and device.device_id not in wanted[device.user_id]:
                continue
            shown = orjson.loads(device.json)
            # "other users see no device display name"
            if device.user == reader and device.display_name is not None:
                shown["unsigned"] = {"device_display_name": device.display_name}
            found["device_keys"].setdefault(device.user_id, {})[device.device_id] = shown
        for user_id, usage, raw in keys:
            # "user_signing_keys: [...] only for the user themselves"
            if usage != "user_signing" or user_id == reader_id:
                found[f"{usage}_keys"][user_id] = orjson.loads(raw)
        bridged = {user: of for user, of in wanted.items() if self._bridges.has(user)}
        if bridged:
            merge_keys(found, await self._bridges.query_keys(bridged), bridged, reader_id)
        _add_signatures(found, signatures)
        return found

    async def claim(
        self, wanted: Mapping[str, Mapping[str, str]], seconds: float
    ) -> dict[str, Any]:
        """One-time keys of devices of any server.

        https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
        """
        by_server = _by_server(wanted)
        found: dict[str, Any] = {
            "one_time_keys": await self.claim_local(by_server.pop(self._process.server, {})),
            "failures": {},
        }
        if by_server:
            await self._ask(
                by_server,
                seconds,
                found["failures"],
                self._peers.claim_keys,
                lambda server, answer: _merge_remote_claims(found, answer, by_server[server]),
            )
        return found

    async def claim_local(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """One-time keys of devices of this server."""
        claims = [
            Claim(user, device, algorithm)
            for user, devices in wanted.items()
            for device, algorithm in devices.items()
            if "\0" not in user + device + algorithm  # of none there could be a key here
        ]
        found: dict[str, Any] = {}
        if not claims:
            return found
        async with self._process.database.reader() as conn:
            claimed, missing = await device_keys.claim(conn, claims)
        _add_claimed(found, claimed)
        missing = await self._claim_bridged(found, missing)
        if missing:
            async with self._process.database.reader() as conn:
                _add_claimed(found, await device_keys.claim_fallback(conn, missing))
        return found

    async def _claim_bridged(self, found: Found, claims: list[Claim]) -> list[Claim]:
        """Ask bridges for keys of users who have none left here; what is still wanted."""
        wanted: dict[str, dict[str, list[str]]] = {}
        for claim in claims:
            if self._bridges.has(claim.user_id):
                wanted.setdefault(claim.user_id, {})[claim.device_id] = [claim.algorithm]
        answers = await self._bridges.claim_keys(wanted) if wanted else ()
        return merge_claims(found, answers, claims) if answers else claims

    async def _ask(
        self,
        wanted: Mapping[ServerName, Mapping[str, Any]],
        seconds: float,
        failures: dict[str, Any],
        ask: Callable[[ServerName, Any], Awaitable[Mapping[str, Any]]],
        take: Callable[[ServerName, Mapping[str, Any]], None],
    ) -> None:
        """Ask many servers at once; those that do not answer in time are failures."""
        slots = asyncio.Semaphore(_MOST_ASKED)

        async def one(server: ServerName) -> None:
            try:
                async with asyncio.timeout(seconds), slots:
                    take(server, await ask(server, wanted[server]))
            except (FederationError, TimeoutError):
                failures[server] = dict(_NO_ANSWER)

        in_order = await answering_first(self._process, wanted, _MOST_ASKED)
        await asyncio.gather(*map(one, in_order))

    async def _add_own_signatures(
        self, found: Found, reader: UserNid, by_server: Mapping[ServerName, Iterable[str]]
    ) -> None:
        """What the reader signed of people elsewhere, only we know."""
        users = [user for named in by_server.values() for user in named]
        async with self._process.database.reader() as conn:
            _add_signatures(found, await cross_signing.signatures(conn, users, reader))


def _add_claimed(found: Found, claimed: Iterable[Claimed]) -> None:
    for key in claimed:
        devices = found.setdefault(key.user_id, {})
        devices[key.device_id] = {f"{key.algorithm}:{key.key_id}": orjson.loads(key.json)}


def _by_server(wanted: Mapping[str, Any]) -> dict[ServerName, dict[str, Any]]:
    found: dict[ServerName, dict[str, Any]] = {}
    for user, what in wanted.items():
        found.setdefault(domain_of(user), {})[user] = what
    return found


def _merge_remote(
    found: Found, server: ServerName, answer: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Take what a server says of its own users, and of nobody else."""
    for section in ("device_keys", "master_keys", "self_signing_keys"):
        said = answer.get(section)
        for user, keys in said.items() if isinstance(said, dict) else ():
            if user in wanted and domain_of(user) == server and isinstance(keys, dict):
                found[section][user] = keys


def _merge_remote_claims(
    found: Mapping[str, Any], answer: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    said = answer.get("one_time_keys")
    for user, keys in said.items() if isinstance(said, dict) else ():
        if user in wanted and isinstance(keys, dict):
            found["one_time_keys"][user] = keys


def _add_signatures(found: Found, signatures: Collection[SignatureRow]) -> None:
    for row in signatures:
        for key in _named(found, row.target_id, row.target):
            by_signer = key.setdefault("signatures", {}).setdefault(row.signer_id, {})
            by_signer[row.key_id] = row.signature


def _named(found: Found, user: str, target: str) -> Iterable[dict[str, Any]]:
    """The keys that a signature may be on: a device, or the key with these bytes."""
    device = found["device_keys"].get(user, {}).get(target)
    if isinstance(device, dict):
        yield device
    for section in ("master_keys", "self_signing_keys", "user_signing_keys"):
        key = found.get(section, {}).get(user)
        if isinstance(key, dict) and target in dict(key.get("keys") or {}).values():
            yield key
