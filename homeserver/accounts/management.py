"""Changing an account: its password, its state, its end.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-management
"""

from homeserver.accounts.credentials import Credentials
from homeserver.errors import NotFound, UserDeactivated
from homeserver.storage import accounts
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.tokens import DeviceNid


class Management:
    """Changes accounts."""

    def __init__(self, process: Process, credentials: Credentials) -> None:
        self._process = process
        self._credentials = credentials

    def check_password(self, password: str) -> None:
        """Raise `WeakPassword` if somebody chose too short a password."""
        self._credentials.check_new(password)

    async def change_password(
        self,
        user: UserNid,
        password: str,
        keep: DeviceNid | None = None,
        *,
        log_out: bool = True,
    ) -> None:
        """Set a password, and log out all devices but `keep`, unless `log_out` is false.

        Raises:
            WeakPassword, InvalidParam: it cannot be a password.
            UserDeactivated: the account has ended.

        """
        self._credentials.check_new(password)
        password_hash = await self._credentials.hash(password)
        async with self._process.database.reader() as conn:
            pos = None
            while pos is None:
                account = await accounts.get(conn, user)
                if account.deactivated:
                    raise UserDeactivated
                pos = await accounts.set_password(
                    conn, account, password_hash, keep, log_out=log_out
                )
        self._process.committed(pos)

    async def deactivate(self, user: UserNid, *, erase: bool = False) -> None:
        """End an account for good; its name stays taken. Rooms are left by the caller.

        Erased, its profile, account data and filters are gone as well. Can be repeated.
        """
        async with self._process.database.reader() as conn:
            pos = None
            while pos is None:
                account = await accounts.get(conn, user)
                pos = await accounts.deactivate(conn, account, erase=erase)
        self._process.committed(pos)

    async def set_states(
        self,
        user: UserNid,
        *,
        is_admin: bool | None = None,
        locked: bool | None = None,
        suspended: bool | None = None,
    ) -> None:
        """Make somebody an administrator, lock, suspend, or undo it; `None` leaves it as it is.

        https://spec.matrix.org/v1.19/client-server-api/#account-moderation

        Raises:
            NotFound: there is no such account, or it was deactivated.

        """
        async with self._process.database.reader() as conn:
            pos = await accounts.set_states(
                conn, user, is_admin=is_admin, locked=locked, suspended=suspended
            )
        if not self._process.committed(pos):
            raise NotFound("no such account")
