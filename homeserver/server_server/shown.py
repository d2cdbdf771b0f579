"""Events as other servers get them."""

from collections.abc import Iterable

from homeserver.server_server.house import House
from homeserver.storage import federation_reads
from homeserver.storage.raw_json import RawJson
from homeserver.storage.state_groups import EventNid


async def events_of(house: House, nids: Iterable[EventNid]) -> list[bytes]:
    """The events of these numbers."""
    async with house.process.database.reader() as conn:
        return await federation_reads.jsons(conn, nids)


async def ids_of(house: House, nids: Iterable[EventNid]) -> list[str]:
    """The IDs of these numbers."""
    async with house.process.database.reader() as conn:
        return await federation_reads.ids(conn, nids)


def raw(events: Iterable[bytes]) -> list[RawJson]:
    """As they are stored."""
    return [RawJson(event) for event in events]
