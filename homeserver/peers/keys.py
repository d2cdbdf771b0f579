"""Keys of devices of people elsewhere.

https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

from collections.abc import Mapping
from typing import Any

from federation.identifiers import ServerName, UserID
from federation.net.client import FederationClient
from federation.net.target import encode_target


class KeyClient:
    """Asks other servers; see `homeserver.e2ee.peers.KeyPeers`."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client

    async def query_keys(
        self, server: ServerName, wanted: Mapping[str, list[str]]
    ) -> Mapping[str, Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery"""
        body = {"device_keys": dict(wanted)}
        return await self._client.post_json(server, "/_matrix/federation/v1/user/keys/query", body)

    async def user_devices(self, server: ServerName, user_id: UserID) -> Mapping[str, Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid"""
        target = encode_target("_matrix", "federation", "v1", "user", "devices", user_id)
        return await self._client.get_json(server, target)

    async def claim_keys(
        self, server: ServerName, wanted: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any]:
        """https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim"""
        body = {"one_time_keys": {user: dict(devices) for user, devices in wanted.items()}}
        return await self._client.post_json(server, "/_matrix/federation/v1/user/keys/claim", body)
