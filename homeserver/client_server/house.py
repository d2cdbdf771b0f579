"""What the endpoints of the client-server API work with."""

from dataclasses import dataclass

from homeserver.accounts.account_data import AccountData
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.devices import Devices
from homeserver.accounts.filters import Filters
from homeserver.accounts.logins import Logins
from homeserver.accounts.management import Management
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registrations
from homeserver.config.settings import Settings
from homeserver.http.limits import Limits
from homeserver.rooms.heads import Heads
from homeserver.rooms.intake import Intake
from homeserver.storage.bus import Bus
from homeserver.storage.process import Process
from homeserver.storage.states import States


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as clients can ask for them."""

    settings: Settings
    process: Process
    limits: Limits
    bus: Bus

    # Accounts
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

    # Rooms
    states: States
    heads: Heads
    intake: Intake
