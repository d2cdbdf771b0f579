"""Whose messages somebody does not want to see.

https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

import orjson

from federation.identifiers import is_user_id
from homeserver.storage import account_data
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

IGNORED_USER_LIST = "m.ignored_user_list"
_REMEMBERED = 20_000


class Ignoring:
    """The lists of all users, those lately used in memory; they follow the log."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lists: OrderedDict[UserNid, frozenset[str]] = OrderedDict()
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> frozenset[str]:
        """Whom the user ignores; the caller has caught up with the log."""
        return (await self.of_many([user]))[user]

    async def of_many(self, users: Collection[UserNid]) -> dict[UserNid, frozenset[str]]:
        """Whom each of the users ignores; the caller has caught up with the log."""
        found = {user: self._lists[user] for user in users if user in self._lists}
        for user in found:
            self._lists.move_to_end(user)
        new = [user for user in users if user not in found]
        if not new:
            return found
        drops = self._drops
        async with self._process.database.reader() as conn:
            stored = await account_data.find_of_many(conn, new, IGNORED_USER_LIST)
        lists = {user: read_ignored(stored.get(user)) for user in new}
        if drops == self._drops:
            self._lists.update(lists)
            while len(self._lists) > _REMEMBERED:
                self._lists.popitem(last=False)
        return found | lists

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None and entry.room is None:
                self._drops += 1
                self._lists.pop(entry.user, None)


def read_ignored(content: bytes | None) -> frozenset[str]:
    """The users in an `m.ignored_user_list`, which may hold anything."""
    users = orjson.loads(content).get("ignored_users") if content else None
    if not isinstance(users, dict):
        return frozenset()
    return frozenset(user for user in users if is_user_id(user))
