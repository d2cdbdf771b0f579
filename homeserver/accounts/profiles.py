"""Profiles of the users of this server.

Who may look at them, and telling rooms and presence of changes, is for the caller.

https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from federation.identifiers import UserID
from homeserver.accounts.name_words import words_in
from homeserver.accounts.profile_fields import (
    Changeable,
    Profile,
    changed,
    check_name,
    without,
    written,
)
from homeserver.errors import NotFound
from homeserver.storage import profiles
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process


class Change(NamedTuple):
    """What a profile was, and is."""

    before: Profile
    after: Profile


class Profiles:
    """The profiles of all users of this server.

    Args:
        process: the one that this is part of.
        changeable: what may be changed.
        ask_bridges: whether an application service has made the user now that they are named.

    """

    def __init__(
        self,
        process: Process,
        changeable: Changeable,
        ask_bridges: Callable[[UserID], Awaitable[bool]],
    ) -> None:
        self._process = process
        self._changeable = changeable
        self._ask_bridges = ask_bridges

    async def get(self, user_id: UserID) -> Profile:
        """All fields of a user's profile.

        Raises:
            NotFound: nobody here has this name, or no longer.

        """
        found = await self._find(user_id)
        if found is None and await self._ask_bridges(user_id):
            found = await self._find(user_id)
        if found is None:
            raise NotFound("no such user")
        return found

    async def _find(self, user_id: UserID) -> Profile | None:
        async with self._process.database.reader() as conn:
            found = await profiles.of_account(conn, user_id)
        if found is None:
            return None
        if found.deactivated:
            raise NotFound("no such user")
        return _read(found.fields)

    async def set_field(
        self, user: UserNid, name: str, value: object, *, is_guest: bool = False
    ) -> Change:
        """Change a field.

        Raises:
            Forbidden: it is not to be changed.
            KeyTooLarge, InvalidParam: there can be no such field, or no such value in it.
            TooLarge, ProfileTooLarge: the value is too large.

        """
        check_name(name)
        self._changeable.check(name, is_guest=is_guest)
        return await self._change(user, lambda profile: changed(profile, name, value))

    async def impose_field(self, user: UserNid, name: str, value: object) -> Change:
        """Change a field for an administrator, who is not held to what people may change.

        Raises:
            KeyTooLarge, InvalidParam, TooLarge, ProfileTooLarge: as `set_field`.

        """
        check_name(name)
        return await self._change(user, lambda profile: changed(profile, name, value))

    async def delete_field(self, user: UserNid, name: str, *, is_guest: bool = False) -> Change:
        """Remove a field, if it is there.

        Raises:
            Forbidden: it is not to be changed.
            KeyTooLarge, InvalidParam: there can be no such field.

        """
        check_name(name)
        self._changeable.check(name, is_guest=is_guest)
        return await self._change(user, lambda profile: without(profile, name))

    async def _change(self, user: UserNid, change: Callable[[Profile], Profile]) -> Change:
        async with self._process.database.reader() as conn:
            while True:
                stored = await profiles.find(conn, user)
                before = _read(stored)
                after = change(before)
                new = written(after)
                # Written, because Python takes `true` for 1.
                if new == (stored or written({})):
                    return Change(before, after)
                words = words_in(after.get("displayname"))
                pos = await profiles.replace(conn, user, stored, new, words)
                if self._process.committed(pos):
                    return Change(before, after)


def _read(stored: bytes | None) -> Profile:
    profile: Profile = {} if stored is None else msgspec.json.decode(stored)
    return profile
