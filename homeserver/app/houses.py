"""What the endpoints are given: one house for each of their kinds."""

from homeserver.accounts.threepids import Threepids
from homeserver.admin import house as admin
from homeserver.app.making_sync import make_notifications
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
from homeserver.appservices.third_parties import ThirdParties
from homeserver.client_server import house as client_server
from homeserver.media.quarantine import Quarantine
from homeserver.peers.answers import Answers
from homeserver.push.pushers import Pushers
from homeserver.push.rulesets import Rulesets
from homeserver.rooms.purging import Purging
from homeserver.rooms.resident import Resident
from homeserver.rooms.reviewing import Reviewing
from homeserver.rooms.server_views import ServerViews
from homeserver.rooms.shutting_down import ShuttingDown
from homeserver.rooms.tasks import Tasks
from homeserver.server_server import house as server_server
from homeserver.sync.event_stream import EventStream
from homeserver.sync.sliding.syncing import SlidingSync
from homeserver.sync.snapshots import Snapshots
from homeserver.sync.syncing import Syncing
from homeserver.sync.thread_subscriptions import SubscriptionPages


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
        email_validations=accounts.email_validations,
        resetting=accounts.resetting,
        threepids=Threepids(base.process, accounts.email_validations, federating.identity),
        new_accounts=accounts.new_accounts,
        confirmations=accounts.confirmations,
        client_addresses=accounts.client_addresses,
        captchas=accounts.captchas,
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
        third_party_invites=writing.third_party_invites,
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
        previews=federating.previews,
        uploads=encryption.uploads,
        key_queries=encryption.queries,
        cross_signing=encryption.cross_signing,
        device_messages=encryption.messages,
        device_lists=encryption.lists,
        backups=encryption.backups,
        dehydrated_devices=encryption.dehydrated_devices,
        syncing=syncing,
        sliding_sync=sliding_sync,
        notifications=make_notifications(syncing.parts, rulesets),
        event_stream=EventStream(syncing.parts, reading.access),
        snapshots=Snapshots(syncing.parts, reading.access),
        subscription_pages=SubscriptionPages(base.process, base.installation.epoch),
        standings=reading.standings,
        ignoring=reading.ignoring,
        visibility=reading.visibility,
        showing=reading.showing,
        history=reading.history,
        unredacting=reading.unredacting,
        contexts=reading.contexts,
        timestamps=reading.timestamps,
        relations=reading.relations,
        thread_subscriptions=reading.thread_subscriptions,
        reporting=reading.reporting,
        searching=reading.searching,
        room_states=reading.room_states,
        read_markers=reading.read_markers,
        receipts=reading.receipts,
        typing=reading.typing,
        presence=reading.presence,
    )


def admin_house(
    base: Base,
    accounts: Accounts,
    rooms: Rooms,
    federating: Federating,
    writing: Writing,
    reading: Reading,
) -> admin.House:
    """What the endpoints for administrators work with."""
    purging = Purging(base.process, federates=base.settings.federation.enabled)
    return admin.House(
        settings=base.settings,
        process=base.process,
        administration=accounts.administration,
        management=accounts.management,
        threepids=Threepids(base.process, accounts.email_validations, federating.identity),
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
        server_notices=writing.server_notices,
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
        answers=Answers(base.process),
        signing_key=base.signing_key,
        old_keys=base.old_keys,
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
            ServerViews(rooms.current, rooms.means),
            rooms.lifetimes,
        ),
        third_party_invites=writing.third_party_invites,
        receiving=federating.receiving,
        receipts=reading.receipts,
        typing=reading.typing,
        presence=reading.presence,
        key_queries=encryption.queries,
        device_messages=encryption.messages,
        device_lists=encryption.lists,
        remote_updates=encryption.remote_updates,
        media=federating.media,
    )
