"""The HTTP server of one worker: its doors, opened and closed together.

server = HttpServer(doors, endpoints, Rim(...))
await server.start()
...
await server.stop()
"""

import asyncio
import socket
from collections.abc import Sequence

from homeserver.http.binding import Endpoint
from homeserver.http.connections import Connections, Patience
from homeserver.http.dispatch import Dispatcher, Rim
from homeserver.http.listeners import Door

BACKLOG = 1024
"""Connections that wait to be accepted."""

STOPS_WITHIN = 10.0
"""Seconds."""

_SWEEPS_EVERY = 5.0
_HANDSHAKE_TIMEOUT = 10.0


class HttpServer:
    """Answers at some doors.

    Args:
        doors: what `listeners` bound.
        endpoints: of all services; each door answers those that it serves.
        rim: what all requests meet.
        patience: with those at the other ends.

    """

    def __init__(
        self,
        doors: Sequence[Door],
        endpoints: Sequence[Endpoint],
        rim: Rim,
        patience: Patience = Patience(),  # noqa: B008 - immutable
    ) -> None:
        self._doors = doors
        self._rim = rim
        self._patience = patience
        self._dispatchers = {
            serves: Dispatcher([e for e in endpoints if e.route.serves in serves], rim)
            for serves in {door.serves for door in doors}
        }
        self._listening: list[asyncio.Server] = []
        self._connections: list[Connections] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        for door in self._doors:
            connections = Connections(self._dispatchers[door.serves], self._patience)
            self._connections.append(connections)
            is_unix = door.socket.family is socket.AF_UNIX
            create = loop.create_unix_server if is_unix else loop.create_server
            self._listening.append(
                await create(
                    connections,
                    sock=door.socket,
                    backlog=BACKLOG,
                    ssl=door.tls,
                    ssl_handshake_timeout=_HANDSHAKE_TIMEOUT if door.tls else None,
                )
            )
        self._sweeper = loop.create_task(self._sweep())

    async def stop(self, within: float = STOPS_WITHIN) -> None:
        """Accept nothing more, tell those who wait to answer, and cut off what takes longer."""
        for listening in self._listening:
            listening.close()
        self._rim.stopping.set()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*(connections.end(within) for connections in self._connections))
        self._listening.clear()
        self._connections.clear()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEPS_EVERY)
            for connections in self._connections:
                connections.sweep(loop.time())
