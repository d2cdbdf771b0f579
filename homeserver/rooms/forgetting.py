"""Forgetting rooms for whoever is out of them, where the settings say so (`rooms.forget_on_leave`).

"This behavior applies irrespective of whether the user has left the room on their own (through
`/leave`) or has been kicked or banned from the room by another user", of whatever server. One
process at a time has this duty; it follows the log.

https://spec.matrix.org/v1.19/client-server-api/#mforget_forced_upon_leave-capability
"""

from homeserver.storage import memberships
from homeserver.storage.holding import Duty
from homeserver.storage.process import Process

DUTY = "forget rooms that were left"


class Forgetting:
    """Has the duty, or waits for it. `run` has to run."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._duty = Duty(process, DUTY)

    async def run(self) -> None:
        """Have the duty for as long as it is ours, again and again."""
        await self._duty.follow(self._look)

    async def _look(self, after: int, upto: int) -> None:
        """Forget what a stretch of the log says that people of this server are out of."""
        async with self._process.database.reader() as conn:
            pos = await memberships.forget_left(conn, after, upto, self._process.now())
        self._process.committed(pos)
