"""Registration, as clients ask for it.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from federation.identifiers import UserID
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.device_names import device_id_of
from homeserver.accounts.interactive import AuthData, Authenticated, InteractiveAuth, Operation
from homeserver.accounts.logins import DeviceWish, LoggedIn, Logins
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.stages import Challenge, Flow
from homeserver.errors import Forbidden, MissingParam
from homeserver.storage import accounts
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process


class Wish(NamedTuple):
    """What somebody who registers asks for."""

    username: str | None
    password: str | None
    device: DeviceWish = DeviceWish()
    inhibit_login: bool = False


class Registered(NamedTuple):
    """A new account; or the same, when the request that made it is repeated."""

    user: UserNid
    user_id: UserID
    login: LoggedIn | None
    """`None` where no login was wanted."""


class Registrations:
    """Lets people make accounts.

    Args:
        process: the one that this is part of.
        credentials: takes passwords.
        new_accounts: makes the accounts.
        logins: logs them in.
        auth: asks for stages.
        flows: ways to an account for anybody; none: registration is closed.
        guests: whether guests are let in (`registration.guests`).

    """

    def __init__(
        self,
        process: Process,
        credentials: Credentials,
        new_accounts: NewAccounts,
        logins: Logins,
        auth: InteractiveAuth,
        *,
        flows: Sequence[Flow],
        guests: bool,
    ) -> None:
        self._process = process
        self._credentials = credentials
        self._new_accounts = new_accounts
        self._logins = logins
        self._auth = auth
        self._flows = flows
        self._guests = guests

    async def check_place(self) -> None:
        """Raise `ResourceLimitExceeded` if nobody new can use the server."""
        await self._logins.resource_limits.check_new()

    async def register(
        self, wish: Wish, body: Mapping[str, Any], auth: AuthData | None
    ) -> Registered | Challenge:
        """Make an account for somebody who goes through the stages.

        Args:
            wish: what is asked for.
            body: the request without `auth`: when it comes again, it gets the same account.
            auth: its `auth`.

        Raises:
            Forbidden: registration is closed.
            ResourceLimitExceeded: so is the server, or it is full.
            InvalidUsername, Exclusive, UserInUse: see `NewAccounts.check_username`.
            WeakPassword, InvalidParam: the password, or the device's id, cannot be one.
            MissingParam: all stages are completed, and there is no password.

        """
        if not self._flows:
            raise Forbidden("registration is closed")
        await self.check_place()
        operation = Operation("register", body, may_change=True)
        before = await self._auth.find_finished(operation, auth)
        if before is None:
            passed = await self._pass(wish, operation, auth)
            if isinstance(passed, Challenge):
                return passed
            before = passed.session_hash, await self._make(wish, passed)
        session_hash, user = before
        device_id = wish.device.device_id or device_id_of(session_hash)
        return await self.finish(
            user, wish._replace(device=wish.device._replace(device_id=device_id))
        )

    async def register_guest(self, display_name: str | None) -> Registered:
        """Make a guest's account, with a device of this name.

        Raises:
            Forbidden: guests are not let in.

        """
        if not self._guests:
            raise Forbidden("guests are not let in here")
        await self.check_place()
        user = await self._new_accounts.add_guest()
        return await self.finish(user, Wish(None, None, DeviceWish(None, display_name)))

    async def upgrade_guest(self, guest: UserNid, password: str) -> None:
        """Make an ordinary account of a guest's.

        https://spec.matrix.org/v1.19/client-server-api/#guest-access

        Raises:
            Forbidden: the account is not a guest's.
            ResourceLimitExceeded: there is no place for one more.
            WeakPassword, InvalidParam: the password cannot be one.

        """
        self._credentials.check_new(password)
        await self.check_place()
        password_hash = await self._credentials.hash(password)
        async with self._process.database.reader() as conn:
            pos = await accounts.upgrade_guest(conn, guest, password_hash)
        if not self._process.committed(pos):
            raise Forbidden("not a guest")

    async def finish(self, user: UserNid, wish: Wish) -> Registered:
        """Log in somebody whose account was just made, if that is wanted."""
        async with self._process.database.reader() as conn:
            account = await accounts.get(conn, user)
        login = None if wish.inhibit_login else await self._logins.log_in(user, wish.device)
        return Registered(user, account.user_id, login)

    async def _pass(
        self, wish: Wish, operation: Operation, auth: AuthData | None
    ) -> Authenticated | Challenge:
        # "Homeservers MUST perform the relevant checks and return these codes before performing
        # User-Interactive Authentication."
        if wish.username is not None:
            await self._new_accounts.check_username(wish.username)
        if wish.password is not None:
            self._credentials.check_new(wish.password)
        return await self._auth.proceed(operation, self._flows, auth)

    async def _make(self, wish: Wish, passed: Authenticated) -> UserNid:
        if wish.password is None:
            raise MissingParam("password is missing")
        return await self._new_accounts.add_for_session(
            wish.username, wish.password, passed.session_hash
        )
