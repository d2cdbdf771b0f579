"""What the endpoints for administrators and their tools work with."""

from dataclasses import dataclass

from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registrations import Registrations
from homeserver.config.settings import Settings
from homeserver.rooms.welcoming import Welcoming
from homeserver.storage.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as administrators can ask for them."""

    settings: Settings
    process: Process
    new_accounts: NewAccounts
    profiles: Profiles
    welcoming: Welcoming
    registrations: Registrations
