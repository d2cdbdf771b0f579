"""What the endpoints of the server-server API work with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.server_keys import OldKey
from federation.signing import SigningKey
from homeserver.accounts.devices import Devices
from homeserver.accounts.openid import OpenID
from homeserver.accounts.profiles import Profiles
from homeserver.config.settings import Settings
from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.messages import DeviceMessages
from homeserver.e2ee.queries import Queries
from homeserver.e2ee.remote_updates import RemoteUpdates
from homeserver.http.limits import Limits
from homeserver.http.turns import Turns
from homeserver.media.repository import Repository
from homeserver.peers.answers import Answers
from homeserver.peers.peers import Peers
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.directory import Directory
from homeserver.rooms.presence import Presence
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.resident import Resident
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.third_party_invites import ThirdPartyInvites
from homeserver.rooms.typing import Typing
from homeserver.storage.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as other servers can ask for them."""

    settings: Settings
    process: Process
    limits: Limits
    transactions: Turns = field(default_factory=lambda: Turns(5, 25))
    """Of each server, which should send one after the other."""
    answers: Answers
    """To transactions, for when they come again."""
    signing_key: SigningKey
    old_keys: Sequence[OldKey]
    peers: Peers

    profiles: Profiles
    devices: Devices
    openid: OpenID

    aliases: Aliases
    directory: Directory
    spaces: Spaces
    resident: Resident
    third_party_invites: ThirdPartyInvites
    receiving: Receiving
    receipts: Receipts
    typing: Typing
    presence: Presence

    key_queries: Queries
    device_messages: DeviceMessages
    device_lists: DeviceLists
    remote_updates: RemoteUpdates

    media: Repository
