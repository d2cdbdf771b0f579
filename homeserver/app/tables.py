"""The tables of endpoints that are served."""

from collections.abc import Sequence

from homeserver.admin import media as admin_media
from homeserver.admin import purging as admin_purging
from homeserver.admin import registration as admin_registration
from homeserver.admin import reports as admin_reports
from homeserver.admin import rooms as admin_rooms
from homeserver.admin import server_notices as admin_server_notices
from homeserver.admin import shutting_down as admin_shutting_down
from homeserver.admin import users as admin_users
from homeserver.admin import version as admin_version
from homeserver.client_server import (
    account,
    account_data,
    aliases,
    app_services,
    calls,
    capabilities,
    create_room,
    dehydrated_devices,
    delayed_events,
    devices,
    email_validation,
    events,
    fallback,
    filters,
    key_backup,
    keys,
    login,
    media,
    membership,
    messages,
    moderation,
    mutual_rooms,
    notifications,
    old_sync,
    openid,
    presence,
    profile,
    public_rooms,
    push_rules,
    pushers,
    receipts,
    registration,
    relations,
    reports,
    retention,
    search,
    sending,
    sliding_sync,
    spaces,
    sync,
    third_parties,
    thread_subscriptions,
    threepids,
    to_device,
    typing,
    upgrade,
    user_directory,
    versions,
    well_known,
)
from homeserver.http import Routes
from homeserver.server_server import events as server_events
from homeserver.server_server import keys as server_keys
from homeserver.server_server import media as server_media
from homeserver.server_server import membership as server_membership
from homeserver.server_server import openid as server_openid
from homeserver.server_server import public_rooms as server_public_rooms
from homeserver.server_server import publishing, queries, transactions, version
from homeserver.server_server import spaces as server_spaces
from homeserver.server_server import third_party_invites as server_third_party_invites

CLIENT: Sequence[Routes] = (
    account.routes,
    account_data.routes,
    aliases.routes,
    calls.routes,
    app_services.routes,
    capabilities.routes,
    create_room.routes,
    dehydrated_devices.routes,
    delayed_events.routes,
    devices.routes,
    email_validation.routes,
    events.routes,
    fallback.routes,
    filters.routes,
    key_backup.routes,
    keys.routes,
    login.routes,
    media.routes,
    membership.routes,
    messages.routes,
    moderation.routes,
    openid.routes,
    mutual_rooms.routes,
    notifications.routes,
    old_sync.routes,
    presence.routes,
    profile.routes,
    public_rooms.routes,
    push_rules.routes,
    pushers.routes,
    receipts.routes,
    registration.routes,
    relations.routes,
    reports.routes,
    retention.routes,
    search.routes,
    typing.routes,
    sending.routes,
    spaces.routes,
    sliding_sync.routes,
    sync.routes,
    to_device.routes,
    third_parties.routes,
    thread_subscriptions.routes,
    threepids.routes,
    upgrade.routes,
    user_directory.routes,
    versions.routes,
    well_known.routes,
)
"""All that clients ask for, media too."""

ADMIN: Sequence[Routes] = (
    admin_registration.routes,
    admin_media.routes,
    admin_purging.routes,
    admin_reports.routes,
    admin_rooms.routes,
    admin_server_notices.routes,
    admin_shutting_down.routes,
    admin_users.routes,
    admin_version.routes,
)
"""All that tools of administrators ask for."""

FEDERATION: Sequence[Routes] = (
    publishing.routes,
    queries.routes,
    server_events.routes,
    server_keys.routes,
    server_media.routes,
    server_membership.routes,
    server_openid.routes,
    server_public_rooms.routes,
    server_spaces.routes,
    server_third_party_invites.routes,
    transactions.routes,
    version.routes,
)
"""All that other servers ask for, keys and media too."""
