"""Which of many servers are asked first."""

from collections.abc import Collection

from federation.identifiers import ServerName
from homeserver.storage import destinations
from homeserver.storage.process import Process


async def answering_first(
    process: Process, servers: Collection[ServerName], at_once: int
) -> list[ServerName]:
    """The servers, if they are not all asked at once: those last that may not answer.

    They may take all the time that there is.
    """
    if len(servers) <= at_once:
        return list(servers)
    async with process.database.reader() as conn:
        nids = await process.numbers.servers.find(conn, servers)
        answering = set(await destinations.answering(conn, nids.values()))
    return sorted(servers, key=lambda server: nids.get(server) not in answering)
