"""Administrators locking and suspending accounts, and looking at them.

https://spec.matrix.org/v1.19/client-server-api/#server-administration
"""

from federation.identifiers import UserID, domain_of
from homeserver.accounts.devices import Devices, ShownDevice
from homeserver.accounts.management import Management
from homeserver.errors import Forbidden, InvalidParam, NotFound
from homeserver.storage import accounts
from homeserver.storage.accounts import Account
from homeserver.storage.process import Process


class Moderation:
    """What an administrator may do to somebody else's account.

    Args:
        process: the one that this is part of.
        management: changes accounts.
        devices: of all users.

    """

    def __init__(self, process: Process, management: Management, devices: Devices) -> None:
        self._process = process
        self._management = management
        self._devices = devices

    async def account(self, user_id: UserID) -> Account:
        """The account of somebody who is no administrator.

        Raises:
            InvalidParam: the user is of another server.
            NotFound: there is no such account, or it was deactivated.
            Forbidden: it is an administrator's.

        """
        account = await self._find(user_id)
        if account.is_admin:
            raise Forbidden("the account is an administrator's")
        return account

    async def change(
        self, user_id: UserID, *, locked: bool | None = None, suspended: bool | None = None
    ) -> None:
        """Lock or suspend somebody, or undo it.

        Raises:
            InvalidParam, NotFound, Forbidden: as `account`.

        """
        account = await self.account(user_id)
        await self._management.set_states(account.user, locked=locked, suspended=suspended)

    async def devices(self, user_id: UserID) -> list[ShownDevice]:
        """Somebody's devices; raises `InvalidParam` and `NotFound` as `account`."""
        return await self._devices.read((await self._find(user_id)).user)

    async def _find(self, user_id: UserID) -> Account:
        if domain_of(user_id) != self._process.server:
            raise InvalidParam("the user is not of this server")
        async with self._process.database.reader() as conn:
            account = await accounts.find(conn, user_id)
        if account is None or account.deactivated:
            raise NotFound("there is no such account")
        return account
