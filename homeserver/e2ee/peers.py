"""What end-to-end encryption asks of other servers.

https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

from collections.abc import Mapping
from typing import Any, Protocol

from federation.identifiers import ServerName, UserID


class KeyPeers(Protocol):
    """Other servers; each question raises a `FederationError` where there is no answer."""

    async def query_keys(
        self, server: ServerName, wanted: Mapping[str, list[str]]
    ) -> Mapping[str, Any]:
        """`POST /user/keys/query`: the body of its answer."""

    async def user_devices(self, server: ServerName, user_id: UserID) -> Mapping[str, Any]:
        """`GET /user/devices/{userId}`: the body of its answer."""

    async def claim_keys(
        self, server: ServerName, wanted: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any]:
        """`POST /user/keys/claim`: the body of its answer."""
