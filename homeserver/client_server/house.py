"""What the endpoints of the client-server API work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from federation.identifiers import UserID
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.app_services import AppServices
from homeserver.accounts.captchas import Captchas
from homeserver.accounts.client_addresses import ClientAddresses
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.devices import Devices
from homeserver.accounts.email_validations import EmailValidations
from homeserver.accounts.filters import Filters
from homeserver.accounts.logins import Logins
from homeserver.accounts.management import Management
from homeserver.accounts.moderation import Moderation
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.openid import OpenID
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registrations
from homeserver.accounts.resetting import Resetting
from homeserver.accounts.service_logins import ServiceLogins
from homeserver.accounts.threepids import Threepids
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.third_parties import ThirdParties
from homeserver.config.settings import Settings
from homeserver.e2ee.backup import Backups
from homeserver.e2ee.cross_signing import CrossSigning
from homeserver.e2ee.dehydrated_devices import DehydratedDevices
from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.messages import DeviceMessages
from homeserver.e2ee.queries import Queries
from homeserver.e2ee.uploads import Uploads
from homeserver.http.limits import Limits
from homeserver.media.previews import Previews
from homeserver.media.repository import Repository
from homeserver.push.pushers import Pushers
from homeserver.push.rulesets import Rulesets
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.carrying_over import CarryingOver
from homeserver.rooms.context import Contexts
from homeserver.rooms.creation import Creation
from homeserver.rooms.delayed_events import DelayedEvents
from homeserver.rooms.directory import Directory
from homeserver.rooms.heads import Heads
from homeserver.rooms.history import History
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake
from homeserver.rooms.membership import Memberships
from homeserver.rooms.mutual_rooms import MutualRooms
from homeserver.rooms.presence import Presence
from homeserver.rooms.read_markers import ReadMarkers
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.relations import Relations
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.room_states import RoomStates
from homeserver.rooms.searching import Searching
from homeserver.rooms.sending import Sending
from homeserver.rooms.showing import Showing
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.standings import Standings
from homeserver.rooms.third_party_invites import ThirdPartyInvites
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.rooms.timestamps import Timestamps
from homeserver.rooms.typing import Typing
from homeserver.rooms.unredacting import Unredacting
from homeserver.rooms.upgrading import Upgrading
from homeserver.rooms.user_directory import UserDirectory
from homeserver.rooms.visibility import Visibility
from homeserver.rooms.welcoming import Welcoming
from homeserver.storage.bus import Bus
from homeserver.storage.process import Process
from homeserver.storage.states import States
from homeserver.sync.event_stream import EventStream
from homeserver.sync.notifications import Notifications
from homeserver.sync.sliding.syncing import SlidingSync
from homeserver.sync.snapshots import Snapshots
from homeserver.sync.syncing import Syncing
from homeserver.sync.thread_subscriptions import SubscriptionPages


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The duties, as far as clients can ask for them."""

    settings: Settings
    process: Process
    limits: Limits
    bus: Bus

    # Accounts
    app_services: AppServices
    service_logins: ServiceLogins
    logins: Logins
    registrations: Registrations
    registration_tokens: RegistrationTokens
    email_validations: EmailValidations
    resetting: Resetting
    threepids: Threepids
    new_accounts: NewAccounts
    confirmations: Confirmations
    client_addresses: ClientAddresses
    captchas: Captchas
    devices: Devices
    management: Management
    moderation: Moderation
    openid: OpenID
    profiles: Profiles
    account_data: AccountData
    rulesets: Rulesets
    pushers: Pushers
    filters: Filters

    bridges: Bridges
    third_parties: ThirdParties

    # Rooms
    states: States
    heads: Heads
    intake: Intake
    aliases: Aliases
    memberships: Memberships
    third_party_invites: ThirdPartyInvites
    sending: Sending
    delayed_events: DelayedEvents
    creation: Creation
    directory: Directory
    spaces: Spaces
    user_directory: UserDirectory
    mutual_rooms: MutualRooms
    welcoming: Welcoming
    upgrading: Upgrading
    carrying_over: CarryingOver

    # End-to-end encryption
    uploads: Uploads
    key_queries: Queries
    cross_signing: CrossSigning
    device_messages: DeviceMessages
    device_lists: DeviceLists
    backups: Backups
    dehydrated_devices: DehydratedDevices

    syncing: Syncing
    sliding_sync: SlidingSync
    notifications: Notifications
    event_stream: EventStream
    snapshots: Snapshots
    subscription_pages: SubscriptionPages

    remote_profile: Callable[[UserID], Awaitable[dict[str, Any]]]
    """Somebody's profile, from their server; or raises a `MatrixError`."""

    # Reading rooms
    standings: Standings
    ignoring: Ignoring
    visibility: Visibility
    showing: Showing
    history: History
    unredacting: Unredacting
    contexts: Contexts
    timestamps: Timestamps
    relations: Relations
    thread_subscriptions: ThreadSubscriptions
    reporting: Reporting
    searching: Searching
    room_states: RoomStates
    read_markers: ReadMarkers
    receipts: Receipts
    typing: Typing
    presence: Presence

    media: Repository
    previews: Previews
