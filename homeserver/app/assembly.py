"""What is made of what: from settings to the duties of one worker.

One function per area; each takes what it builds on, and answers what it made.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from federation.building import Signer
from federation.signing import SigningKey
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.devices import Devices
from homeserver.accounts.filters import Filters
from homeserver.accounts.interactive import InteractiveAuth
from homeserver.accounts.issuing import Validity
from homeserver.accounts.logins import Logins
from homeserver.accounts.management import Management
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.profile_fields import Changeable
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registrations
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.stages import DUMMY, PASSWORD, REGISTRATION_TOKEN, Flow
from homeserver.client_server import house as client_server
from homeserver.config.settings import Settings
from homeserver.http.limits import Limits
from homeserver.rooms.heads import Heads
from homeserver.rooms.intake import Intake, Means
from homeserver.server_server import house as server_server
from homeserver.storage.bus import Bus
from homeserver.storage.installation import Installation
from homeserver.storage.process import Process
from homeserver.storage.states import States


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a worker has before its duties are made."""

    settings: Settings
    process: Process
    installation: Installation
    signing_key: SigningKey
    bus: Bus
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The duties of `homeserver.accounts`."""

    sessions: Sessions
    logins: Logins
    registrations: Registrations
    registration_tokens: RegistrationTokens
    new_accounts: NewAccounts
    confirmations: Confirmations
    devices: Devices
    management: Management
    profiles: Profiles
    account_data: AccountData
    filters: Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The duties of `homeserver.rooms`."""

    states: States
    heads: Heads
    intake: Intake


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a worker runs on."""

    base: Base
    accounts: Accounts
    rooms: Rooms
    client_house: client_server.House
    server_house: server_server.House


def assemble(base: Base) -> Parts:
    """Make all duties."""
    accounts = make_accounts(base)
    rooms = make_rooms(base)
    return Parts(
        base=base,
        accounts=accounts,
        rooms=rooms,
        client_house=client_house(base, accounts, rooms),
        server_house=server_house(base, accounts, rooms),
    )


def make_accounts(base: Base) -> Accounts:
    """The duties of accounts."""
    settings, process = base.settings, base.process
    auth, may = settings.auth, settings.accounts
    cost = auth.password_hash
    passwords = Passwords(int(cost.memory), cost.iterations)
    credentials = Credentials(process, passwords, auth.password_minimum)
    lasts = auth.session_validity
    validity = Validity(
        None if lasts is None else lasts.milliseconds,
        auth.refreshable_token_validity.milliseconds,
    )
    token = settings.registration.token
    tokens = RegistrationTokens(process, token.reveal() if token else None)
    interactive = InteractiveAuth(
        process, {PASSWORD: credentials.check, REGISTRATION_TOKEN: tokens.check}
    )
    new_accounts = NewAccounts(process, credentials, lambda _: False)
    logins = Logins(process, credentials, validity)
    return Accounts(
        sessions=Sessions(process),
        logins=logins,
        registrations=Registrations(
            process,
            credentials,
            new_accounts,
            logins,
            interactive,
            flows=registration_flows(settings),
            guests=settings.registration.guests,
        ),
        registration_tokens=tokens,
        new_accounts=new_accounts,
        confirmations=Confirmations(process, interactive, auth.confirmation_grace.milliseconds),
        devices=Devices(process),
        management=Management(process, credentials),
        profiles=Profiles(
            process,
            Changeable(may.change_displayname, may.change_avatar, may.custom_profile_fields),
        ),
        account_data=AccountData(process),
        filters=Filters(process),
    )


def registration_flows(settings: Settings) -> tuple[Flow, ...]:
    """Ways to an account for anybody."""
    mode = settings.registration.mode
    if mode == "closed":
        return ()
    return ((REGISTRATION_TOKEN,),) if mode == "token" else ((DUMMY,),)


def make_rooms(base: Base) -> Rooms:
    """The duties of rooms."""
    process = base.process
    states = States()
    heads = Heads(process.numbers, states)
    means = Means(
        numbers=process.numbers,
        states=states,
        heads=heads,
        signer=Signer(process.server, base.signing_key),
        hash_key=base.installation.state_hash_key,
        now=process.now,
        opaque_ids=_opaque_ids(),
    )
    return Rooms(states=states, heads=heads, intake=Intake(means))


def client_house(base: Base, accounts: Accounts, rooms: Rooms) -> client_server.House:
    """What the client-server API works with."""
    return client_server.House(
        settings=base.settings,
        process=base.process,
        limits=base.limits,
        bus=base.bus,
        logins=accounts.logins,
        registrations=accounts.registrations,
        registration_tokens=accounts.registration_tokens,
        new_accounts=accounts.new_accounts,
        confirmations=accounts.confirmations,
        devices=accounts.devices,
        management=accounts.management,
        profiles=accounts.profiles,
        account_data=accounts.account_data,
        filters=accounts.filters,
        states=rooms.states,
        heads=rooms.heads,
        intake=rooms.intake,
    )


def server_house(base: Base, accounts: Accounts, rooms: Rooms) -> server_server.House:
    """What the server-server API works with."""
    return server_server.House(
        settings=base.settings,
        process=base.process,
        signing_key=base.signing_key,
        bus=base.bus,
        profiles=accounts.profiles,
        states=rooms.states,
        heads=rooms.heads,
        intake=rooms.intake,
    )


def milliseconds() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _opaque_ids() -> Iterator[str]:
    while True:
        yield secrets.token_urlsafe(18)
