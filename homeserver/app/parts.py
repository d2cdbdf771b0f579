"""What a worker is made of: the duties of each area."""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.server_keys import OldKey
from federation.signing import SigningKey
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.administration import Administration
from homeserver.accounts.app_services import AppServices
from homeserver.accounts.captchas import Captchas
from homeserver.accounts.client_addresses import ClientAddresses
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.devices import Devices
from homeserver.accounts.email_validations import EmailValidations
from homeserver.accounts.filters import Filters
from homeserver.accounts.logins import Logins
from homeserver.accounts.management import Management
from homeserver.accounts.masquerading import Masquerading
from homeserver.accounts.moderation import Moderation
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.openid import OpenID
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registrations
from homeserver.accounts.resetting import Resetting
from homeserver.accounts.resource_limits import ResourceLimits
from homeserver.accounts.service_logins import ServiceLogins
from homeserver.accounts.sessions import Sessions
from homeserver.admin import house as admin
from homeserver.app.deliveries import Deliveries
from homeserver.appservices.asking import Asking
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.delivery import SignsOfLife
from homeserver.appservices.keys import BridgeKeys
from homeserver.client_server import house as client_server
from homeserver.config.settings import Settings
from homeserver.e2ee.backup import Backups
from homeserver.e2ee.cross_signing import CrossSigning
from homeserver.e2ee.dehydrated_devices import DehydratedDevices
from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.fetching import Fetching
from homeserver.e2ee.following import Following as DeviceFollowing
from homeserver.e2ee.messages import DeviceMessages
from homeserver.e2ee.queries import Queries
from homeserver.e2ee.remote_updates import RemoteUpdates
from homeserver.e2ee.uploads import Uploads
from homeserver.http.limits import Limits
from homeserver.media.previews import Previews
from homeserver.media.repository import Repository
from homeserver.media.unwanted import UnwantedMedia
from homeserver.peers.identity import IdentityServers
from homeserver.peers.peers import Peers
from homeserver.peers.sending import Sending as PeerSending
from homeserver.push.following import Following
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.access import Access
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.carrying_over import CarryingOver
from homeserver.rooms.claims import Claims
from homeserver.rooms.clearing import Clearing
from homeserver.rooms.completing import Completing
from homeserver.rooms.context import Contexts
from homeserver.rooms.creation import Creation
from homeserver.rooms.current import Current
from homeserver.rooms.delayed_events import DelayedEvents
from homeserver.rooms.delayed_sending import DelayedSending
from homeserver.rooms.directory import Directory
from homeserver.rooms.erased import Erased
from homeserver.rooms.expiring import Expiring
from homeserver.rooms.federated import FederatedRooms
from homeserver.rooms.forgetting import Forgetting
from homeserver.rooms.heads import Heads
from homeserver.rooms.history import History
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake, Means
from homeserver.rooms.lifetimes import Lifetimes
from homeserver.rooms.membership import Memberships
from homeserver.rooms.mutual_rooms import MutualRooms
from homeserver.rooms.overview import Overview
from homeserver.rooms.policing import Policing
from homeserver.rooms.presence import Presence
from homeserver.rooms.putting_out import PuttingOut
from homeserver.rooms.read_markers import ReadMarkers
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.relations import Relations
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.room_states import RoomStates
from homeserver.rooms.searching import Searching
from homeserver.rooms.sending import Sending
from homeserver.rooms.server_notices import ServerNotices
from homeserver.rooms.showing import Showing
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.standings import Standings
from homeserver.rooms.taking_charge import TakingCharge
from homeserver.rooms.third_party_invites import ThirdPartyInvites
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.rooms.timestamps import Timestamps
from homeserver.rooms.typing import Typing
from homeserver.rooms.unredacting import Unredacting
from homeserver.rooms.upgrading import Upgrading
from homeserver.rooms.usage_notices import UsageNotices
from homeserver.rooms.user_directory import UserDirectory
from homeserver.rooms.vanishing import Vanishing
from homeserver.rooms.visibility import Visibility
from homeserver.rooms.welcoming import Welcoming
from homeserver.server_server import house as server_server
from homeserver.storage.bus import Bus
from homeserver.storage.installation import Installation
from homeserver.storage.process import Process
from homeserver.storage.states import States
from homeserver.sync.activity import Activity


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a worker has before its duties are made."""

    settings: Settings
    process: Process
    installation: Installation
    signing_key: SigningKey
    old_keys: Sequence[OldKey]
    """Of ours, that sign nothing any more."""
    bus: Bus
    limits: Limits
    app_services: AppServices


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The duties of `homeserver.accounts`."""

    sessions: Sessions
    masquerading: Masquerading
    service_logins: ServiceLogins
    logins: Logins
    resource_limits: ResourceLimits
    client_addresses: ClientAddresses
    captchas: Captchas
    registrations: Registrations
    registration_tokens: RegistrationTokens
    email_validations: EmailValidations
    resetting: Resetting
    new_accounts: NewAccounts
    confirmations: Confirmations
    devices: Devices
    management: Management
    moderation: Moderation
    administration: Administration
    openid: OpenID
    profiles: Profiles
    account_data: AccountData
    filters: Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The duties of `homeserver.rooms`."""

    states: States
    heads: Heads
    means: Means
    intake: Intake
    current: Current
    ignoring: Ignoring
    erased: Erased
    lifetimes: Lifetimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Federating:
    """What deals with other servers."""

    peers: Peers
    identity: IdentityServers
    sending: PeerSending
    remote: RemoteEvents
    policing: Policing
    absorbing: Absorbing
    completing: Completing
    federated: FederatedRooms
    receiving: Receiving
    claims: Claims
    backfilling: Backfilling
    media: Repository
    unwanted_media: UnwantedMedia
    previews: Previews


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """The duties of `homeserver.rooms` that let things happen."""

    aliases: Aliases
    memberships: Memberships
    third_party_invites: ThirdPartyInvites
    blocking: Blocking
    putting_out: PuttingOut
    forgetting: Forgetting
    taking_charge: TakingCharge
    sending: Sending
    delayed_sending: DelayedSending
    delayed_events: DelayedEvents
    creation: Creation
    server_notices: ServerNotices
    usage_notices: UsageNotices
    directory: Directory
    spaces: Spaces
    user_directory: UserDirectory
    mutual_rooms: MutualRooms
    welcoming: Welcoming
    upgrading: Upgrading
    carrying_over: CarryingOver
    expiring: Expiring
    vanishing: Vanishing
    clearing: Clearing


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The duties of `homeserver.rooms` that only read."""

    access: Access
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
    overview: Overview
    read_markers: ReadMarkers
    receipts: Receipts
    typing: Typing
    presence: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """The duties of `homeserver.e2ee`."""

    fetching: Fetching
    following: DeviceFollowing
    remote_updates: RemoteUpdates
    uploads: Uploads
    queries: Queries
    cross_signing: CrossSigning
    messages: DeviceMessages
    lists: DeviceLists
    backups: Backups
    dehydrated_devices: DehydratedDevices


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridging:
    """The duties of `homeserver.appservices`."""

    bridges: Bridges
    asking: Asking
    signs: SignsOfLife
    keys: BridgeKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a worker runs on."""

    base: Base
    accounts: Accounts
    rooms: Rooms
    federating: Federating
    writing: Writing
    reading: Reading
    encryption: Encryption
    bridging: Bridging
    deliveries: Deliveries
    activity: Activity
    notifying: Following
    client_house: client_server.House
    server_house: server_server.House
    admin_house: admin.House
