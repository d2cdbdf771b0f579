"""Whose messages and invitations somebody does not want to see.

https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

import orjson

from federation.identifiers import UserID, domain_of, is_user_id
from homeserver.accounts.sessions import Session
from homeserver.errors import InviteBlocked
from homeserver.rooms.invite_rules import BLOCKING, FILTERING, InviteRules, Verdict, read_rules
from homeserver.rooms.standings import Reader
from homeserver.storage import account_data
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

IGNORED_USER_LIST = "m.ignored_user_list"
_KINDS = (IGNORED_USER_LIST, *BLOCKING, FILTERING)
_REMEMBERED = 20_000


class Ignoring:
    """The lists of all users, those lately used in memory; they follow the log."""

    def __init__(self, process: Process, speaker: UserID | None = None) -> None:
        self._process = process
        self._speaker = speaker
        self._rules: OrderedDict[UserNid, InviteRules] = OrderedDict()
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def of(self, user: UserNid) -> frozenset[str]:
        """Whom the user ignores; the caller has caught up with the log."""
        return (await self.rules([user]))[user].ignored

    async def reader(self, who: Session) -> Reader:
        """Somebody with all that they do not want to see; the caller has caught up with the log."""
        rules = (await self.rules([who.user]))[who.user]
        return Reader(who.user, who.user_id, who.device, rules.ignored, rules)

    async def rules(self, users: Collection[UserNid]) -> dict[UserNid, InviteRules]:
        """What each of the users wants; the caller has caught up with the log."""
        found = {user: self._rules[user] for user in users if user in self._rules}
        for user in found:
            self._rules.move_to_end(user)
        new = [user for user in users if user not in found]
        if not new:
            return found
        drops = self._drops
        async with self._process.database.reader() as conn:
            stored = await account_data.find_of_many(conn, new, _KINDS)
        rules = {user: self._read(stored.get(user, {})) for user in new}
        if drops == self._drops:
            self._rules.update(rules)
            while len(self._rules) > _REMEMBERED:
                self._rules.popitem(last=False)
        return found | rules

    async def check_invitation(self, sender: UserID, target: UserID) -> None:
        """Raise `InviteBlocked` if somebody of this server refuses to be invited by the sender."""
        if domain_of(target) != self._process.server:
            return
        await self._process.tail.catch_up()
        async with self._process.database.reader() as conn:
            user = (await self._process.numbers.users.find(conn, [target])).get(target)
        if user is None:
            return
        if (await self.rules([user]))[user].judge(sender) is Verdict.BLOCK:
            raise InviteBlocked

    def _read(self, data: dict[str, bytes]) -> InviteRules:
        ignored = read_ignored(data.pop(IGNORED_USER_LIST, None))
        return read_rules(ignored, data, self._speaker)

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == Kind.ACCOUNT_DATA and entry.user is not None and entry.room is None:
                self._drops += 1
                self._rules.pop(entry.user, None)


def read_ignored(content: bytes | None) -> frozenset[str]:
    """The users in an `m.ignored_user_list`, which may hold anything."""
    users = orjson.loads(content).get("ignored_users") if content else None
    if not isinstance(users, dict):
        return frozenset()
    return frozenset(user for user in users if is_user_id(user))
