"""What is made of what: from settings to the duties of one worker.

One function per area; each takes what it builds on, and answers what it made.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from federation.building import Signer
from federation.identifiers import UserID
from federation.signing import SigningKey
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.administration import Administration
from homeserver.accounts.app_services import AppServices
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.devices import Devices
from homeserver.accounts.filters import Filters
from homeserver.accounts.interactive import InteractiveAuth
from homeserver.accounts.issuing import Validity
from homeserver.accounts.logins import Logins
from homeserver.accounts.management import Management
from homeserver.accounts.masquerading import Masquerading
from homeserver.accounts.moderation import Moderation
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.openid import OpenID
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.profile_fields import Changeable
from homeserver.accounts.profiles import Profiles
from homeserver.accounts.registration_tokens import RegistrationTokens
from homeserver.accounts.registrations import Registrations
from homeserver.accounts.service_logins import ServiceLogins
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.stages import DUMMY, PASSWORD, REGISTRATION_TOKEN, Flow
from homeserver.admin import house as admin
from homeserver.app.deliveries import Deliveries
from homeserver.app.moments import CurrentMoments
from homeserver.app.sync_keys import SyncKeys
from homeserver.appservices.asking import Asking
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.delivery import SignsOfLife
from homeserver.appservices.keys import BridgeKeys
from homeserver.appservices.third_parties import ThirdParties
from homeserver.client_server import house as client_server
from homeserver.config.settings import Settings
from homeserver.e2ee.backup import Backups
from homeserver.e2ee.cross_signing import CrossSigning
from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.messages import DeviceMessages
from homeserver.e2ee.queries import Queries
from homeserver.e2ee.telling import Telling
from homeserver.e2ee.uploads import Uploads
from homeserver.http.limits import Limits
from homeserver.media.folder import Folder
from homeserver.media.quarantine import Quarantine
from homeserver.media.remote import Remote
from homeserver.media.repository import Repository
from homeserver.peers.keys import KeyClient
from homeserver.peers.peers import Peers
from homeserver.peers.sending import Sending as PeerSending
from homeserver.push.delivering import Delivering
from homeserver.push.following import Following
from homeserver.push.pushers import Pushers
from homeserver.push.rulesets import Rulesets
from homeserver.push.selecting import Selecting
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.access import Access
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.bundling import Bundling
from homeserver.rooms.carrying_over import CarryingOver
from homeserver.rooms.claims import Claims
from homeserver.rooms.context import Contexts
from homeserver.rooms.creation import Creation
from homeserver.rooms.current import Current
from homeserver.rooms.delayed_events import DelayedEvents
from homeserver.rooms.delayed_sending import DelayedSending
from homeserver.rooms.directory import Directory
from homeserver.rooms.federated import FederatedRooms
from homeserver.rooms.heads import Heads
from homeserver.rooms.history import History, Pages
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake, Means
from homeserver.rooms.membership import Memberships
from homeserver.rooms.moments import Moments
from homeserver.rooms.mutual_rooms import MutualRooms
from homeserver.rooms.overview import Overview
from homeserver.rooms.policing import Policing
from homeserver.rooms.presence import Presence
from homeserver.rooms.purging import Purging
from homeserver.rooms.putting_out import PuttingOut
from homeserver.rooms.read_markers import ReadMarkers
from homeserver.rooms.receipts import Receipts
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.relations import Relations
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.resident import Resident
from homeserver.rooms.resolving import Resolving
from homeserver.rooms.reviewing import Reviewing
from homeserver.rooms.room_states import RoomStates
from homeserver.rooms.searching import Searching
from homeserver.rooms.sending import Sending
from homeserver.rooms.server_notices import ServerNotices
from homeserver.rooms.showing import Showing
from homeserver.rooms.shutting_down import ShuttingDown
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.standings import Standings
from homeserver.rooms.taking_charge import TakingCharge
from homeserver.rooms.tasks import Tasks
from homeserver.rooms.timestamps import Timestamps
from homeserver.rooms.typing import Typing
from homeserver.rooms.upgrading import Upgrading
from homeserver.rooms.user_directory import UserDirectory
from homeserver.rooms.visibility import Visibility
from homeserver.rooms.welcoming import Welcoming
from homeserver.server_server import house as server_server
from homeserver.storage.bus import Bus
from homeserver.storage.installation import Installation
from homeserver.storage.process import Process
from homeserver.storage.states import States
from homeserver.sync.account import AccountSections
from homeserver.sync.activity import Activity
from homeserver.sync.badges import Badges
from homeserver.sync.device_news import DeviceNews
from homeserver.sync.event_stream import EventStream
from homeserver.sync.joined import JoinedRooms
from homeserver.sync.joined import Means as SyncMeans
from homeserver.sync.notifications import Notifications
from homeserver.sync.other_rooms import OtherRooms
from homeserver.sync.rousing import Rousing
from homeserver.sync.sliding.connections import Connections
from homeserver.sync.sliding.departures import Departures
from homeserver.sync.sliding.extensions import ExtensionSections
from homeserver.sync.sliding.extensions import Means as ExtensionMeans
from homeserver.sync.sliding.facts import RoomFacts
from homeserver.sync.sliding.lists import Lists
from homeserver.sync.sliding.members import KnownMembers
from homeserver.sync.sliding.personal import PersonalData
from homeserver.sync.sliding.recency import Recency
from homeserver.sync.sliding.sections import Sections
from homeserver.sync.sliding.syncing import Parts as SlidingParts
from homeserver.sync.sliding.syncing import SlidingSync
from homeserver.sync.snapshots import Snapshots
from homeserver.sync.syncing import Parts as SyncParts
from homeserver.sync.syncing import Syncing
from homeserver.sync.timelines import Timelines
from homeserver.sync.to_device import ToDevice
from homeserver.sync.unread import Unread
from homeserver.sync.user_rooms import UserRooms


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a worker has before its duties are made."""

    settings: Settings
    process: Process
    installation: Installation
    signing_key: SigningKey
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
    registrations: Registrations
    registration_tokens: RegistrationTokens
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Federating:
    """What deals with other servers."""

    peers: Peers
    sending: PeerSending
    remote: RemoteEvents
    policing: Policing
    absorbing: Absorbing
    federated: FederatedRooms
    receiving: Receiving
    claims: Claims
    backfilling: Backfilling
    media: Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """The duties of `homeserver.rooms` that let things happen."""

    aliases: Aliases
    memberships: Memberships
    blocking: Blocking
    putting_out: PuttingOut
    taking_charge: TakingCharge
    sending: Sending
    delayed_sending: DelayedSending
    delayed_events: DelayedEvents
    creation: Creation
    directory: Directory
    spaces: Spaces
    user_directory: UserDirectory
    mutual_rooms: MutualRooms
    welcoming: Welcoming
    upgrading: Upgrading
    carrying_over: CarryingOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The duties of `homeserver.rooms` that only read."""

    access: Access
    standings: Standings
    ignoring: Ignoring
    visibility: Visibility
    showing: Showing
    history: History
    contexts: Contexts
    timestamps: Timestamps
    relations: Relations
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

    telling: Telling
    uploads: Uploads
    queries: Queries
    cross_signing: CrossSigning
    messages: DeviceMessages
    lists: DeviceLists
    backups: Backups


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


def assemble(base: Base) -> Parts:
    """Make all duties."""
    bridging = make_bridging(base)
    accounts = make_accounts(base, bridging)
    rooms = make_rooms(base)
    federating = make_federating(base, rooms)
    writing = make_writing(base, accounts, rooms, federating, bridging)
    reading = make_reading(base, rooms, federating)
    encryption = make_encryption(base, federating, bridging)
    activity = Activity(base.process, base.process.tail.position)
    rulesets = Rulesets(base.process)
    syncing = make_syncing(base, reading, encryption, activity, rulesets)
    return Parts(
        encryption=encryption,
        bridging=bridging,
        deliveries=make_deliveries(base, bridging, reading),
        activity=activity,
        notifying=make_notifying(base, federating, reading, syncing.parts, rulesets),
        base=base,
        accounts=accounts,
        rooms=rooms,
        federating=federating,
        writing=writing,
        reading=reading,
        client_house=client_house(
            base,
            accounts,
            rooms,
            federating,
            writing,
            reading,
            encryption,
            bridging,
            syncing,
            rulesets,
            make_sliding_sync(syncing.parts),
        ),
        admin_house=admin_house(base, accounts, rooms, writing, reading),
        server_house=server_house(base, accounts, rooms, federating, writing, reading, encryption),
    )


def make_accounts(base: Base, bridging: Bridging) -> Accounts:
    """The duties of accounts."""
    settings, process = base.settings, base.process
    auth, may, services = settings.auth, settings.accounts, base.app_services
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
    new_accounts = NewAccounts(process, credentials, services.is_exclusive)
    logins = Logins(process, credentials, validity)
    devices, management = Devices(process), Management(process, credentials)
    registrations = Registrations(
        process,
        credentials,
        new_accounts,
        logins,
        interactive,
        flows=registration_flows(settings),
        guests=settings.registration.guests,
    )
    masquerading = Masquerading(process, services, bridging.signs.heard_from)
    return Accounts(
        sessions=Sessions(process),
        masquerading=masquerading,
        service_logins=ServiceLogins(
            process, services, masquerading, new_accounts, registrations, logins
        ),
        logins=logins,
        registrations=registrations,
        registration_tokens=tokens,
        new_accounts=new_accounts,
        confirmations=Confirmations(process, interactive, auth.confirmation_grace.milliseconds),
        devices=devices,
        management=management,
        moderation=Moderation(process, management, devices),
        administration=Administration(process, new_accounts, management),
        openid=OpenID(process),
        profiles=Profiles(
            process,
            Changeable(may.change_displayname, may.change_avatar, may.custom_profile_fields),
            bridging.asking.user,
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


def _speaker(base: Base) -> UserID | None:
    """Who speaks for the server, if somebody does."""
    notices = base.settings.server_notices
    return None if notices is None else UserID(f"@{notices.localpart}:{base.process.server}")


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
        committed=process.clock.advance,
    )
    return Rooms(
        states=states,
        heads=heads,
        means=means,
        intake=Intake(means),
        current=Current(process.numbers, heads),
        ignoring=Ignoring(process, _speaker(base)),
    )


def make_federating(base: Base, rooms: Rooms) -> Federating:
    """What deals with other servers."""
    process, settings = base.process, base.settings
    peers = Peers(settings, process, base.signing_key)
    remote = RemoteEvents(peers)
    claims = Claims(process.database, process.numbers, rooms.heads)
    resolving = Resolving(process.numbers)
    absorbing = Absorbing(claims, rooms.means, resolving)
    policing = Policing(process, peers, rooms.current, rooms.means, absorbing)
    rooms.intake.policed = policing.post
    receiving = Receiving(process, remote, absorbing, policing, rooms.current)
    largest = int(settings.media.max_remote)
    return Federating(
        peers=peers,
        sending=PeerSending(process, peers, settings.federation, base.bus),
        remote=remote,
        absorbing=absorbing,
        policing=policing,
        federated=FederatedRooms(
            process, peers, remote, absorbing, policing, receiving, rooms.current, rooms.means
        ),
        receiving=receiving,
        claims=claims,
        backfilling=Backfilling(process, remote, receiving, claims, rooms.means, resolving),
        media=Repository(
            process,
            settings.media,
            Folder(settings.media_folder),
            Remote(peers.client, peers.fetch, largest),
        ),
    )


def make_writing(
    base: Base, accounts: Accounts, rooms: Rooms, federating: Federating, bridging: Bridging
) -> Writing:
    """The duties that let things happen in rooms."""
    process, settings = base.process, base.settings.rooms
    current, federated = rooms.current, federating.federated
    aliases = Aliases(
        process,
        current,
        federated.resolve,
        bridging.asking.alias,
        requires_membership=settings.alias_requires_membership,
    )
    blocking = Blocking(process)
    memberships = Memberships(
        process, rooms.intake, current, accounts.profiles, federated, blocking, rooms.ignoring
    )
    sending = Sending(process, rooms.intake, current, aliases, blocking, rooms.ignoring)
    delayed = DelayedSending(
        process, sending, base.bus, lambda user: base.limits.check("messages", user)
    )
    return Writing(
        aliases=aliases,
        memberships=memberships,
        blocking=blocking,
        putting_out=PuttingOut(process, memberships),
        taking_charge=TakingCharge(process, rooms.intake, current, memberships),
        directory=Directory(process, federating.peers),
        spaces=Spaces(process, federating.peers),
        user_directory=UserDirectory(
            process, everybody=base.settings.privacy.directory_of_everybody
        ),
        mutual_rooms=MutualRooms(process),
        welcoming=Welcoming(aliases, memberships, base.settings.registration.auto_join),
        sending=sending,
        delayed_sending=delayed,
        delayed_events=DelayedEvents(process, delayed, settings.delayed_events),
        creation=Creation(
            process,
            rooms.intake,
            accounts.profiles,
            federated,
            rooms.means.signer,
            settings,
            lambda: secrets.token_urlsafe(18),
            rooms.ignoring,
        ),
        upgrading=Upgrading(
            process,
            rooms.intake,
            current,
            accounts.profiles,
            rooms.means.signer,
            lambda: secrets.token_urlsafe(18),
        ),
        carrying_over=CarryingOver(process, current, accounts.account_data),
    )


def make_reading(base: Base, rooms: Rooms, federating: Federating) -> Reading:
    """The duties that read rooms."""
    process = base.process
    moments = Moments(process.numbers, rooms.states)
    standings = Standings(process.numbers, moments)
    visibility = Visibility(process.server, standings, moments)
    showing = Showing(process.server, standings, moments, Bundling(visibility), process.now)
    access = Access(process.numbers, standings)
    pages = Pages(visibility)
    epoch = base.installation.epoch
    presence = base.settings.presence
    backfilling = federating.backfilling
    return Reading(
        access=access,
        standings=standings,
        ignoring=rooms.ignoring,
        visibility=visibility,
        showing=showing,
        history=History(process, epoch, access, pages, showing, moments, backfilling),
        contexts=Contexts(process, epoch, access, pages, showing, moments),
        timestamps=Timestamps(process, access, visibility, federating.remote, backfilling),
        relations=Relations(process, epoch, access, pages, visibility, showing),
        reporting=Reporting(process, access, pages),
        searching=Searching(process, epoch, visibility, showing, moments),
        room_states=RoomStates(process, access, showing),
        overview=Overview(process, showing),
        read_markers=ReadMarkers(process, access),
        receipts=Receipts(process, access),
        typing=Typing(process, base.bus, access),
        presence=Presence(
            process,
            base.bus,
            enabled=presence.enabled,
            idle_after=presence.idle_after.milliseconds,
        ),
    )


def make_encryption(base: Base, federating: Federating, bridging: Bridging) -> Encryption:
    """The duties of end-to-end encryption."""
    process = base.process
    telling = Telling(process)
    return Encryption(
        telling=telling,
        uploads=Uploads(process, telling),
        queries=Queries(process, KeyClient(federating.peers.client), bridging.keys),
        cross_signing=CrossSigning(process, telling),
        messages=DeviceMessages(process),
        lists=DeviceLists(process),
        backups=Backups(process),
    )


def make_bridging(base: Base) -> Bridging:
    """The duties that talk to application services."""
    bridges = Bridges()
    return Bridging(
        bridges=bridges,
        asking=Asking(base.app_services, bridges),
        signs=SignsOfLife(base.bus),
        keys=BridgeKeys(base.app_services, bridges),
    )


def make_deliveries(base: Base, bridging: Bridging, reading: Reading) -> Deliveries:
    """What tells application services what happens."""
    moments = CurrentMoments(reading.typing, reading.presence)
    return Deliveries(base.process, base.app_services, bridging.bridges, base.bus, moments)


def make_syncing(
    base: Base,
    reading: Reading,
    encryption: Encryption,
    activity: Activity,
    rulesets: Rulesets,
) -> Syncing:
    """What a client is shown."""
    process, epoch = base.process, base.installation.epoch
    account = AccountSections(process, activity, reading.presence, rulesets)
    keys = SyncKeys(process, encryption.uploads, encryption.lists)
    DeviceNews(process, activity)
    means = SyncMeans(
        process=process,
        epoch=epoch,
        activity=activity,
        timelines=Timelines(process.server),
        standings=reading.standings,
        visibility=reading.visibility,
        showing=reading.showing,
        receipts=reading.receipts,
        typing=reading.typing,
        account=account,
        unread=Unread(process, activity, rulesets),
    )
    typing, presence = reading.typing, reading.presence
    typing.on_change(lambda room: activity.wake([room]))
    activity.feed(typing.follow)
    Rousing(process, activity, presence)
    return Syncing(
        SyncParts(
            process=process,
            epoch=epoch,
            activity=activity,
            user_rooms=UserRooms(process, activity),
            joined=JoinedRooms(means),
            others=OtherRooms(means),
            account=account,
            keys=keys,
            to_device=ToDevice(keys, activity),
            means=means,
            ignoring=reading.ignoring,
            presence=presence,
            stamp=lambda: max(typing.latest, presence.latest),
        )
    )


def make_notifications(sync: SyncParts, rulesets: Rulesets) -> Notifications:
    """What somebody was notified of."""
    return Notifications(
        sync.process, sync.epoch, sync.activity, sync.user_rooms, rulesets, sync.means.showing
    )


def make_notifying(
    base: Base, federating: Federating, reading: Reading, sync: SyncParts, rulesets: Rulesets
) -> Following:
    """What tells push gateways."""
    process, settings = base.process, base.settings.push
    badges = Badges(
        process,
        sync.activity,
        sync.user_rooms,
        sync.means.unread,
        by_room=settings.unread_by_room,
    )
    return Following(
        process,
        Selecting(process, rulesets, reading.ignoring.rules),
        Delivering(process, federating.peers.post, badges.of, settings),
    )


def make_sliding_sync(parts: SyncParts) -> SlidingSync:
    """The same, as clients with sliding sync are shown it."""
    means, process = parts.means, parts.process
    epoch, activity = parts.epoch, parts.activity
    members = KnownMembers()
    facts, recency = RoomFacts(process, activity), Recency(process, activity)
    extensions = ExtensionMeans(
        process=process,
        epoch=epoch,
        activity=activity,
        account=parts.account,
        keys=parts.keys,
        to_device=parts.to_device,
        receipts=means.receipts,
        typing=means.typing,
    )
    return SlidingSync(
        SlidingParts(
            process=process,
            epoch=epoch,
            activity=activity,
            user_rooms=parts.user_rooms,
            ignoring=parts.ignoring,
            account=parts.account,
            to_device=parts.to_device,
            connections=Connections(process, epoch),
            personal=PersonalData(process),
            recency=recency,
            lists=Lists(recency, facts, Departures(process)),
            sections=Sections(means, members),
            members=members,
            extensions=ExtensionSections(extensions),
            stamp=parts.stamp,
        )
    )


def client_house(
    base: Base,
    accounts: Accounts,
    rooms: Rooms,
    federating: Federating,
    writing: Writing,
    reading: Reading,
    encryption: Encryption,
    bridging: Bridging,
    syncing: Syncing,
    rulesets: Rulesets,
    sliding_sync: SlidingSync,
) -> client_server.House:
    """What the client-server API works with."""
    return client_server.House(
        settings=base.settings,
        process=base.process,
        limits=base.limits,
        bus=base.bus,
        app_services=base.app_services,
        service_logins=accounts.service_logins,
        logins=accounts.logins,
        registrations=accounts.registrations,
        registration_tokens=accounts.registration_tokens,
        new_accounts=accounts.new_accounts,
        confirmations=accounts.confirmations,
        devices=accounts.devices,
        management=accounts.management,
        moderation=accounts.moderation,
        openid=accounts.openid,
        profiles=accounts.profiles,
        account_data=accounts.account_data,
        rulesets=rulesets,
        pushers=Pushers(base.process),
        filters=accounts.filters,
        bridges=bridging.bridges,
        third_parties=ThirdParties(base.app_services, bridging.bridges),
        states=rooms.states,
        heads=rooms.heads,
        intake=rooms.intake,
        aliases=writing.aliases,
        memberships=writing.memberships,
        sending=writing.sending,
        delayed_events=writing.delayed_events,
        creation=writing.creation,
        directory=writing.directory,
        spaces=writing.spaces,
        user_directory=writing.user_directory,
        mutual_rooms=writing.mutual_rooms,
        welcoming=writing.welcoming,
        upgrading=writing.upgrading,
        carrying_over=writing.carrying_over,
        remote_profile=federating.federated.profile,
        media=federating.media,
        uploads=encryption.uploads,
        key_queries=encryption.queries,
        cross_signing=encryption.cross_signing,
        device_messages=encryption.messages,
        device_lists=encryption.lists,
        backups=encryption.backups,
        syncing=syncing,
        sliding_sync=sliding_sync,
        notifications=make_notifications(syncing.parts, rulesets),
        event_stream=EventStream(syncing.parts, reading.access),
        snapshots=Snapshots(syncing.parts, reading.access),
        standings=reading.standings,
        ignoring=reading.ignoring,
        visibility=reading.visibility,
        showing=reading.showing,
        history=reading.history,
        contexts=reading.contexts,
        timestamps=reading.timestamps,
        relations=reading.relations,
        reporting=reading.reporting,
        searching=reading.searching,
        room_states=reading.room_states,
        read_markers=reading.read_markers,
        receipts=reading.receipts,
        typing=reading.typing,
        presence=reading.presence,
    )


def admin_house(
    base: Base, accounts: Accounts, rooms: Rooms, writing: Writing, reading: Reading
) -> admin.House:
    """What the endpoints for administrators work with."""
    purging = Purging(base.process, federates=base.settings.federation.enabled)
    return admin.House(
        settings=base.settings,
        process=base.process,
        administration=accounts.administration,
        management=accounts.management,
        new_accounts=accounts.new_accounts,
        profiles=accounts.profiles,
        registrations=accounts.registrations,
        memberships=writing.memberships,
        welcoming=writing.welcoming,
        aliases=writing.aliases,
        blocking=writing.blocking,
        taking_charge=writing.taking_charge,
        overview=reading.overview,
        reviewing=Reviewing(base.process),
        server_notices=ServerNotices(
            base.process,
            base.settings.server_notices,
            accounts.new_accounts,
            accounts.profiles,
            accounts.account_data,
            writing.creation,
            writing.memberships,
            writing.sending,
        ),
        purging=purging,
        shutting_down=ShuttingDown(
            base.process,
            rooms.intake,
            writing.creation,
            writing.memberships,
            writing.aliases,
            writing.blocking,
            purging,
        ),
        tasks=Tasks(base.process),
        quarantine=Quarantine(base.process),
    )


def server_house(
    base: Base,
    accounts: Accounts,
    rooms: Rooms,
    federating: Federating,
    writing: Writing,
    reading: Reading,
    encryption: Encryption,
) -> server_server.House:
    """What the server-server API works with."""
    return server_server.House(
        settings=base.settings,
        process=base.process,
        limits=base.limits,
        signing_key=base.signing_key,
        peers=federating.peers,
        profiles=accounts.profiles,
        devices=accounts.devices,
        openid=accounts.openid,
        aliases=writing.aliases,
        directory=writing.directory,
        spaces=writing.spaces,
        resident=Resident(
            base.process,
            rooms.current,
            rooms.means,
            federating.remote,
            federating.absorbing,
            federating.policing,
            writing.memberships,
            writing.blocking,
            rooms.ignoring,
        ),
        receiving=federating.receiving,
        receipts=reading.receipts,
        typing=reading.typing,
        presence=reading.presence,
        key_queries=encryption.queries,
        device_messages=encryption.messages,
        device_lists=encryption.lists,
        media=federating.media,
    )


def milliseconds() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _opaque_ids() -> Iterator[str]:
    while True:
        yield secrets.token_urlsafe(18)
