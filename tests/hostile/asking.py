"""Requests of a peer, byte by byte."""

import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from yarl import URL

from federation import canonical_json, x_matrix
from federation.errors import CanonicalJSONError
from tests.server_server.peer import Peer


class Answer(NamedTuple):
    """What the server says."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def errcode(self) -> str | None:
        return self.json.get("errcode") if isinstance(self.json, dict) else None


def signature(peer: Peer, method: str, target: str, raw: bytes | None) -> str:
    """A header that is right, as far as a body can be signed."""
    try:
        content = canonical_json.decode(raw, strict=False) if raw else None
    except CanonicalJSONError:
        content = None
    return x_matrix.sign_request(
        key=peer.key,
        origin=peer.name,
        destination=peer.hearth.name,
        method=method,
        uri=target,
        content=content,
    )


async def ask(
    peer: Peer, method: str, target: str, raw: bytes | None = None, **headers: str
) -> Answer:
    """Make a request as it is; signed unless `Authorization` is given."""
    headers = {"Authorization": signature(peer, method, target, raw)} | headers
    return await ask_with(peer, method, target, raw, list(headers.items()))


async def ask_with(
    peer: Peer, method: str, target: str, raw: bytes | None, headers: list[tuple[str, str]]
) -> Answer:
    """Make a request with these headers, some of them perhaps more than once."""
    url = URL(peer.hearth.url + target, encoded=True)
    data = None if raw is None else io.BytesIO(raw)
    async with peer.session.request(method, url, data=data, headers=headers) as response:
        body = await response.read()
        is_json = response.content_type == "application/json"
        found = json.loads(body) if is_json and body else None
        return Answer(response.status, found, response.headers)
