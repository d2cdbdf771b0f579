"""Who is asking: access tokens looked up, in memory where they were seen before.

What is remembered follows the log, so a token that was logged out by another process is refused
here from then on. A refusal always comes from the database.

https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
"""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from federation.identifiers import UserID
from homeserver.accounts.app_services import AppService
from homeserver.accounts.tokens import hash_of, session_in
from homeserver.errors import UnknownToken
from homeserver.storage import devices, tokens
from homeserver.storage.log import Entry, Kind
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.tokens import DeviceNid, TokenRow

CONCERNING = frozenset({Kind.ACCOUNT, Kind.DEVICE, Kind.DEVICE_GONE})
"""What in the log may change who asks."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, from which device."""

    user: UserNid
    user_id: UserID
    device: DeviceNid
    device_id: str
    is_admin: bool
    is_guest: bool
    locked: bool
    """To be refused everything but logging out, see `errors.UserLocked`."""
    suspended: bool
    appservice: str | None
    """The application service that made the account."""
    expires_ts: int | None
    service: AppService | None = None
    """The application service that asks in the user's name, with its own token; without a device,
    `device_id` is empty and `device` the number of none."""


@dataclass(slots=True)
class _Known:
    session: Session
    seen_day: int


class Sessions:
    """The sessions of this server.

    Args:
        process: the one that this is part of; this follows its tail of the log.
        most: how many sessions are remembered, at about 1 kB each.

    """

    def __init__(self, process: Process, most: int = 20_000) -> None:
        self._process = process
        self._most = most
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._hashes: defaultdict[UserNid, set[bytes]] = defaultdict(set)
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)

    async def get(self, token: str) -> Session:
        """Whose access token this is.

        Raises:
            UnknownToken: nobody's; with `soft_logout` where the device is still there.

        """
        await self._process.tail.catch_up()
        token_hash = hash_of(token)
        known = self._recall(token_hash)
        if known is None:
            async with self._process.database.reader() as conn:
                known = await self._load(conn, token, token_hash)
        expires = known.session.expires_ts
        if expires is not None and expires <= self._process.now():
            raise UnknownToken("the access token has expired", soft_logout=True)
        if known.seen_day < self._process.today:
            await self._see(known)
        return known.session

    def _recall(self, token_hash: bytes) -> _Known | None:
        known = self._known.get(token_hash)
        if known is not None:
            self._known.move_to_end(token_hash)
        return known

    async def _load(self, conn: Connection, token: str, token_hash: bytes) -> _Known:
        while True:
            drops = self._drops
            row = await tokens.find(conn, token_hash)
            if row is None:
                session = session_in(token)
                soft = session is not None and await tokens.is_session(conn, session)
                raise UnknownToken("unknown access token", soft_logout=soft)
            expired = row.expires_ts is not None and row.expires_ts <= self._process.now()
            # "The old refresh token remains valid until the new access token or refresh token is
            # used, at which point the old refresh token is revoked."
            if row.used or expired or await tokens.mark_used(conn, token_hash, row):
                break
        known = _Known(_session(row), row.last_seen_day)
        if drops == self._drops and not expired:
            self._remember(token_hash, known)
        return known

    async def _see(self, known: _Known) -> None:
        known.seen_day = self._process.today
        async with self._process.database.reader() as conn:
            await devices.see(conn, known.session.device, known.seen_day)

    def _remember(self, token_hash: bytes, known: _Known) -> None:
        self._known[token_hash] = known
        self._hashes[known.session.user].add(token_hash)
        if len(self._known) > self._most:
            oldest, gone = self._known.popitem(last=False)
            self._forget(gone.session.user, oldest)

    def _forget(self, user: UserNid, token_hash: bytes) -> None:
        hashes = self._hashes[user]
        hashes.discard(token_hash)
        if not hashes:
            del self._hashes[user]

    def _apply(self, entries: Sequence[Entry]) -> None:
        users = {e.user for e in entries if e.kind in CONCERNING and e.user is not None}
        self._drops += bool(users)
        for user in users:
            for token_hash in self._hashes.pop(user, ()):
                del self._known[token_hash]


def _session(row: TokenRow) -> Session:
    return Session(
        user=row.user,
        user_id=row.user_id,
        device=row.device,
        device_id=row.device_id,
        is_admin=row.is_admin,
        is_guest=row.is_guest,
        locked=row.locked,
        suspended=row.suspended,
        appservice=row.appservice,
        expires_ts=row.expires_ts,
    )
