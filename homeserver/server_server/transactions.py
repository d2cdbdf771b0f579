"""What other servers send: events and ephemeral data.

https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
import orjson

from federation.canonical_json import JsonObject, decode_object, encode
from federation.errors import CanonicalJSONError, EventFormatError, IdentifierError
from federation.events import STICKY, parse
from federation.identifiers import MAX_BYTES, EventID, RoomID, ServerName, parse_room_id
from federation.room_versions import ROOM_VERSIONS
from homeserver.e2ee.remote_updates import device_update, signing_keys
from homeserver.errors import BadJson
from homeserver.http import Auth, Reply, Request, Routes
from homeserver.logs import error_id, get_logger
from homeserver.rooms.receiving import Results
from homeserver.server_server.house import House
from homeserver.storage.events import get_rooms
from homeserver.storage.pool import may_succeed

log = get_logger(__name__)
routes = Routes("federation", limit="federation_requests")

MOST_EVENTS = 50
MOST_EDUS = 100
LONGEST_REASON = 500
"""Characters that say why an event was refused."""
MOST_ROOMS = 500
"""Of which ephemeral data of one transaction may tell."""


class Transaction(msgspec.Struct):
    """What a server sends at a time; what is in it is looked at piece by piece."""

    pdus: list[Any] = []
    edus: list[Any] = []


@routes.put("/_matrix/federation/v1/send/{txnId}", auth=Auth.FEDERATION, own_turns=True)
async def send_transaction(
    request: Request, house: House, body: bytes, origin: ServerName
) -> Reply:
    """https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid"""
    txn_id = request.match_info["txnId"].replace("\0", "")[:255]
    async with house.transactions.of(origin):
        return Reply(200, await _answer(house, origin, txn_id, body))


async def _answer(house: House, origin: ServerName, txn_id: str, body: bytes) -> bytes:
    """Take a transaction, unless it was taken before; what is answered."""
    before = house.answers.recall(origin, txn_id)
    if before is not None:
        return before
    found = _read(body)
    _count_sticky(house, origin, found.pdus)

    if not found.edus:
        # Events have IDs of their own: what comes again is known by them.
        answer = orjson.dumps({"pdus": await _take_events(house, origin, found.pdus)})
        house.answers.remember(origin, txn_id, answer)
        return answer

    async def take_new() -> bytes | None:
        known = await house.answers.find(origin, txn_id)
        if known is None:
            await _take_edus(house, origin, found.edus)
        return known

    known: bytes | None
    known, results = await asyncio.gather(take_new(), _take_events(house, origin, found.pdus))
    if known is not None:
        return known
    answer = orjson.dumps({"pdus": results})
    await house.answers.keep(origin, txn_id, answer)
    return answer


def _read(body: bytes) -> Transaction:
    try:
        # Not as other bodies: events of old rooms may hold numbers beyond 64 bits.
        found = msgspec.convert(decode_object(body, strict=False), Transaction)
    except (CanonicalJSONError, msgspec.ValidationError) as error:
        raise BadJson(f"this is no transaction: {error}") from error
    if len(found.pdus) > MOST_EVENTS:
        raise BadJson(f"a transaction has at most {MOST_EVENTS} PDUs")
    # What is beyond is told now or never; that is no reason to lose events.
    return Transaction(found.pdus, found.edus[:MOST_EDUS])


def _count_sticky(house: House, origin: ServerName, pdus: list[Any]) -> None:
    """Take no more of what comes to everybody in a room than may come.

    "Servers MUST return a non-2xx status code from `/send` such that the sending server retries
    the request": https://github.com/matrix-org/matrix-spec-proposals/pull/4354
    """
    count = sum(isinstance(pdu, dict) and STICKY in pdu for pdu in pdus)
    if count:
        house.limits.check("sticky_events", origin, count)


async def _take_events(house: House, origin: ServerName, pdus: list[Any]) -> dict[str, Any]:
    """Take events, each room by itself, so that none waits for another."""
    by_room: dict[RoomID, list[JsonObject]] = {}
    for pdu in pdus:
        room_id = _room_of(pdu)
        if room_id is not None:
            by_room.setdefault(room_id, []).append(pdu)
    results: dict[str, Any] = {}

    async def take(room_id: RoomID) -> None:
        pdus = by_room[room_id]
        try:
            found = await house.receiving.receive(origin, room_id, pdus)
            if found is None:
                found = await _elsewhere(house, origin, room_id, pdus)
            results.update({i: _result(why) for i, why in found.items()})
        except Exception as error:
            if may_succeed(error):
                raise  # not acknowledged: it is sent again
            # One room's trouble is not another's.
            log.exception("events cannot be taken", error_id=error_id())
            names = await _names(house, room_id, pdus)
            results.update({name: {"error": "internal error"} for name in names})

    await asyncio.gather(*map(take, by_room))
    return results


def _result(why: str | None) -> JsonObject:
    """What became of an event; why it was refused may be in words of its sender."""
    return {"error": why[:LONGEST_REASON]} if why else {}


async def _elsewhere(
    house: House, origin: ServerName, room_id: RoomID, pdus: list[JsonObject]
) -> Results:
    """Take events of a room that we are not in: only our invitations concern us."""
    names = await _names(house, room_id, pdus)
    unwanted = dict.fromkeys(names, "this server is not in the room")
    return {**unwanted, **await house.receiving.take_back_invitations(origin, room_id, pdus)}


async def _names(house: House, room_id: RoomID, pdus: list[JsonObject]) -> list[EventID]:
    """The IDs of the events, as far as they have any."""
    async with house.process.database.reader() as conn:
        room = (await house.process.numbers.rooms.find(conn, [room_id])).get(room_id)
        version = (await get_rooms(conn, [room]))[room].version if room else None
    names: list[EventID] = []
    for pdu in pdus:
        try:
            raw = encode(pdu, strict=False)
            names.append(parse(raw, ROOM_VERSIONS[version or "12"]).event.event_id)
        except (CanonicalJSONError, EventFormatError):
            name = pdu.get("event_id")
            if isinstance(name, str) and len(name) <= MAX_BYTES:
                names.append(EventID(name))
    return names


def _room_of(pdu: object) -> RoomID | None:
    """The room that an event says it is of."""
    if not isinstance(pdu, dict) or not isinstance(pdu.get("room_id"), str):
        return None
    try:
        return parse_room_id(pdu["room_id"])
    except IdentifierError:
        return None


async def _take_edus(house: House, origin: ServerName, edus: list[Any]) -> None:
    """Take ephemeral data: of one kind, all that may be taken together is."""
    by_kind: dict[str, list[JsonObject]] = {}
    for edu in edus:
        content = edu.get("content") if isinstance(edu, dict) else None
        if isinstance(content, dict):
            by_kind.setdefault(str(edu.get("edu_type")), []).append(content)
    for kind, contents in by_kind.items():
        if kind in _TOGETHER:
            await _tried(_TOGETHER[kind](house, origin, contents))
        for content in contents if kind in _ONE_BY_ONE else ():
            await _tried(_ONE_BY_ONE[kind](house, origin, content))


async def _tried(taking: Awaitable[None]) -> None:
    try:
        await taking
    except Exception as error:
        if may_succeed(error):
            raise
        # One's trouble is not another's.
        log.exception("an EDU cannot be taken", error_id=error_id())


async def _typing(house: House, origin: ServerName, contents: list[JsonObject]) -> None:
    told = [content for content in contents if isinstance(content.get("room_id"), str)]
    open_rooms = await house.resident.open_to(origin, _rooms(c["room_id"] for c in told))
    await house.typing.receive(origin, *(c for c in told if c["room_id"] in open_rooms))


async def _receipt(house: House, origin: ServerName, contents: list[JsonObject]) -> None:
    named = _rooms(room_id for content in contents for room_id in content)
    open_rooms = await house.resident.open_to(origin, named)
    allowed = [{r: told for r, told in c.items() if r in open_rooms} for c in contents]
    await house.receipts.receive(origin, *allowed)


def _rooms(named: Iterable[object]) -> set[RoomID]:
    """Those that are room IDs, as far as they are not too many."""
    found: set[RoomID] = set()
    for name in named:
        if len(found) == MOST_ROOMS:
            break
        with suppress(IdentifierError):
            found.add(parse_room_id(name if isinstance(name, str) else ""))
    return found


async def _presence(house: House, origin: ServerName, contents: list[JsonObject]) -> None:
    await house.presence.receive(origin, *contents)


async def _device_lists(house: House, origin: ServerName, contents: list[JsonObject]) -> None:
    await house.remote_updates.receive(origin, map(device_update, contents))


async def _signing_keys(house: House, origin: ServerName, contents: list[JsonObject]) -> None:
    await house.remote_updates.receive(origin, map(signing_keys, contents))


async def _to_device(house: House, origin: ServerName, content: JsonObject) -> None:
    await house.device_messages.receive(origin, content)


_TOGETHER: dict[str, Callable[[House, ServerName, list[JsonObject]], Awaitable[None]]] = {
    "m.typing": _typing,
    "m.receipt": _receipt,
    "m.presence": _presence,
    "m.device_list_update": _device_lists,
    "m.signing_key_update": _signing_keys,
    "org.matrix.signing_key_update": _signing_keys,
}

_ONE_BY_ONE: dict[str, Callable[[House, ServerName, JsonObject], Awaitable[None]]] = {
    "m.direct_to_device": _to_device,
}
