"""Administrators looking through accounts, making them and changing them.

What only administrators may do; the rest is in `management`, for whoever it concerns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from federation.identifiers import UserID, domain_of, localpart_of
from homeserver.accounts.management import Management
from homeserver.accounts.name_words import words_in
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.errors import InvalidParam, NotFound
from homeserver.storage import account_lists
from homeserver.storage.account_lists import Listed, Search
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

MOST = 1000
"""Accounts of one page."""


class Page(NamedTuple):
    """Some of the accounts that were looked for."""

    accounts: list[Listed]
    total: int
    """How many there are in all."""
    next_start: int | None
    """Where the next page begins; `None`: there is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be otherwise about an account; `None` leaves it as it is."""

    password: str | None = None
    log_out: bool = True
    is_admin: bool | None = None
    locked: bool | None = None


class Administration:
    """What an administrator may do about accounts.

    Args:
        process: the one that this is part of.
        new_accounts: makes accounts.
        management: changes them.

    """

    def __init__(self, process: Process, new_accounts: NewAccounts, management: Management) -> None:
        self._process = process
        self._new_accounts = new_accounts
        self._management = management

    async def search(self, search: Search, name: str | None, start: int, limit: int) -> Page:
        """Accounts, page by page.

        Args:
            search: which.
            name: text in the name before the colon, or in the display name.
            start: how many to leave out.
            limit: how many are wanted.

        """
        if name is not None:
            search = search._replace(part=name, words=tuple(words_in(name)))
        wanted = min(limit, MOST)
        async with self._process.database.reader() as conn:
            found, total = await account_lists.page(conn, search, start, wanted)
        left = start + len(found)
        return Page(found, total, left if found and left < total else None)

    async def account(self, user_id: UserID) -> Listed:
        """One account, also of somebody who is gone.

        Raises:
            InvalidParam: the user is of another server.
            NotFound: there is no such account.

        """
        found = await self.find(user_id)
        if found is None:
            raise NotFound("there is no such account")
        return found

    async def find(self, user_id: UserID) -> Listed | None:
        """The account, if there is one; raises `InvalidParam` as `account`."""
        if domain_of(user_id) != self._process.server:
            raise InvalidParam("the user is not of this server")
        async with self._process.database.reader() as conn:
            return await account_lists.find(conn, user_id)

    async def make(self, user_id: UserID, changes: Changes) -> UserNid:
        """Make an account as it is wanted; errors as `NewAccounts.add`."""
        user = await self._new_accounts.add(
            localpart_of(user_id), changes.password, is_admin=bool(changes.is_admin)
        )
        if changes.locked:
            await self._management.set_states(user, locked=True)
        return user

    async def change(self, account: Listed, changes: Changes) -> None:
        """Change an account.

        Raises:
            WeakPassword, InvalidParam: the password cannot be one.
            UserDeactivated, NotFound: the account has ended.

        """
        if changes.password is not None:
            await self._management.change_password(
                account.user, changes.password, log_out=changes.log_out
            )
        if changes.is_admin is not None or changes.locked is not None:
            await self._management.set_states(
                account.user, is_admin=changes.is_admin, locked=changes.locked
            )


def profile_of(account: Listed) -> Mapping[str, Any]:
    """The profile's fields."""
    fields: Mapping[str, Any] = (
        {} if account.profile is None else msgspec.json.decode(account.profile)
    )
    return fields
