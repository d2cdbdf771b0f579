"""Making what tells people what is new: sync, and push."""

from homeserver.app.parts import Base, Encryption, Federating, Reading
from homeserver.app.sync_keys import SyncKeys
from homeserver.push.delivering import Delivering
from homeserver.push.following import Following
from homeserver.push.rulesets import Rulesets
from homeserver.push.selecting import Selecting
from homeserver.sync.account import AccountSections
from homeserver.sync.activity import Activity
from homeserver.sync.badges import Badges
from homeserver.sync.device_news import DeviceNews
from homeserver.sync.joined import JoinedRooms
from homeserver.sync.joined import Means as SyncMeans
from homeserver.sync.notifications import Notifications
from homeserver.sync.other_rooms import OtherRooms
from homeserver.sync.room_memory import RoomMemory
from homeserver.sync.rousing import Rousing
from homeserver.sync.seeing import Seeing
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
from homeserver.sync.sticky import StickyEvents
from homeserver.sync.syncing import Parts as SyncParts
from homeserver.sync.syncing import Syncing
from homeserver.sync.thread_subscriptions import SubscriptionPages
from homeserver.sync.timelines import Timelines
from homeserver.sync.to_device import ToDevice
from homeserver.sync.unread import Unread
from homeserver.sync.user_rooms import UserRooms


def make_syncing(
    base: Base,
    reading: Reading,
    encryption: Encryption,
    activity: Activity,
    rulesets: Rulesets,
) -> Syncing:
    """What a client is shown."""
    process, epoch = base.process, base.installation.epoch
    user_rooms = UserRooms(process, activity)
    account = AccountSections(process, activity, reading.presence, rulesets, user_rooms)
    keys = SyncKeys(process, encryption.uploads, encryption.lists)
    DeviceNews(process, activity)
    means = SyncMeans(
        process=process,
        epoch=epoch,
        activity=activity,
        timelines=Timelines(process.server, process.tail.log),
        memory=RoomMemory(process.server, activity, process.numbers.state_keys),
        standings=reading.standings,
        visibility=reading.visibility,
        seeing=Seeing(process.server, reading.standings, reading.visibility),
        showing=reading.showing,
        receipts=reading.receipts,
        typing=reading.typing,
        account=account,
        unread=Unread(process, activity, rulesets),
        sticky=StickyEvents(process, activity, reading.showing, reading.visibility.lifetimes),
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
            user_rooms=user_rooms,
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
        sync.process,
        sync.epoch,
        sync.activity,
        sync.user_rooms,
        rulesets,
        sync.means.showing,
        sync.means.visibility.lifetimes,
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
        subscriptions=SubscriptionPages(process, epoch),
        sticky=means.sticky,
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
            lists=Lists(recency, facts, Departures(process, means.standings)),
            sections=Sections(means, members),
            members=members,
            extensions=ExtensionSections(extensions),
            stamp=parts.stamp,
        )
    )
