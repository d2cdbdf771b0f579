"""Logging in.

https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.accounts.credentials import Credentials, Named
from homeserver.accounts.device_names import check_device_id, first_name, new_device_id
from homeserver.accounts.issuing import Tokens, Validity, issue_lasting, issue_refreshable
from homeserver.accounts.resource_limits import Person, ResourceLimits
from homeserver.accounts.tokens import hash_of, new_login_token, new_session
from homeserver.errors import Forbidden, UserLocked
from homeserver.storage import accounts, devices, tokens
from homeserver.storage.accounts import Account
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.tokens import DeviceNid, Login

LOGIN_TOKEN_VALIDITY = 120_000
"""Milliseconds for which one device can let in another."""


class DeviceWish(NamedTuple):
    """The device that somebody logs in with."""

    device_id: str | None = None
    display_name: str | None = None
    """For a new device only."""
    refresh: bool = False
    """Whether the client can renew its tokens."""


class LoggedIn(NamedTuple):
    """Somebody's new session."""

    user: UserNid
    user_id: UserID
    device: DeviceNid
    device_id: str
    tokens: Tokens


class Logins:
    """Lets people in who have shown who they are, while the server is open."""

    def __init__(
        self,
        process: Process,
        credentials: Credentials,
        validity: Validity,
        resource_limits: ResourceLimits,
    ) -> None:
        self.resource_limits = resource_limits
        self._process = process
        self._credentials = credentials
        self._validity = validity

    @property
    def validity(self) -> Validity:
        """How long tokens are good for."""
        return self._validity

    async def with_password(self, user: Named, password: str, wish: DeviceWish) -> LoggedIn:
        """Log in somebody named as by `credentials.user_in`.

        Raises:
            Forbidden: nobody has this name, or another password.
            UserLocked: the account is locked.

        """
        account = await self._credentials.verify(user, password)
        if account is None:
            raise Forbidden("wrong user name or password")
        async with self._process.database.reader() as conn:
            return await self._log_in(conn, account, wish, account.password_hash)

    async def with_token(self, token: str, wish: DeviceWish) -> LoggedIn:
        """Log in with a token that another device asked for.

        Raises:
            Forbidden: it was used, has expired, or was never one.
            UserLocked: the account is locked.

        """
        async with self._process.database.reader() as conn:
            user = await tokens.take_login_token(conn, hash_of(token), self._process.now())
        if user is None:
            raise Forbidden("the login token is not valid")
        return await self.log_in(user, wish)

    async def log_in(self, user: UserNid, wish: DeviceWish) -> LoggedIn:
        """Log in somebody who was identified otherwise.

        Raises:
            Forbidden: the account was deactivated.
            UserLocked: the account is locked.

        """
        async with self._process.database.reader() as conn:
            return await self._log_in(conn, await accounts.get(conn, user), wish, None)

    async def new_login_token(self, user: UserNid) -> str:
        """Make a token that is good for one login, for `LOGIN_TOKEN_VALIDITY`."""
        token, now = new_login_token(), self._process.now()
        async with self._process.database.reader() as conn:
            await tokens.add_login_token(conn, token.hash, user, now + LOGIN_TOKEN_VALIDITY, now)
        return token.text

    async def _log_in(
        self, conn: Connection, account: Account, wish: DeviceWish, password_hash: str | None
    ) -> LoggedIn:
        """`password_hash` is the one that was verified, and must still be the account's."""
        if wish.device_id:
            check_device_id(wish.device_id)
        wish = wish._replace(device_id=wish.device_id or new_device_id())
        while True:
            if account.deactivated or password_hash not in {None, account.password_hash}:
                raise Forbidden("wrong user name or password")
            if account.locked:
                raise UserLocked
            is_counted = account.appservice is None and not account.is_guest
            who = Person(account.user, account.is_admin, is_counted)
            await self.resource_limits.admit(conn, who)
            login, new = await self._prepare(conn, account.user, wish)
            login = login._replace(password_hash=password_hash)
            if written := await tokens.log_in(conn, login):
                self._process.committed(written.pos)
                return LoggedIn(account.user, account.user_id, written.device, login.device_id, new)
            account = await accounts.get(conn, account.user)

    async def _prepare(
        self, conn: Connection, user: UserNid, wish: DeviceWish
    ) -> tuple[Login, Tokens]:
        device = await devices.find(conn, user, wish.device_id or "")
        session = device.session if device else new_session()
        now, lasts = self._process.now(), self._validity.session
        ends = None if lasts is None else now + lasts
        if wish.refresh:
            new = issue_refreshable(session, self._validity, ends, now)
        else:
            new = issue_lasting(session, ends, now)
        login = Login(
            user=user,
            password_hash=None,
            device_id=wish.device_id or "",
            display_name=first_name(wish.display_name),
            session=session,
            day=self._process.today,
            version=device.version if device else None,
            tokens=new.issued,
        )
        return login, new
