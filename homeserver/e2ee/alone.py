# ruff: noqa: ARG002 - whatever is asked, the answer is the same
"""A server that deals with no other one (`federation.enabled: false`)."""

from collections.abc import Mapping
from typing import Any

from federation.errors import DiscoveryError
from federation.identifiers import ServerName


class Alone:
    """What `peers.KeyPeers` says where nobody else is asked."""

    async def query_keys(
        self, server: ServerName, wanted: Mapping[str, list[str]]
    ) -> Mapping[str, Any]:
        """See `KeyPeers`."""
        raise DiscoveryError("this server deals with no other servers")

    async def claim_keys(
        self, server: ServerName, wanted: Mapping[str, Mapping[str, str]]
    ) -> Mapping[str, Any]:
        """See `KeyPeers`."""
        raise DiscoveryError("this server deals with no other servers")
