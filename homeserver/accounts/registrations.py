"""Registration, as clients ask for it.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from federation.identifiers import UserID, localpart_of
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.device_names import device_id_of
from homeserver.accounts.interactive import AuthData, Authenticated, InteractiveAuth, Operation
from homeserver.accounts.logins import DeviceWish, LoggedIn, Logins
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.stages import Challenge, Flow
from homeserver.errors import Forbidden, InvalidParam, MissingParam, UnknownToken
from homeserver.storage import accounts
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process


class Wish(NamedTuple):
    """What somebody who registers asks for."""

    username: str | None
    password: str | None
    device: DeviceWish = DeviceWish()
    inhibit_login: bool = False
    guest_token: str | None = None
    """Of the guest whose account is to become an ordinary one."""


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
        sessions: whose access token a guest shows.
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
        sessions: Sessions,
        auth: InteractiveAuth,
        *,
        flows: Sequence[Flow],
        guests: bool,
    ) -> None:
        self._process = process
        self._credentials = credentials
        self._new_accounts = new_accounts
        self._logins = logins
        self._sessions = sessions
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
        if wish.guest_token is not None:
            await self._check_guest(wish.guest_token, wish.username)
        elif wish.username is not None:
            await self._new_accounts.check_username(wish.username)
        if wish.password is not None:
            self._credentials.check_new(wish.password)
        return await self._auth.proceed(operation, self._flows, auth)

    async def _check_guest(self, token: str, username: str | None) -> None:
        """See that a guest asks for an account of the same name.

        "They are also required to specify the `username` parameter to the value of the local part
        of their username": https://spec.matrix.org/v1.19/client-server-api/#guest-access

        Raises:
            Forbidden: whoever has it, if anybody does, is no guest, or may not use the server.
            InvalidParam: the name is another one.

        """
        try:
            guest = await self._sessions.get(token)
        except UnknownToken as error:
            # To registering, a 401 is a question for stages.
            raise Forbidden("nobody has this access token") from error
        if not guest.is_guest or guest.locked or guest.suspended:
            raise Forbidden("this is not the access token of a guest")
        if username != localpart_of(guest.user_id):
            raise InvalidParam("username must be the local part of the guest's user ID")

    async def _make(self, wish: Wish, passed: Authenticated) -> UserNid:
        if wish.password is None:
            raise MissingParam("password is missing")
        return await self._new_accounts.add_for_session(
            wish.username,
            wish.password,
            passed.session_hash,
            is_guests=wish.guest_token is not None,
        )
