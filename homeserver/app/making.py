"""Making the duties of each area, from the lowest on.

One function per area; each takes what it builds on, and answers what it made.
"""

import secrets
import time
from collections.abc import Iterator, Sequence

from federation.building import Signer
from federation.identifiers import UserID
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.administration import Administration
from homeserver.accounts.captchas import CaptchaCheck, Captchas
from homeserver.accounts.client_addresses import ClientAddresses
from homeserver.accounts.confirmations import Confirmations
from homeserver.accounts.credentials import Credentials
from homeserver.accounts.devices import Devices
from homeserver.accounts.email_validations import EmailValidations
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
from homeserver.accounts.resetting import Resetting
from homeserver.accounts.resource_limits import ResourceLimits
from homeserver.accounts.service_logins import ServiceLogins
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.stages import DUMMY, EMAIL, PASSWORD, RECAPTCHA, REGISTRATION_TOKEN, Flow
from homeserver.app.deliveries import Deliveries
from homeserver.app.moments import CurrentMoments
from homeserver.app.parts import (
    Accounts,
    Base,
    Bridging,
    Encryption,
    Federating,
    Reading,
    Rooms,
    Writing,
)
from homeserver.appservices.asking import Asking
from homeserver.appservices.bridges import Bridges
from homeserver.appservices.delivery import SignsOfLife
from homeserver.appservices.keys import BridgeKeys
from homeserver.config.settings import Settings
from homeserver.e2ee.backup import Backups
from homeserver.e2ee.cross_signing import CrossSigning
from homeserver.e2ee.dehydrated_devices import DehydratedDevices
from homeserver.e2ee.device_lists import DeviceLists
from homeserver.e2ee.fetching import Fetching
from homeserver.e2ee.following import Following as DeviceFollowing
from homeserver.e2ee.messages import DeviceMessages
from homeserver.e2ee.queries import Queries
from homeserver.e2ee.refreshing import Refreshing
from homeserver.e2ee.remote_lists import RemoteLists
from homeserver.e2ee.remote_updates import RemoteUpdates
from homeserver.e2ee.telling import Telling
from homeserver.e2ee.uploads import Uploads
from homeserver.media.folder import Folder
from homeserver.media.pages import WebPages
from homeserver.media.previews import Previews
from homeserver.media.remote import Remote
from homeserver.media.repository import Repository
from homeserver.media.unwanted import UnwantedMedia
from homeserver.peers.captchas import CaptchaService
from homeserver.peers.identity import IdentityServers
from homeserver.peers.keys import KeyClient
from homeserver.peers.mailing import Mailer
from homeserver.peers.peers import Peers
from homeserver.peers.sending import Sending as PeerSending
from homeserver.push.rulesets import Rulesets
from homeserver.rooms.absorbing import Absorbing
from homeserver.rooms.access import Access
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.bundling import Bundling
from homeserver.rooms.carrying_over import CarryingOver
from homeserver.rooms.claims import Claims
from homeserver.rooms.clearing import Clearing
from homeserver.rooms.completing import Completing
from homeserver.rooms.context import Contexts
from homeserver.rooms.continuing import Continuing
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
from homeserver.rooms.history import History, Pages
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake, Means
from homeserver.rooms.lifetimes import Lifetimes, Range
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
from homeserver.rooms.rejudging import Rejudging
from homeserver.rooms.relations import Relations
from homeserver.rooms.remote_events import RemoteEvents
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.resolving import Resolving
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
from homeserver.rooms.wholeness import Wholeness
from homeserver.storage.states import States


