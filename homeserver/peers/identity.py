"""Asking identity servers, which know whose an address is.

Only those that the settings name are told anything about a person here.

https://spec.matrix.org/v1.19/identity-service-api/
"""

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.errors import FederationError, IdentifierError
from federation.identifiers import ServerName, UserID, is_user_id, parse_server_name
from federation.net.transport import Limits
from homeserver.errors import BadGateway, Forbidden, IdentityServerError, ServerNotTrusted
from homeserver.peers.peers import Peers

_LIMITS = Limits(total=20.0, connect=10.0, idle=10.0, body=64 * 1024)
_V2 = "/_matrix/identity/v2"
_SHA256 = "sha256"
_TOKEN = re.compile(r"[0-9a-zA-Z.=_-]{1,255}", re.ASCII)
_MOST_KEYS = 10
_OF_TOKENS = frozenset({"M_UNAUTHORIZED", "M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"})
_ERRCODE = re.compile(r"[A-Z][A-Z0-9_.]{0,80}", re.ASCII)


class Access(NamedTuple):
    """An identity server, and the client's token for it."""

    server: ServerName
    token: str


class StoredInvite(NamedTuple):
    """What an identity server keeps of an invitation until somebody shows that it is theirs."""

    token: str
    display_name: str
    public_keys: list[dict[str, str]]
    """Each with `public_key` and `key_validity_url`; at least one."""


