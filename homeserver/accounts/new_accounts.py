"""New accounts and the names they can have, whoever asks for them.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration
"""

import secrets
from collections.abc import Callable

from federation.identifiers import UserID
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.names import user_id_for
from homeserver.errors import Exclusive, InvalidUsername, UserInUse
from homeserver.storage import accounts
from homeserver.storage.accounts import NewAccount
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process


class NewAccounts:
    """Makes accounts without asking anybody for anything.

    Args:
        process: the one that this is part of.
        credentials: takes passwords.
        is_exclusive: whether an application service has the name for itself.

    """

    def __init__(
        self, process: Process, credentials: Credentials, is_exclusive: Callable[[UserID], bool]
    ) -> None:
        self._process = process
        self._credentials = credentials
        self._is_exclusive = is_exclusive

    async def check_username(self, username: str) -> UserID:
        """The user ID that somebody who registers with this name would get.

        Raises:
            InvalidUsername: it can be nobody's name.
            Exclusive: an application service has it for itself.
            UserInUse: somebody has it, or had it.

        """
        user_id = self.user_id(username)
        if self._is_exclusive(user_id):
            raise Exclusive("an application service has reserved this name")
        async with self._process.database.reader() as conn:
            if await accounts.find(conn, user_id):
                raise UserInUse("the name is taken")
        return user_id

    async def add(
        self,
        username: str,
        password: str | None = None,
        *,
        is_admin: bool = False,
        appservice: str | None = None,
    ) -> UserNid:
        """Make an account for an administrator or an application service.

        Raises:
            InvalidUsername: it can be nobody's name.
            UserInUse: somebody has it, or had it.
            InvalidParam: the password cannot be one.

        """
        user_id = self.user_id(username)
        password_hash = password and await self._credentials.hash(password)
        user = await self._process.number_of(user_id)
        return await self._add(
            NewAccount(user, self._process.today, password_hash, is_admin, appservice=appservice)
        )

    async def add_guest(self) -> UserNid:
        """Make a guest's account."""
        user = await self._process.number_of(self.user_id(new_username()))
        return await self._add(NewAccount(user, self._process.today, is_guest=True))

    async def add_for_session(
        self,
        username: str | None,
        password: str,
        session_hash: bytes,
        *,
        is_guests: bool = False,
    ) -> UserNid:
        """Make the account that a session of interactive authentication leads to.

        With `is_guests` the name is a guest's, whose account becomes an ordinary one. Of requests
        at the same time one makes it, and the others get the same.

        Raises:
            InvalidUsername: it can be nobody's name.
            UserInUse: somebody has it, or had it.
            InvalidParam: the password cannot be one.

        """
        user_id = self.user_id(new_username() if username is None else username)
        password_hash = await self._credentials.hash(password)
        user = await self._process.number_of(user_id)
        new = NewAccount(user, self._process.today, password_hash)
        async with self._process.database.reader() as conn:
            now = self._process.now()
            made = await accounts.add_for_session(conn, new, session_hash, now, is_guests=is_guests)
        if self._process.committed(made.pos):
            return user
        if made.before is None:
            raise UserInUse("the name is taken")
        return made.before

    def user_id(self, username: str) -> UserID:
        """The user ID of this name, or raise `InvalidUsername`."""
        user_id = user_id_for(username, self._process.server)
        if user_id is None:
            raise InvalidUsername("a name may hold a-z, 0-9 and . _ = - / + only")
        return user_id

    async def _add(self, new: NewAccount) -> UserNid:
        async with self._process.database.reader() as conn:
            pos = await accounts.add(conn, new)
        if not self._process.committed(pos):
            raise UserInUse("the name is taken")
        return new.user


def new_username() -> str:
    """A name for somebody who has not chosen one."""
    return secrets.token_hex(8)
