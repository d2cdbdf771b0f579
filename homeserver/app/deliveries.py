"""A delivery for each application service, as their registrations come and go."""

import asyncio

from federation.identifiers import UserID
from homeserver.accounts.app_services import AppService, AppServices
from homeserver.app.supervision import Supervisor
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.delivery import ALIVE, Delivery
from homeserver.appservices.live import Moments
from homeserver.storage.bus import Bus, Message
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process


class Deliveries:
    """Keeps them going. `run` has to run.

    Args:
        process: the one that this is part of.
        services: all there are.
        bridges: the way to them.
        bus: on which others say that one is alive.
        moments: who types and who is there.

    """

    def __init__(
        self,
        process: Process,
        services: AppServices,
        bridges: Bridges,
        bus: Bus,
        moments: Moments,
    ) -> None:
        self._process = process
        self._services = services
        self._bridges = bridges
        self._moments = moments
        self._going: dict[AppService, Delivery] = {}
        self._background = Supervisor()
        self._changed = asyncio.Event()
        services.on_change(self._changed.set)
        bus.hear(ALIVE, self._hear)
        moments.on_typing(self._type)
        moments.on_presence(self._appear)

    async def run(self) -> None:
        """Begin and end deliveries as the registrations have it."""
        try:
            while True:
                self._changed.clear()
                await self._renew()
                await self._changed.wait()
        finally:
            self._going.clear()
            await self._background.stop()

    async def _renew(self) -> None:
        wanted = [service for service in self._services if service.url is not None]
        for service in self._going.keys() - set(wanted):
            del self._going[service]
            await self._background.end(service.id)
        for service in wanted:
            if service not in self._going:
                delivery = Delivery(self._process, service, self._bridges, self._moments)
                self._going[service] = delivery
                self._background.keep(service.id, delivery.run)

    def _hear(self, message: Message) -> None:
        for service, delivery in self._going.items():
            if service.id == message["id"]:
                delivery.show_life()

    def _type(self, room: RoomNid) -> None:
        for delivery in self._going.values():
            if delivery.live is not None:
                delivery.live.types(room)

    def _appear(self, user_id: UserID) -> None:
        for delivery in self._going.values():
            if delivery.live is not None:
                delivery.live.appears(user_id)
