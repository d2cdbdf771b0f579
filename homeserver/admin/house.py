"""What the endpoints for administrators and their tools work with."""

from dataclasses import dataclass

from homeserver.accounts.administration import Administration
from homeserver.accounts.management import Management
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registrations import Registrations
from homeserver.accounts.threepids import Threepids
from homeserver.config.settings import Settings
from homeserver.media.quarantine import Quarantine
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.membership import Memberships
from homeserver.rooms.overview import Overview
from homeserver.rooms.purging import Purging
from homeserver.rooms.reviewing import Reviewing
from homeserver.rooms.server_notices import ServerNotices
from homeserver.rooms.shutting_down import ShuttingDown
from homeserver.rooms.taking_charge import TakingCharge
from homeserver.rooms.tasks import Tasks
from homeserver.rooms.welcoming import Welcoming
from homeserver.storage.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as administrators can ask for them."""

    settings: Settings
    process: Process

    # Accounts
    administration: Administration
    management: Management
    new_accounts: NewAccounts
    profiles: Profiles
    threepids: Threepids
    registrations: Registrations

    # Rooms
    memberships: Memberships
    welcoming: Welcoming
    aliases: Aliases
    blocking: Blocking
    taking_charge: TakingCharge
    overview: Overview
    reviewing: Reviewing
    server_notices: ServerNotices
    purging: Purging
    shutting_down: ShuttingDown
    tasks: Tasks

    quarantine: Quarantine
