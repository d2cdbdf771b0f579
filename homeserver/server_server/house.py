"""What the endpoints of the server-server API work with."""

from dataclasses import dataclass

from federation.signing import SigningKey
from homeserver.accounts.profiles import Profiles
from homeserver.config.settings import Settings
from homeserver.rooms.heads import Heads
from homeserver.rooms.intake import Intake
from homeserver.rooms.presence import Presence
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.typing import Typing
from homeserver.storage.bus import Bus
from homeserver.storage.process import Process
from homeserver.storage.states import States


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as other servers can ask for them."""

    settings: Settings
    process: Process
    signing_key: SigningKey
    bus: Bus
    profiles: Profiles
    states: States
    heads: Heads
    intake: Intake
    receipts: Receipts
    typing: Typing
    presence: Presence
