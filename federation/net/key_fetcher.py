"""The requests by which servers and notaries are asked for keys; answers are not judged here.

https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from federation.canonical_json import JsonObject
from federation.errors import ResponseFormatError
from federation.identifiers import KeyID, ServerName
from federation.net.client import FederationClient
from federation.net.transport import Limits

_DOCUMENT = Limits(total=20.0, idle=10.0, body=256 * 1024)
_DOCUMENTS = Limits(total=30.0, body=8 * 1024 * 1024)


class KeyFetcher(Protocol):
    """What the key ring needs of the network.

    Any `FederationError` means that there is no answer; each request ends within a time of its
    own.
    """

    async def fetch_server_keys(self, server: ServerName) -> JsonObject:
        """Ask a server for its own keys.

        https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
        """
        ...

    async def query_notary(
        self, notary: ServerName, wanted: Mapping[ServerName, Mapping[KeyID, int]]
    ) -> Sequence[JsonObject]:
        """Ask a server for other servers' keys; `wanted` has the least `valid_until_ts` of each.

        https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
        """
        ...


class FederationKeyFetcher:
    """Asks over the network, unsigned: nobody has to fetch our keys to tell us theirs."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def fetch_server_keys(self, server: ServerName) -> JsonObject:
        """See `KeyFetcher`; any `RequestError`."""
        return await self._client.get_json(
            server, "/_matrix/key/v2/server", signed=False, limits=_DOCUMENT
        )

    async def query_notary(
        self, notary: ServerName, wanted: Mapping[ServerName, Mapping[KeyID, int]]
    ) -> Sequence[JsonObject]:
        """See `KeyFetcher`; any `RequestError`. What is no object in the answer is left out."""
        criteria = {
            server: {key_id: {"minimum_valid_until_ts": least} for key_id, least in keys.items()}
            for server, keys in wanted.items()
        }
        answer = await self._client.post_json(
            notary,
            "/_matrix/key/v2/query",
            {"server_keys": criteria},
            signed=False,
            limits=_DOCUMENTS,
        )
        documents = answer.get("server_keys")
        if not isinstance(documents, list):
            raise ResponseFormatError("server_keys is not a list")
        return [document for document in documents if isinstance(document, dict)]
