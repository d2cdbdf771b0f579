"""Events as other servers get them."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

from federation.canonical_json import JsonObject
from homeserver.http import Stream
from homeserver.http.replies import encode
from homeserver.server_server.house import House
from homeserver.storage import federation_reads
from homeserver.storage.raw_json import RawJson
from homeserver.storage.state_groups import EventNid

_PIECE = 1000
"""Events of a large answer that are read, and held, at a time."""

Lists = Mapping[str, Sequence[EventNid]]
"""Events by the name of the list that they are to be in."""


def told(house: House, lists: Lists, beside: JsonObject | None = None) -> Stream:
    """An object of lists of events, and what is told beside them.

    A room of any size is told, so the events are read while the other server takes them.
    """
    return _json(_object(house, lists, beside or {}))


def told_as_pair(house: House, lists: Lists, beside: JsonObject) -> Stream:
    """As `told`, behind a status: as version 1 of some endpoints answers."""
    return _json(_object(house, lists, beside, b"[200,", b"]"))


def _json(pieces: AsyncGenerator[bytes, None]) -> Stream:
    return Stream(pieces, {"Content-Type": "application/json", "Cache-Control": "no-store"})


async def _object(
    house: House, lists: Lists, beside: JsonObject, before: bytes = b"", after: bytes = b""
) -> AsyncGenerator[bytes, None]:
    text = before + encode(beside)[:-1]
    between = b"," if beside else b""
    for name, nids in lists.items():
        text += b'%b"%b":[' % (between, name.encode())
        for start in range(0, len(nids), _PIECE):
            if events := await _events(house, nids[start : start + _PIECE]):
                yield text + b",".join(events)
                text = b","
        text = text.removesuffix(b",") + b"]"
        between = b","
    yield text + b"}" + after


async def _events(house: House, nids: Sequence[EventNid]) -> list[bytes]:
    async with house.process.database.reader() as conn:
        return await federation_reads.jsons(conn, nids)


async def ids_of(house: House, nids: Iterable[EventNid]) -> list[str]:
    """The IDs of these numbers."""
    async with house.process.database.reader() as conn:
        return await federation_reads.ids(conn, nids)


def raw(events: Iterable[bytes]) -> list[RawJson]:
    """As they are stored."""
    return [RawJson(event) for event in events]
