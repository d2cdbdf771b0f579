"""Keys that bridges keep themselves, for the users that are theirs alone.

MSC3983: Sending One-Time Key (OTK) claims to appservices.
MSC3984: Sending key queries to appservices.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from homeserver.accounts.app_services import AppService, AppServices
from homeserver.appservices.bridges import Bridges
from homeserver.errors import MatrixError

_SECONDS = 5.0
"""How long a bridge may take; whoever wants keys waits for it."""
_QUERY = ("_matrix", "app", "unstable", "org.matrix.msc3984", "keys", "query")
_CLAIM = ("_matrix", "app", "unstable", "org.matrix.msc3983", "keys", "claim")
_UNKNOWN = frozenset({404, 405, 501})
_KNOWS_NOTHING = 3600.0
_DOES_NOT_ANSWER = 10.0
"""Seconds for which a bridge is not asked the same again: "homeservers can back off"."""


class BridgeKeys:
    """See `e2ee.bridges.KeyBridges`."""

    def __init__(self, services: AppServices, bridges: Bridges) -> None:
        self._services = services
        self._bridges = bridges
        self._not_before: dict[tuple[AppService, tuple[str, ...]], float] = {}
        services.on_change(self._not_before.clear)

    def has(self, user_id: str) -> bool:
        """Whether a bridge may keep the keys of this user."""
        return self._services.owner(user_id) is not None

    async def query_keys(self, wanted: Mapping[str, list[str]]) -> list[Mapping[str, Any]]:
        """Ask each bridge for the keys of its users; the bodies of their answers."""
        return await self._ask(_QUERY, wanted)

    async def claim_keys(
        self, wanted: Mapping[str, Mapping[str, list[str]]]
    ) -> list[Mapping[str, Any]]:
        """Ask each bridge for one-time keys of its users; the bodies of their answers."""
        return await self._ask(_CLAIM, wanted)

    async def _ask(
        self, path: tuple[str, ...], wanted: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        by_service = self._by_service(wanted)
        return await asyncio.gather(
            *(self._ask_one(service, path, of) for service, of in by_service.items())
        )

    async def _ask_one(
        self, service: AppService, path: tuple[str, ...], wanted: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What a bridge answers; nothing if it does not, or answered lately that it cannot."""
        now = asyncio.get_running_loop().time()
        if now < self._not_before.get((service, path), 0.0):
            return {}
        try:
            answer = await self._bridges.ask(
                service, "POST", path, orjson.dumps(wanted), seconds=_SECONDS
            )
        except MatrixError:
            self._not_before[service, path] = now + _DOES_NOT_ANSWER
            return {}
        if answer.status in _UNKNOWN:
            self._not_before[service, path] = now + _KNOWS_NOTHING
        found = answer.json if answer.is_success else None
        return found if isinstance(found, dict) else {}

    def _by_service(self, users: Mapping[str, Any]) -> dict[AppService, dict[str, Any]]:
        found: dict[AppService, dict[str, Any]] = {}
        for user_id, service in self._owners(users):
            found.setdefault(service, {})[user_id] = users[user_id]
        return found

    def _owners(self, users: Iterable[str]) -> Iterable[tuple[str, AppService]]:
        for user_id in users:
            service = self._services.owner(user_id)
            if service is not None and service.url is not None:
                yield user_id, service
