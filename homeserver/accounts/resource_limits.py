"""Whether the server can be used: at all, and by how many people.

Somebody counts who made a request within thirty days. Bridged users and guests do not; nor are
they refused, but nobody registers as a guest while the server is full. Administrators always get
in. A worker asks the database once a day for each person.

https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
"""

from typing import NamedTuple

from homeserver.config.settings import ResourceLimits as Settings
from homeserver.errors import ResourceLimitExceeded
from homeserver.storage import active_users
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process

BLOCKED = "hs_disabled"
"""The `limit_type` by which clients know that it was the administrators who closed the server."""
FULL = "monthly_active_user"
"""The one by which they know that too many people use it."""
SAYS_FULL = "As many people use this server as may within a month. It lets nobody else in."
MONTH = 30
"""Days."""
_REFUSED_FOR = 10_000
"""Milliseconds for which somebody is refused without looking again."""
_MOST_REFUSED = 10_000
_NO_LIMIT = 2**62


class Person(NamedTuple):
    """Who wants to use the server."""

    user: UserNid
    is_admin: bool
    is_counted: bool
    """False of bridged users and guests."""


class ResourceLimits:
    """Refuses people while the server is closed, and who is one too many; administrators never.

    Args:
        process: the one that this is part of.
        settings: the section `resource_limits`.

    """

    def __init__(self, process: Process, settings: Settings) -> None:
        self._process = process
        self._settings = settings
        self._most = settings.monthly_active_users
        self._day = 0
        self._admitted: set[UserNid] = set()
        """Who was let in on that day."""
        self._refused: dict[UserNid, int] = {}
        """Until when, of who was not."""

    @property
    def since(self) -> int:
        """The day from which on people count."""
        return self._process.today - MONTH + 1

    def check(self, *, is_admin: bool = False) -> None:
        """Raise `ResourceLimitExceeded` for whom the server is closed."""
        blocked = self._settings.blocked
        if blocked is not None and not is_admin:
            raise self._refusal(blocked, BLOCKED)

    async def check_new(self) -> None:
        """Raise `ResourceLimitExceeded` if there is no place for somebody new."""
        self.check()
        if await self.is_full():
            raise self._refusal(SAYS_FULL, FULL)

    async def is_full(self) -> bool:
        """Whether as many people use the server as may."""
        if self._most is None:
            return False
        async with self._process.database.reader() as conn:
            return await active_users.count(conn, self.since) >= self._most

    def knows(self, who: Person) -> bool:
        """Whether somebody need not be asked about; or raise as `admit` does."""
        self.check(is_admin=who.is_admin)
        if self._most is None or not who.is_counted:
            return True
        if self._day != self._process.today:
            self._day = self._process.today
            self._admitted.clear()
            self._refused.clear()
        if self._refused.get(who.user, 0) > self._process.now():
            raise self._refusal(SAYS_FULL, FULL)
        return who.user in self._admitted

    async def let_in(self, who: Person) -> None:
        """As `admit`, without a connection, as none is needed mostly."""
        if not self.knows(who):
            async with self._process.database.reader() as conn:
                await self.admit(conn, who)

    async def admit(self, conn: Connection, who: Person) -> None:
        """Let somebody use the server, who counts from now on.

        Raises:
            ResourceLimitExceeded: it is closed, or full.

        """
        if self.knows(who) or self._most is None:
            return
        most = _NO_LIMIT if who.is_admin else self._most
        if await active_users.admit(conn, who.user, self._process.today, self.since, most):
            self._refused.pop(who.user, None)
            self._admitted.add(who.user)
            return
        if len(self._refused) >= _MOST_REFUSED:
            self._refused.clear()
        self._refused[who.user] = self._process.now() + _REFUSED_FOR
        raise self._refusal(SAYS_FULL, FULL)

    async def begin(self) -> None:
        """Count those who used the server before it was counted; once, at the start."""
        if self._most is not None:
            async with self._process.database.reader() as conn:
                await active_users.note_seen(conn, self.since)
            await self.clean()

    async def clean(self) -> None:
        """Forget who is away for long, and all if it is not counted any more."""
        since = self.since if self._most is not None else self._process.today + 1
        async with self._process.database.reader() as conn:
            await active_users.forget(conn, since, self._most or 0)

    def _refusal(self, says: str, limit_type: str) -> ResourceLimitExceeded:
        contact = self._settings.admin_contact
        return ResourceLimitExceeded(says, admin_contact=contact, limit_type=limit_type)