def make_accounts(base: Base, bridging: Bridging, peers: Peers) -> Accounts:
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
    mailer = Mailer(process.server, settings.smtp, settings.outgoing)
    validations = EmailValidations(
        process,
        mailer,
        settings.base_url,
        tells=settings.smtp is not None and settings.smtp.tell_addresses,
        next_hosts=settings.smtp.next_link_hosts if settings.smtp else (),
    )
    captcha = settings.captcha
    interactive = InteractiveAuth(
        process,
        {
            PASSWORD: credentials.check,
            REGISTRATION_TOKEN: tokens.check,
            EMAIL: validations.check_stage,
            RECAPTCHA: CaptchaCheck(CaptchaService(peers, captcha) if captcha else None),
        },
        {RECAPTCHA: {"public_key": captcha.site_key}} if captcha else {},
    )
    new_accounts = NewAccounts(process, credentials, services.is_exclusive)
    resource_limits = ResourceLimits(process, settings.resource_limits)
    logins = Logins(process, credentials, validity, resource_limits)
    devices, management = Devices(process), Management(process, credentials)
    sessions = Sessions(process)
    registrations = Registrations(
        process,
        credentials,
        new_accounts,
        logins,
        sessions,
        interactive,
        flows=registration_flows(settings),
        guests=settings.registration.guests,
    )
    masquerading = Masquerading(process, services, bridging.signs.heard_from)
    return Accounts(
        sessions=sessions,
        masquerading=masquerading,
        service_logins=ServiceLogins(
            process, services, masquerading, new_accounts, registrations, logins
        ),
        logins=logins,
        resource_limits=resource_limits,
        client_addresses=ClientAddresses(
            process, base.bus, settings.privacy.client_addresses, settings.workers - 1
        ),
        registrations=registrations,
        registration_tokens=tokens,
        email_validations=validations,
        captchas=Captchas(interactive),
        resetting=Resetting(interactive, is_possible=mailer.is_there),
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
    mode, email = settings.registration.mode, settings.registration.require_email
    flows: tuple[Flow, ...]
    if mode == "closed":
        return ()
    if mode == "token":
        flows = ((REGISTRATION_TOKEN, EMAIL),) if email else ((REGISTRATION_TOKEN,),)
    elif email:
        flows = ((EMAIL,),)
    else:
        # Whoever wants to can give an address, to find back to their account.
        flows = ((DUMMY,), (EMAIL,)) if settings.smtp else ((DUMMY,),)
    return _with_captcha(flows) if settings.captcha else flows


def _with_captcha(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    # "the server can instead send flows m.login.recaptcha, m.login.dummy and [...] to fix the
    # ambiguity": the dummy stage stays where there are others.
    if flows == ((DUMMY,),):
        return ((RECAPTCHA,),)
    return tuple((RECAPTCHA, *flow) for flow in flows)


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
        wrote=process.wrote,
        recent=process.tail.log.recent,
        keep_redacted=base.settings.redaction.keep.milliseconds,
        lets_vanish=base.settings.rooms.expiry,
    )
    return Rooms(
        states=states,
        heads=heads,
        means=means,
        intake=Intake(means),
        current=Current(process.numbers, heads),
        ignoring=Ignoring(process, _speaker(base)),
        erased=Erased(process),
        lifetimes=Lifetimes(
            Range.of(base.settings.retention), process.now, lets_vanish=base.settings.rooms.expiry
        ),
    )


def make_federating(base: Base, rooms: Rooms, peers: Peers) -> Federating:
    """What deals with other servers."""
    process, settings = base.process, base.settings
    remote = RemoteEvents(peers)
    claims = Claims(process.database, process.numbers, rooms.heads)
    resolving = Resolving(process.numbers)
    absorbing = Absorbing(claims, rooms.means, resolving)
    policing = Policing(process, peers, rooms.current, rooms.means, absorbing)
    rooms.intake.policed = policing.post
    receiving = Receiving(
        process,
        remote,
        absorbing,
        policing,
        rooms.current,
        Continuing(rooms.intake),
    )
    rejudging = Rejudging(rooms.means, resolving)
    completing = Completing(process, receiving, claims, rejudging, rooms.means)
    largest = int(settings.media.max_remote)
    media = Repository(
        process,
        settings.media,
        Folder(settings.media_folder),
        Remote(peers.client, peers.fetch, largest),
    )
    pages = WebPages(peers.fetch, settings.previews)
    return Federating(
        peers=peers,
        identity=IdentityServers(peers, settings.accounts.identity_servers),
        sending=PeerSending(process, peers, settings.federation, base.bus),
        remote=remote,
        absorbing=absorbing,
        policing=policing,
        completing=completing,
        federated=FederatedRooms(
            process,
            peers,
            remote,
            absorbing,
            policing,
            receiving,
            rooms.current,
            rooms.means,
            completing,
            Wholeness(process),
            Purging(process, federates=settings.federation.enabled),
        ),
        receiving=receiving,
        claims=claims,
        backfilling=Backfilling(process, remote, receiving, claims, rooms.means, resolving),
        media=media,
        unwanted_media=UnwantedMedia(process, media),
        previews=Previews(settings.previews, pages, media.keep_preview, process.now),
    )


def make_writing(
    base: Base,
    accounts: Accounts,
    rooms: Rooms,
    federating: Federating,
    bridging: Bridging,
    rulesets: Rulesets,
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
    spaces = Spaces(process, federating.peers)
    memberships = Memberships(
        process,
        rooms.intake,
        current,
        accounts.profiles,
        federated,
        blocking,
        rooms.ignoring,
        Wholeness(process),
        spaces.lets_guests_in,
    )
    sending = Sending(process, rooms.intake, current, aliases, blocking, rooms.ignoring)
    creation = Creation(
        process,
        rooms.intake,
        accounts.profiles,
        federated,
        rooms.means.signer,
        settings,
        lambda: secrets.token_urlsafe(18),
        rooms.ignoring,
    )
    server_notices = ServerNotices(
        process,
        base.settings.server_notices,
        accounts.new_accounts,
        accounts.profiles,
        accounts.account_data,
        creation,
        memberships,
        sending,
    )
    delayed = DelayedSending(
        process, sending, base.bus, lambda user: base.limits.check("messages", user)
    )
    return Writing(
        aliases=aliases,
        memberships=memberships,
        third_party_invites=ThirdPartyInvites(
            process,
            rooms.intake,
            current,
            accounts.profiles,
            memberships,
            federated,
            federating.identity,
            federating.peers,
        ),
        blocking=blocking,
        putting_out=PuttingOut(process, memberships),
        forgetting=Forgetting(process),
        taking_charge=TakingCharge(process, rooms.intake, current, memberships),
        directory=Directory(process, federating.peers),
        spaces=spaces,
        user_directory=UserDirectory(
            process, everybody=base.settings.privacy.directory_of_everybody
        ),
        mutual_rooms=MutualRooms(process),
        welcoming=Welcoming(aliases, memberships, base.settings.registration.auto_join),
        sending=sending,
        delayed_sending=delayed,
        delayed_events=DelayedEvents(process, delayed, settings.delayed_events),
        creation=creation,
        server_notices=server_notices,
        usage_notices=UsageNotices(
            process,
            accounts.resource_limits,
            server_notices,
            current,
            sending,
            base.settings,
        ),
        upgrading=Upgrading(
            process,
            rooms.intake,
            current,
            accounts.profiles,
            rooms.means.signer,
            lambda: secrets.token_urlsafe(18),
        ),
        carrying_over=CarryingOver(process, current, accounts.account_data, rulesets.carry_over),
        clearing=Clearing(process, rooms.means),
        vanishing=Vanishing(process),
        expiring=Expiring(process, rooms.lifetimes, base.settings.retention.interval.seconds),
    )


def make_reading(base: Base, rooms: Rooms, federating: Federating) -> Reading:
    """The duties that read rooms."""
    process = base.process
    moments = Moments(process.numbers, rooms.states)
    standings = Standings(process.numbers, moments, process.tail.log)
    visibility = Visibility(process.server, standings, moments, rooms.lifetimes)
    showing = Showing(
        process.server,
        standings,
        moments,
        Bundling(visibility, standings),
        process.now,
        rooms.erased.names,
    )
    access = Access(process.numbers, standings)
    pages = Pages(process.server, visibility)
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
        unredacting=Unredacting(
            process, access, pages, showing, rooms.current, rooms.means.keep_redacted
        ),
        contexts=Contexts(process, epoch, access, pages, showing, moments),
        timestamps=Timestamps(process, access, visibility, federating.remote, backfilling),
        relations=Relations(process, epoch, access, pages, visibility, showing),
        thread_subscriptions=ThreadSubscriptions(process, access, pages),
        reporting=Reporting(process, access, pages),
        searching=Searching(process, epoch, visibility, showing, moments),
        room_states=RoomStates(process, access, showing, Wholeness(process)),
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
    peers = KeyClient(federating.peers.client)
    fetching = Fetching(process, peers)
    queries = Queries(process, peers, bridging.keys, RemoteLists(process, fetching))
    return Encryption(
        fetching=fetching,
        following=DeviceFollowing(
            process, base.bus, Telling(process, queries), Refreshing(process, fetching)
        ),
        remote_updates=RemoteUpdates(process),
        uploads=Uploads(process),
        queries=queries,
        cross_signing=CrossSigning(process),
        messages=DeviceMessages(process),
        lists=DeviceLists(process),
        backups=Backups(process),
        dehydrated_devices=DehydratedDevices(process),
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


def milliseconds() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _opaque_ids() -> Iterator[str]:
    while True:
        yield secrets.token_urlsafe(18)
