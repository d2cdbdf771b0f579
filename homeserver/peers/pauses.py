"""Leaving servers alone that do not answer, and turning to many of them one after the other."""

import asyncio

from homeserver.storage import destinations
from homeserver.storage.numbers import ServerNid
from homeserver.storage.process import Process

_LOOK_AGAIN = 60.0
"""Seconds after which it is looked who is back, should nobody have said so."""
INTERVAL = 0.02
"""Seconds between two servers of which nobody knows whether they answer: most of the work is to
find out where they are."""


class Pauses:
    """Which servers are left alone. `watch` has to run.

    Args:
        process: the one that this is part of.

    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._back: dict[ServerNid, asyncio.Event] = {}
        """Of servers that are left alone: whether they show life."""

    def begin(self, server: ServerNid) -> None:
        """Listen for life from here on: before it is written down that the server is left alone."""
        self._back[server] = asyncio.Event()

    async def leave_alone(self, server: ServerNid, seconds: float) -> bool:
        """Return once the time is over, or the server shows life; answers whether it does."""
        back = self._back.setdefault(server, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                return await back.wait()
        except TimeoutError:
            return False
        finally:
            self._back.pop(server, None)

    def note_life(self, server: ServerNid) -> None:
        """A server that may have been left alone is back."""
        back = self._back.get(server)
        if back is not None:
            back.set()

    async def watch(self) -> None:
        """See who is back although nobody said so, for ever."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            if self._back:
                async with self._process.database.reader() as conn:
                    for server in await destinations.answering(conn, list(self._back)):
                        self.note_life(server)


class Pace:
    """Lets one after the other go on, so that many at once are no storm.

    Args:
        interval: seconds between two.

    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._next = 0.0

    async def turn(self) -> None:
        """Return when it is one's turn: at once, if nobody else had theirs just now."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        self._next = turn + self._interval
        await asyncio.sleep(turn - now)
