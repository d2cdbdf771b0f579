"""Asking for the password again, before a device does something grave.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

from collections.abc import Mapping
from typing import Any

from homeserver.accounts.interactive import AuthData, InteractiveAuth, Operation
from homeserver.accounts.sessions import Session
from homeserver.accounts.stages import DUMMY, PASSWORD, Challenge, Flow
from homeserver.storage import devices
from homeserver.storage.process import Process

_WITH_PASSWORD: tuple[Flow, ...] = ((PASSWORD,),)
_WITHOUT: tuple[Flow, ...] = ((DUMMY,),)


class Confirmations:
    """Has people confirm what their devices are about to do.

    Args:
        process: the one that this is part of.
        auth: asks for the stages.
        grace: milliseconds for which the password is not asked for again
            (`auth.confirmation_grace`).

    """

    def __init__(self, process: Process, auth: InteractiveAuth, grace: int) -> None:
        self._process = process
        self._auth = auth
        self._grace = grace

    async def confirm(
        self,
        who: Session,
        name: str,
        asked: Mapping[str, Any],
        auth: AuthData | None,
        *,
        always: bool = False,
    ) -> Challenge | None:
        """What is still to be answered; `None` when it is confirmed, for this one request.

        Args:
            who: who asks.
            name: `operationId` of the endpoint.
            asked: the body without `auth`, and what the path names.
            auth: the body's `auth`.
            always: without grace, as for new login tokens.

        Raises:
            Forbidden: the authentication was begun for another request.

        """
        if who.service is not None:
            # "MUST NOT require User-Interactive Authentication when used by an application service"
            return None
        flows = _WITHOUT if not always and await self._is_recent(who) else _WITH_PASSWORD
        found = await self._auth.confirm(Operation(name, asked, who.user), flows, auth)
        if isinstance(found, Challenge):
            return found
        if self._grace and flows is _WITH_PASSWORD:
            async with self._process.database.reader() as conn:
                await devices.confirm(conn, who.device, self._process.now())
        return None

    async def _is_recent(self, who: Session) -> bool:
        """Then a stage that asks for nothing takes the password's place.

        "A request to an endpoint that uses User-Interactive Authentication never succeeds without
        auth."
        """
        if not self._grace:
            return False
        async with self._process.database.reader() as conn:
            device = await devices.find(conn, who.user, who.device_id)
        confirmed = device.confirmed_ts if device else None
        return confirmed is not None and self._process.now() < confirmed + self._grace
