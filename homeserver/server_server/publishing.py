"""The keys of this server, and what it knows of others'.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from federation.canonical_json import JsonObject
from federation.errors import FederationError
from federation.identifiers import ServerName, parse_server_name
from federation.server_keys import build_document, notarise, parse_document
from homeserver.http import Json, Request, Routes
from homeserver.http.requests import parsed
from homeserver.server_server.house import House

routes = Routes("key")

VALIDITY = 24 * 60 * 60 * 1000
"""Milliseconds for which our document is good."""
_MOST_SERVERS = 100


class QueryBody(msgspec.Struct):
    """Whose keys are wanted."""

    server_keys: dict[str, dict[str, Any]]


@routes.get("/_matrix/key/v2/server", auth=False, also=["/_matrix/key/v2/server/{keyId}"])
async def get_server_key(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server"""
    return own_document(house)


@routes.get("/_matrix/key/v2/query/{serverName}", auth=False)
async def get_server_keys(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername"""
    name = request.param("serverName", parse_server_name)
    return {"server_keys": await _known(house, [name])}


@routes.post("/_matrix/key/v2/query", auth=False)
async def get_server_keys_bulk(request: Request, house: House, body: QueryBody) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query"""
    names = [parsed("server_keys", name, parse_server_name) for name in body.server_keys]
    return {"server_keys": await _known(house, names[:_MOST_SERVERS])}


def own_document(house: House) -> JsonObject:
    """Our keys, signed by ourselves."""
    valid_until = house.process.now() + VALIDITY
    return build_document(house.process.server, [house.signing_key], [], valid_until)


async def _known(house: House, names: Iterable[ServerName]) -> list[JsonObject]:
    """The documents that we have, with our signature; nobody is asked for others'."""
    wanted = list(names)
    found = [own_document(house)] if house.process.server in wanted else []
    for published in await house.peers.store.documents(wanted):
        try:
            name = ServerName(str(published.get("server_name")))
            document = parse_document(published, name, house.process.now())
        except FederationError:
            continue  # it has expired by now
        found.append(notarise(document, house.process.server, [house.signing_key]))
    return found
