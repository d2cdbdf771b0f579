"""Networks that application services bridge: which there are, and who and what is on them.

https://spec.matrix.org/v1.19/application-service-api/#third-party-networks
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.accounts.app_services import AppService, AppServices
from homeserver.appservices.bridges import Bridges
from homeserver.errors import MatrixError, NotFound

_SECONDS = 10.0
_BASE = ("_matrix", "app", "v1", "thirdparty")
_LEGACY = ("_matrix", "app", "unstable", "thirdparty")


class ThirdParties:
    """Asks those who bridge a network, all at once; who does not answer adds nothing."""

    def __init__(self, services: AppServices, bridges: Bridges) -> None:
        self._services = services
        self._bridges = bridges

    async def protocols(self) -> dict[str, Any]:
        """All protocols of which something is known, by name."""
        names = sorted({name for service in self._services for name in service.protocols})
        found = await asyncio.gather(*map(self._protocol, names))
        return {name: one for name, one in zip(names, found, strict=True) if one is not None}

    async def protocol(self, name: str) -> dict[str, Any]:
        """One protocol, with the instances of all who bridge it, or raise `NotFound`."""
        found = await self._protocol(name)
        if found is None:
            raise NotFound("nobody here bridges this protocol")
        return found

    async def look_up(self, kind: str, protocol: str, fields: Mapping[str, str]) -> list[Any]:
        """Locations or users of a protocol; `kind` is `location` or `user`."""
        return await self._lists(self._bridging(protocol), (kind, protocol), fields)

    async def look_back(self, kind: str, fields: Mapping[str, str]) -> list[Any]:
        """What an alias or a user here is elsewhere."""
        return await self._lists(self._services, (kind,), fields)

    def _bridging(self, protocol: str) -> list[AppService]:
        found = [service for service in self._services if protocol in service.protocols]
        if not found:
            raise NotFound("nobody here bridges this protocol")
        return found

    async def _protocol(self, name: str) -> dict[str, Any] | None:
        services = [service for service in self._services if name in service.protocols]
        told = [
            (service, answer)
            for service, answer in await self._ask(services, ("protocol", name), {})
            if isinstance(answer, dict)
        ]
        if not told:
            return None
        instances = [
            {**instance, "instance_id": service.instance_id(str(instance.get("network_id")))}
            for service, answer in told
            if isinstance(answer.get("instances"), list)
            for instance in answer["instances"]
            if isinstance(instance, dict)
        ]
        return {**told[0][1], "instances": instances}

    async def _lists(
        self, services: Iterable[AppService], path: Sequence[str], fields: Mapping[str, str]
    ) -> list[Any]:
        answers = await self._ask(services, path, fields)
        return [one for _, answer in answers if isinstance(answer, list) for one in answer]

    async def _ask(
        self, services: Iterable[AppService], path: Sequence[str], fields: Mapping[str, str]
    ) -> list[tuple[AppService, Any]]:
        async def ask(service: AppService) -> tuple[AppService, Any]:
            try:
                answer = await self._bridges.ask(
                    service,
                    "GET",
                    (*_BASE, *path),
                    seconds=_SECONDS,
                    query=fields,
                    legacy=(*_LEGACY, *path),
                )
            except MatrixError:
                return service, None
            return service, answer.json if answer.is_success else None

        return await asyncio.gather(*(ask(service) for service in services if service.url))
