"""Asking application services for users and rooms that somebody names and nobody knows yet.

https://spec.matrix.org/v1.19/application-service-api/#querying
"""

from collections.abc import Iterable

from federation.identifiers import RoomAlias, UserID
from homeserver.accounts.app_services import AppService, AppServices
from homeserver.appservices.bridges import Bridges
from homeserver.errors import MatrixError
from homeserver.logs import get_logger

log = get_logger(__name__)

_SECONDS = 30.0
"""How long one has time to make what it was asked for."""


class Asking:
    """Asks those who have the name in a namespace, one after the other."""

    def __init__(self, services: AppServices, bridges: Bridges) -> None:
        self._services = services
        self._bridges = bridges

    async def user(self, user_id: UserID) -> bool:
        """Whether somebody says that there is such a user: they have made them by now."""
        return await self._ask(self._services.interested_in_user(user_id), "users", user_id)

    async def alias(self, alias: RoomAlias) -> bool:
        """Whether somebody says that there is such a room: they have made it by now."""
        return await self._ask(self._services.interested_in_alias(alias), "rooms", alias)

    async def _ask(self, services: Iterable[AppService], kind: str, name: str) -> bool:
        for service in services:
            if service.url is None:
                continue
            path = ("_matrix", "app", "v1", kind, name)
            try:
                answer = await self._bridges.ask(
                    service, "GET", path, seconds=_SECONDS, legacy=path[-2:]
                )
            except MatrixError as error:
                log.info("an application service cannot be asked", id=service.id, why=str(error))
                continue
            if answer.is_success:
                return True
        return False
