"""An identity server for tests: real sockets, TLS and keys. It believes whoever asks.

https://spec.matrix.org/v1.19/identity-service-api/
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from federation.building import Signer
from federation.identifiers import ServerName
from federation.signing import SigningKey, encode_base64, sign_json
from homeserver.http.listeners import bind
from tests.federation.net.loopback import Authority
from tests.servers import LOOPBACK, Hearth

TOKEN = "client's token"
V2 = "/_matrix/identity/v2"


@dataclass
class Identity:
    """What it knows, and what it was told."""

    name: str = ""
    key: SigningKey = field(
        default_factory=lambda: SigningKey.from_seed("ed25519:0", secrets.token_bytes(32))
    )
    pepper: str = "matrixrocks"
    algorithms: list[str] = field(default_factory=lambda: ["none", "sha256"])
    bound: dict[tuple[str, str], str] = field(default_factory=dict)
    """Users, by medium and address."""
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Invitations, by token."""
    sessions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Medium and address that were validated, by `sid`."""
    asked: list[str] = field(default_factory=list)
    """The paths."""
    signed_by: list[str] = field(default_factory=list)
    """`Authorization` of unbinding."""
    is_key_valid: bool = True
    fails: dict[str, web.Response] = field(default_factory=dict)
    """What is answered instead, by path."""

    def invitation(self, address: str) -> dict[str, Any]:
        """Whom to ask to invite somebody."""
        return {
            "id_server": self.name,
            "id_access_token": TOKEN,
            "medium": "email",
            "address": address,
        }

    def sign(self, token: str, user_id: str, **more: Any) -> dict[str, Any]:
        """What shows that an invitation is somebody's."""
        signer = Signer(ServerName(self.name), self.key)
        return dict(sign_json({"mxid": user_id, "token": token, **more}, signer.server, signer.key))

    def pending(self, address: str, user_id: str) -> list[dict[str, Any]]:
        """The invitations that waited for somebody, as their server is told."""
        return [
            {
                "medium": "email",
                "address": address,
                "mxid": user_id,
                "room_id": one["room_id"],
                "sender": one["sender"],
                "signed": self.sign(token, user_id),
            }
            for token, one in self.stored.items()
            if one["address"] == address
        ]

    async def bind(self, address: str, user_id: str, hearth: Hearth) -> tuple[int, Any]:
        """Somebody has shown that an address is theirs; their server is told."""
        self.bound[("email", address)] = user_id
        body = {
            "medium": "email",
            "address": address,
            "mxid": user_id,
            "invites": self.pending(address, user_id),
        }
        url = f"{hearth.url}/_matrix/federation/v1/3pid/onbind"
        connector = aiohttp.TCPConnector(ssl=False)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.put(url, json=body) as answer,
        ):
            return answer.status, await answer.json()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """One request."""
        path = request.path.removeprefix(V2)
        self.asked.append(path)
        if path in self.fails:
            return self.fails[path]
        if path.startswith("/pubkey"):
            is_ours = request.query["public_key"] == encode_base64(self.key.verify_key)
            return web.json_response({"valid": self.is_key_valid and is_ours})
        authorization = request.headers["Authorization"]
        body = await request.json() if request.can_read_body else {}
        if path == "/3pid/unbind":
            self.signed_by.append(authorization)
            self.bound.pop((body["threepid"]["medium"], body["threepid"]["address"]), None)
            return web.json_response({})
        if authorization != f"Bearer {TOKEN}":
            return web.json_response({"errcode": "M_UNAUTHORIZED", "error": "who?"}, status=401)
        known = {
            "/hash_details": self._hash_details,
            "/lookup": self._lookup,
            "/store-invite": self._store_invite,
            "/3pid/bind": self._bind,
        }
        return web.json_response(known[path](body))

    def _hash_details(self, _body: Any) -> Any:
        return {"lookup_pepper": self.pepper, "algorithms": self.algorithms}

    def _lookup(self, body: Any) -> Any:
        assert body["algorithm"] == "sha256"
        assert body["pepper"] == self.pepper
        known = {self._hash(*which): user for which, user in self.bound.items()}
        return {"mappings": {h: known[h] for h in body["addresses"] if h in known}}

    def _hash(self, medium: str, address: str) -> str:
        digest = hashlib.sha256(f"{address} {medium} {self.pepper}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def _store_invite(self, body: Any) -> Any:
        token = secrets.token_urlsafe(16)
        self.stored[token] = body
        url = f"https://{self.name}{V2}/pubkey/isvalid"
        key = {"public_key": encode_base64(self.key.verify_key), "key_validity_url": url}
        return {"token": token, "display_name": "f...@b...", "public_keys": [key]}

    def _bind(self, body: Any) -> Any:
        medium, address = self.sessions[body["sid"]]
        self.bound[(medium, address)] = body["mxid"]
        return {"medium": medium, "address": address, "mxid": body["mxid"]}


@asynccontextmanager
async def identifying(authority: Authority) -> AsyncIterator[Identity]:
    """An identity server, for as long as it is used."""
    identity = Identity()
    runner = web.ServerRunner(web.Server(identity.answer), shutdown_timeout=0.1)
    await runner.setup()
    listening = bind(LOOPBACK, 0)
    identity.name = f"127.0.0.1:{listening.getsockname()[1]}"
    tls = authority.server_context("127.0.0.1")
    await web.SockSite(runner, listening, ssl_context=tls).start()
    try:
        yield identity
    finally:
        await runner.cleanup()
