"""The keys of this server, and what it knows of others'.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from federation.canonical_json import JsonObject
from federation.errors import FederationError
from federation.identifiers import ServerName, parse_server_name
from federation.server_keys import KeyDocument, build_document, notarise, parse_document
from homeserver.errors import LimitExceeded
from homeserver.http import Json, Request, Routes
from homeserver.http.addresses import limit_key
from homeserver.http.requests import parsed
from homeserver.server_server.house import House

routes = Routes("key")

VALIDITY = 24 * 60 * 60 * 1000
"""Milliseconds for which our document is good."""
_MOST_SERVERS = 100
_MOST_ASKED = 20
"""Servers that are asked for their keys for one request: anybody may make it."""
_PATIENCE = 10.0
"""Seconds for which those have time to answer."""


class NotaryQuery(msgspec.Struct):
    """Until when, in milliseconds since 1970, the keys have to be good; by default until now."""

    minimum_valid_until_ts: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None


class QueryBody(msgspec.Struct):
    """Whose keys are wanted, and of each until when it has to be good."""

    server_keys: dict[str, dict[str, NotaryQuery]]


@routes.get("/_matrix/key/v2/server", auth=False, also=["/_matrix/key/v2/server/{keyId}"])
async def get_server_key(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server"""
    return own_document(house)


@routes.get("/_matrix/key/v2/query/{serverName}", auth=False)
async def get_server_keys(request: Request, house: House, query: NotaryQuery) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername"""
    name = request.param("serverName", parse_server_name)
    wanted = {name: _least(house, [query])}
    return {"server_keys": await _notarised(house, limit_key(request.address), wanted)}


@routes.post("/_matrix/key/v2/query", auth=False)
async def get_server_keys_bulk(request: Request, house: House, body: QueryBody) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query"""
    wanted = {
        parsed("server_keys", name, parse_server_name): _least(house, criteria.values())
        for name, criteria in list(body.server_keys.items())[:_MOST_SERVERS]
    }
    return {"server_keys": await _notarised(house, limit_key(request.address), wanted)}


def own_document(house: House) -> JsonObject:
    """Our keys, signed by ourselves."""
    valid_until, key = house.process.now() + VALIDITY, house.signing_key
    old = [gone for gone in house.old_keys if gone.key_id != key.key_id]
    return build_document(house.process.server, [key], old, valid_until)


def _least(house: House, criteria: Iterable[NotaryQuery]) -> int:
    """Until when the keys have to be good for all of the criteria."""
    now = house.process.now()
    times = [c.minimum_valid_until_ts for c in criteria]
    return max((now if ts is None else ts for ts in times), default=now)


async def _notarised(
    house: House, asker: str, wanted: Mapping[ServerName, int]
) -> list[JsonObject]:
    """What servers published of themselves, with our signature.

    Those are asked whose keys are not known, or not good for long enough; what has expired is told
    if there is nothing better.
    """
    known = await _documents(house, wanted)
    others = [name for name in wanted if name != house.process.server]
    old = [n for n in others if n not in known or known[n].valid_until < wanted[n]]
    may_ask = _granted(house, asker, old[:_MOST_ASKED])
    if may_ask:
        await house.peers.keys.refresh(may_ask, deadline=_PATIENCE)
        known = await _documents(house, wanted)
    found = [own_document(house)] if house.process.server in wanted else []
    key, server = house.signing_key, house.process.server
    return found + [notarise(document, server, [key]) for document in known.values()]


def _granted(house: House, asker: str, names: Sequence[ServerName]) -> Sequence[ServerName]:
    """Those of the servers that are asked because of somebody of whom nothing is known."""
    for number in range(len(names)):
        try:
            house.limits.check("key_queries", asker)
        except LimitExceeded:
            return names[:number]
    return names


async def _documents(house: House, names: Iterable[ServerName]) -> dict[ServerName, KeyDocument]:
    found = {}
    for published in await house.peers.store.documents(names):
        try:
            name = ServerName(str(published.get("server_name")))
            found[name] = parse_document(published, name, house.process.now())
        except FederationError:
            continue  # none of its keys is one that we can read
    return found
