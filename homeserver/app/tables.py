"""The tables of endpoints that are served."""

from collections.abc import Sequence

from homeserver.admin import registration as admin_registration
from homeserver.client_server import (
    account,
    account_data,
    aliases,
    capabilities,
    create_room,
    devices,
    events,
    filters,
    keys,
    login,
    membership,
    messages,
    presence,
    profile,
    push_rules,
    receipts,
    registration,
    sending,
    sync,
    to_device,
    typing,
    versions,
    well_known,
)
from homeserver.http import Routes

CLIENT: Sequence[Routes] = (
    account.routes,
    account_data.routes,
    admin_registration.routes,
    aliases.routes,
    capabilities.routes,
    create_room.routes,
    devices.routes,
    events.routes,
    filters.routes,
    keys.routes,
    login.routes,
    membership.routes,
    messages.routes,
    presence.routes,
    profile.routes,
    push_rules.routes,
    receipts.routes,
    registration.routes,
    typing.routes,
    sending.routes,
    sync.routes,
    to_device.routes,
    versions.routes,
    well_known.routes,
)
"""All that clients ask for, media and administration too."""

FEDERATION: Sequence[Routes] = ()
"""All that other servers ask for, keys and media too."""
