"""Processes of one server, as far as accounts are concerned: each with a memory of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from federation.identifiers import ServerName, UserID
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.devices import Devices
from homeserver.accounts.filters import Filters
from homeserver.accounts.interactive import AuthData, InteractiveAuth
from homeserver.accounts.issuing import Validity
from homeserver.accounts.logins import DeviceWish, LoggedIn, Logins
from homeserver.accounts.management import Management
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.profile_fields import Changeable
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registered, Registrations, Wish
from homeserver.accounts.resource_limits import ResourceLimits
from homeserver.accounts.sessions import Session, Sessions
from homeserver.accounts.stages import (
    DUMMY,
    PASSWORD,
    REGISTRATION_TOKEN,
    Challenge,
    Flow,
)
from homeserver.config.settings import ResourceLimits as LimitSettings
from homeserver.errors import UnknownToken
from homeserver.storage.clock import Clock
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Connection, Database
from homeserver.storage.process import DAY, Process
from homeserver.storage.tail import Tail

SERVER = ServerName("one.test")
PASSWORD_OF_ANN = "correct horse"
MINUTE = 60_000
PASSWORDS = Passwords(memory=8 * 1024, iterations=1)
VALIDITY = Validity(None, 5 * MINUTE)
CHANGEABLE = Changeable()


@dataclass
class Time:
    """Stands still unless it is moved."""

    now: int = 20_000 * DAY + 1000

    def __call__(self) -> int:
        return self.now


class Counting(Database):
    """A database that notes what is asked of it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database._pool, database._aside, database.where)
        self.queries: list[str] = []

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        async with super().reader() as conn:
            yield Noting(conn, self.queries)

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[Connection]:
        async with super().aside() as conn:
            yield Noting(conn, self.queries)


class Noting:
    def __init__(self, conn: Connection, queries: list[str]) -> None:
        self._conn = conn
        self._queries = queries

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        self._queries.append(query)
        return await self._conn.fetch(query, *args)

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        self._queries.append(query)
        return await self._conn.fetchrow(query, *args)

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        self._queries.append(query)
        return await self._conn.fetchval(query, *args)

    async def execute(self, query: str, /, *args: Any) -> str:
        self._queries.append(query)
        return await self._conn.execute(query, *args)


@dataclass
class House:
    """What all processes of the server have in common."""

    database: Database
    time: Time = field(default_factory=Time)
    shared: SharedPositions = field(default_factory=lambda: SharedPositions(8))
    workers: int = 0

    def worker(self, **settings: Any) -> "Worker":
        self.workers += 1
        return Worker(self, self.workers - 1, **settings)


class Worker:
    """One process."""

    def __init__(
        self,
        house: House,
        place: int,
        *,
        flows: Sequence[Flow] = ((DUMMY,),),
        validity: Validity = VALIDITY,
        unlimited: str | None = None,
        grace: int = 0,
        changeable: Changeable = CHANGEABLE,
        passwords: Passwords = PASSWORDS,
    ) -> None:
        self.database = Counting(house.database)
        self.clock = Clock(house.shared, place)
        tail = Tail(self.database, self.clock, 0)
        self.process = process = Process(
            SERVER, self.database, Numbers(), self.clock, tail, house.time
        )
        self.validity = validity
        self.sessions = Sessions(process)
        self.credentials = Credentials(process, passwords, shortest=8)
        limits = ResourceLimits(process, LimitSettings())
        self.logins = Logins(process, self.credentials, validity, limits)
        self.tokens = RegistrationTokens(process, unlimited)
        checks = {PASSWORD: self.credentials.check, REGISTRATION_TOKEN: self.tokens.check}
        self.auth = InteractiveAuth(process, checks)
        self.new_accounts = NewAccounts(
            process, self.credentials, lambda user_id: user_id.startswith("@_irc_")
        )
        self.registrations = Registrations(
            process,
            self.credentials,
            self.new_accounts,
            self.logins,
            self.sessions,
            self.auth,
            flows=flows,
            guests=True,
        )
        self.confirmations = Confirmations(process, self.auth, grace)
        self.devices = Devices(process)
        self.management = Management(process, self.credentials)
        self.profiles = Profiles(process, changeable, _nobody)
        self.account_data = AccountData(process)
        self.filters = Filters(process)

    @property
    def queries(self) -> list[str]:
        return self.database.queries

    async def ann(self, **wish: Any) -> LoggedIn:
        """Ann, who gets an account unless she has one, on a new device."""
        found = await self.credentials.verify("ann", PASSWORD_OF_ANN)
        user = found.user if found else await self.new_accounts.add("ann", PASSWORD_OF_ANN)
        return await self.logins.log_in(user, DeviceWish(**wish))

    async def log_in(self, password: str = PASSWORD_OF_ANN, **wish: Any) -> LoggedIn:
        return await self.logins.with_password("ann", password, DeviceWish(**wish))

    async def register(
        self, body: dict[str, Any], auth: AuthData | None = None
    ) -> Registered | Challenge:
        device = DeviceWish(body.get("device_id"))
        wish = Wish(body.get("username"), body.get("password"), device)
        return await self.registrations.register(wish, body, auth)

    async def who(self, token: str) -> Session | UnknownToken:
        try:
            return await self.sessions.get(token)
        except UnknownToken as error:
            return error

    async def is_known(self, token: str) -> bool:
        return isinstance(await self.who(token), Session)


def user_id(localpart: str) -> UserID:
    return UserID(f"@{localpart}:{SERVER}")


async def _nobody(_: object) -> bool:
    return False
