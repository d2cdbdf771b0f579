"""What has to be tidied up from time to time; any worker may do it, at any time."""

import asyncio
import random

from homeserver.accounts.cleaning import clean
from homeserver.app.parts import Parts
from homeserver.logs import get_logger
from homeserver.rooms.purging import Purging
from homeserver.storage import (
    admin_tasks,
    answered,
    delayed_events,
    events,
    redactions,
    server_keys,
    sliding,
    sticky,
    to_device,
    under_way,
)
from homeserver.storage.process import DAY

log = get_logger(__name__)

_EVERY = 3600.0
"""Seconds, about: workers need not all begin at once."""
_TRANSACTIONS_LAST = 7 * DAY
"""Milliseconds for which a repeated request is known, and what became of an administrator's."""
_MOST_FINALISED = 1000
"""Delayed events of one user of which it is kept what became of them, and no longer than that."""
_SOONEST = 3_600_000
"""Milliseconds for which a forgotten room stays in any case: as long as any join may last."""
_CONNECTIONS_LAST = 30
"""Days for which a connection of sliding sync is kept without being used."""


async def keep_house(parts: Parts) -> None:
    """Tidy up again and again."""
    while True:
        await asyncio.sleep(_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - nothing to guess
        await tidy(parts)


async def tidy(parts: Parts) -> None:
    """Remove what has expired, and what nobody wants any more."""
    process = parts.base.process
    await clean(process)
    await parts.accounts.resource_limits.clean()
    await parts.accounts.client_addresses.clean()
    await parts.federating.media.clean()
    await _purge_forgotten(parts)
    before = process.now() - _TRANSACTIONS_LAST
    async with process.database.reader() as conn:
        await to_device.forget_done(conn, before)
        await events.forget_sent(conn, before)
        await delayed_events.forget_finalised(conn, before, _MOST_FINALISED)
        await sticky.forget_expired(conn, process.now())
        await admin_tasks.forget(conn, before)
        await answered.trim(conn, process.now())
        await server_keys.trim(conn, server_keys.MOST_OF_STRANGERS)
        await redactions.forget_originals(conn, process.now())
        await under_way.forget_old(conn, process.now())
        await sliding.forget_unused(conn, process.today - _CONNECTIONS_LAST)


async def _purge_forgotten(parts: Parts) -> None:
    """Delete rooms that nobody here wants any more, and those of which it was begun."""
    settings, process = parts.base.settings, parts.base.process
    after = settings.rooms.purge_forgotten_after.milliseconds
    before = process.now() - max(after, _SOONEST) if after else 0
    purging = Purging(process, federates=settings.federation.enabled)
    count = await purging.purge_forgotten(before)
    if count:
        log.info("rooms that nobody here wants any more were deleted", count=count)
