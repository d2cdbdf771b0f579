"""Says when the event loop stood still: everybody of a worker waits then.

What takes long belongs into a thread, or into pieces. Time in which the machine did something else
does not count.
"""

import asyncio
import time

from homeserver.logs import get_logger

log = get_logger(__name__)

TOO_LONG = 0.1
"""Seconds of work in one piece."""
_EVERY = 0.05


async def watch() -> None:
    """Warn of each piece of work that takes too long, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due, before = loop.time() + _EVERY, time.thread_time()
        await asyncio.sleep(_EVERY)
        late, worked = loop.time() - due, time.thread_time() - before
        if min(late, worked) > TOO_LONG:
            log.warning("the event loop stood still", milliseconds=round(late * 1000))