class IdentityServers:
    """Asks identity servers.

    Args:
        peers: the way to them.
        allowed: those that may be told of people here (`accounts.identity_servers`).

    """

    def __init__(self, peers: Peers, allowed: Collection[ServerName]) -> None:
        self._peers = peers
        self._allowed = frozenset(name.lower() for name in allowed)

    def check(self, name: str) -> ServerName:
        """The name of an identity server, or raise `ServerNotTrusted`."""
        try:
            server = parse_server_name(name)
        except IdentifierError as error:
            raise ServerNotTrusted from error
        if server.lower() not in self._allowed:
            raise ServerNotTrusted
        return server

    async def find(self, access: Access, medium: str, address: str) -> UserID | None:
        """Whose an address is, asked for by its hash; `None` if that is not known.

        https://spec.matrix.org/v1.19/identity-service-api/#association-lookup

        Raises:
            IdentityServerError, Forbidden, BadGateway: see `_ask`.

        """
        for _ in range(2):
            details = await self._ask("GET", access, "/hash_details")
            pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
            if not isinstance(pepper, str) or not isinstance(algorithms, list):
                raise BadGateway("the identity server does not say how addresses are hashed")
            if _SHA256 not in algorithms:
                raise BadGateway("the identity server wants to know addresses themselves")
            hashed = _hash(address, medium, pepper)
            body = {"addresses": [hashed], "algorithm": _SHA256, "pepper": pepper}
            try:
                answer = await self._ask("POST", access, "/lookup", body)
            except IdentityServerError as error:
                if error.errcode != "M_INVALID_PEPPER":
                    raise
                continue  # changed in between
            mappings = answer.get("mappings")
            found = mappings.get(hashed) if isinstance(mappings, dict) else None
            return UserID(found) if isinstance(found, str) and is_user_id(found) else None
        raise BadGateway("the identity server changes how addresses are hashed all the time")

    async def store_invite(self, access: Access, invitation: Mapping[str, str]) -> StoredInvite:
        """Have an invitation kept for whoever shows that an address is theirs.

        https://spec.matrix.org/v1.19/identity-service-api/#invitation-storage

        Raises:
            IdentityServerError, Forbidden, BadGateway: see `_ask`.

        """
        answer = await self._ask("POST", access, "/store-invite", invitation)
        token, name, listed = (answer.get(k) for k in ("token", "display_name", "public_keys"))
        keys = [_key(one) for one in (listed[:_MOST_KEYS] if isinstance(listed, list) else [])]
        good = [key for key in keys if key is not None]
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise BadGateway("the identity server answered no good token")
        if not isinstance(name, str) or not good:
            raise BadGateway("the identity server answered without a name or keys")
        return StoredInvite(token, name, good)

    async def bind(self, access: Access, sid: str, client_secret: str, user: UserID) -> JsonObject:
        """Tie the address of one of its sessions to somebody; answers `medium` and `address`.

        Raises:
            IdentityServerError, Forbidden, BadGateway: see `_ask`.

        https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv23pidbind
        """
        body = {"sid": sid, "client_secret": client_secret, "mxid": user}
        return await self._ask("POST", access, "/3pid/bind", body)

    async def unbind(self, server: ServerName, medium: str, address: str, user: UserID) -> bool:
        """Untie an address from somebody here, for whom our signature speaks.

        False if it does not do such things: "If the response body is not a JSON Matrix error, the
        identity server does not support unbinds."

        https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv23pidunbind
        """
        body = {"mxid": user, "threepid": {"medium": medium, "address": address}}
        path = f"{_V2}/3pid/unbind"
        signature = self._peers.signature_for(server, "POST", path, body)
        try:
            await self._exchange("POST", server, path, signature, body)
        except BadGateway:
            return False
        return True

    async def is_key_valid(self, url: str, public_key: str) -> bool:
        """Whether a key is good for redeeming invitations, says where that can be asked.

        Nothing else is told there. What does not answer counts as a no.
        """
        asked = f"{url}{'&' if '?' in url else '?'}public_key={quote(public_key, safe='')}"
        try:
            async with self._peers.ask("GET", asked, _LIMITS) as reply:
                answer = orjson.loads(await reply.read()) if reply.status == 200 else None
        except (FederationError, orjson.JSONDecodeError):
            return False
        return isinstance(answer, dict) and answer.get("valid") is True

    async def _ask(
        self, method: str, access: Access, path: str, body: Mapping[str, Any] | None = None
    ) -> JsonObject:
        """Ask for something with the client's token.

        Raises:
            IdentityServerError: it says what is wrong.
            Forbidden: it does not know the token.
            BadGateway: it cannot be reached, or answers something else.

        """
        return await self._exchange(
            method, access.server, _V2 + path, f"Bearer {access.token}", body
        )

    async def _exchange(
        self,
        method: str,
        server: ServerName,
        path: str,
        authorization: str,
        body: Mapping[str, Any] | None,
    ) -> JsonObject:
        content = None if body is None else canonical_json.encode(body, strict=False)
        headers = {"Authorization": authorization}
        url = f"https://{server}{path}"
        try:
            request = self._peers.ask(method, url, _LIMITS, content=content, headers=headers)
            async with request as reply:
                status, raw = reply.status, await reply.read()
            answer = orjson.loads(raw)
        except (FederationError, orjson.JSONDecodeError) as error:
            raise BadGateway("the identity server does not answer as it should") from error
        if not isinstance(answer, dict):
            raise BadGateway("the identity server answered no object")
        if not 200 <= status < 300:
            raise _refusal(status, answer)
        return answer


def _refusal(status: int, answer: Mapping[str, Any]) -> Forbidden | IdentityServerError:
    """Its errors, but for one: a client that is told of a bad token would log itself out."""
    errcode, message = answer.get("errcode"), answer.get("error")
    if status == 401 or errcode in _OF_TOKENS:
        return Forbidden("the identity server does not take the access token that was given for it")
    if not isinstance(errcode, str) or not _ERRCODE.fullmatch(errcode):
        errcode = "M_UNKNOWN"
    text = message[:300] if isinstance(message, str) else ""
    return IdentityServerError(status if 400 <= status < 500 else 502, errcode, text)


def _hash(address: str, medium: str, pepper: str) -> str:
    """https://spec.matrix.org/v1.19/identity-service-api/#sha256"""
    digest = hashlib.sha256(f"{address} {medium} {pepper}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _key(entry: object) -> dict[str, str] | None:
    key = entry.get("public_key") if isinstance(entry, dict) else None
    url = entry.get("key_validity_url") if isinstance(entry, dict) else None
    if not isinstance(key, str) or not isinstance(url, str):
        return None
    return {"public_key": key, "key_validity_url": url}
