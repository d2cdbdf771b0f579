"""The push rules of all users, those lately used in memory; they follow the log.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from federation.identifiers import RoomID, UserID
from homeserver.errors import Conflict
from homeserver.push.changes import Changes, Rules, carry_over, merged, mind_threads
from homeserver.storage import push_rules
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

_REMEMBERED = 5000
_TRIES = 10
_NONE = Changes()


class Ruleset(NamedTuple):
    """One user's rules."""

    rules: Rules
    is_default: bool
    """Whether they are all as predefined."""
    pos: int
    """When they last changed; 0: never."""
    minds_threads: bool = False
    """Whether it was chosen what threads are worth."""


class Rulesets:
    """Reads and changes them."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._known: OrderedDict[UserNid, Ruleset] = OrderedDict()
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def of(self, user: UserNid, user_id: UserID) -> Ruleset:
        """The rules of a user; the caller has caught up with the log."""
        return (await self.of_many({user: user_id}))[user]

    async def of_many(self, users: Mapping[UserNid, UserID]) -> dict[UserNid, Ruleset]:
        """The rules of users, each with their ID; the caller has caught up with the log."""
        found = {user: known for user in users if (known := self._known.get(user))}
        for user in found:
            self._known.move_to_end(user)
        new = users.keys() - found.keys()
        if not new:
            return found
        drops = self._drops
        async with self._process.database.reader() as conn:
            stored = await push_rules.find_many(conn, new)
        for user in new:
            changes, row = _read(stored.get(user)), stored.get(user)
            rules = merged(users[user], changes)
            pos = row.pos if row else 0
            found[user] = Ruleset(rules, changes.is_empty, pos, changes.minds_threads)
            if drops == self._drops:
                self._known[user] = found[user]
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    async def change(self, user: UserNid, change: Callable[[Changes], None]) -> None:
        """Change the rules of a user.

        Args:
            user: whose.
            change: does it; may be asked more than once, and raise whatever the client is told.

        Raises:
            Conflict: others change them all the time.

        """
        for _ in range(_TRIES):
            async with self._process.database.reader() as conn:
                stored = await push_rules.find(conn, user)
                changes = _read(stored)
                change(changes)
                written = msgspec.json.encode(changes)
                pos = await push_rules.put(conn, user, written, stored.pos if stored else None)
            if self._process.committed(pos):
                return
        raise Conflict("the push rules were changed by another device")

    async def mind_threads(self, user: UserNid, user_id: UserID) -> None:
        """Note that the user has a client that follows threads; see `changes.mind_threads`."""
        await self._process.tail.catch_up()
        if not (await self.of(user, user_id)).minds_threads:
            await self.change(user, mind_threads)

    async def carry_over(self, user: UserNid, before: RoomID, after: RoomID) -> None:
        """Let what somebody's rules say of one room hold for another, too."""
        async with self._process.database.reader() as conn:
            stored = await push_rules.find(conn, user)
        if stored is not None and before.encode() in stored.changes:
            await self.change(user, lambda mine: carry_over(mine, before, after))

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.PUSH_RULES and entry.user is not None:
                self._drops += 1
                self._known.pop(entry.user, None)


def _read(stored: push_rules.Stored | None) -> Changes:
    return msgspec.json.decode(stored.changes, type=Changes) if stored else Changes()
