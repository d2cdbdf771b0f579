"""The `X-Matrix` scheme: how one server proves to another that a request is its own.

Signing, reading and checking the `Authorization` header, nothing of HTTP beyond it: the caller
fetches the keys, and turns a `Denied` or an `XMatrixError` into a 401.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.decision import Denied
from federation.errors import CanonicalJSONError, IdentifierError, XMatrixError
from federation.identifiers import KeyID, ServerName, parse_key_id, parse_server_name
from federation.signing import SigningKey, VerifyKey, is_signature

MAX_HEADER = 4096
"""The longest header that is read, in characters; an honest one has some 300."""

_SCHEME = re.compile(r"X-Matrix +", re.IGNORECASE | re.ASCII)
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# COMPAT(older servers) "the recipient should allow colons to be included in values without
# requiring the value to be enclosed in quotes."
_VALUE = r"[!#$%&'*+.^_`|~0-9A-Za-z:-]+"
_QUOTED = r"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\t\x20-\x7e\x80-\U0010ffff])*"
_PARAMETER = re.compile(
    rf'[ \t,]*(?P<name>{_NAME})[ \t]*=[ \t]*(?:"(?P<quoted>{_QUOTED})"|(?P<bare>{_VALUE}))'
    r"[ \t]*(?=,|\Z)"
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class XMatrix:
    """What an `Authorization` header claims; nothing of it is proven yet."""

    origin: ServerName
    destination: ServerName | None
    """`None` where an older server left it out of the header; its signature covers it even so."""
    key_id: KeyID
    signature: str
    """Base64, not yet looked at."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The request comes from `origin` and is meant for `destination`, one of our names."""

    origin: ServerName
    destination: ServerName
    key_id: KeyID


def sign_request(
    *,
    key: SigningKey,
    origin: ServerName,
    destination: ServerName,
    method: str,
    uri: str,
    content: object | None,
) -> str:
    """The value of the `Authorization` header for one request.

    `uri` starts with `/_matrix/` and includes the query, just as it is sent; `content` is the
    decoded body, `None` for a request without one.

    Raises:
        CanonicalJSONError: the content has no canonical form.

    """
    message = _signed_bytes(_request(method, uri, origin, content), destination)
    return (
        f'X-Matrix origin="{origin}",destination="{destination}",'
        f'key="{key.key_id}",sig="{key.sign(message)}"'
    )


def parse(header: str) -> XMatrix:
    """Read the value of an `Authorization` header.

    https://spec.matrix.org/v1.19/server-server-api/#request-authentication

    Raises:
        XMatrixError: another scheme, bad syntax, a parameter missing, twice or malformed.

    """
    if len(header) > MAX_HEADER:
        raise XMatrixError(f"the header is longer than {MAX_HEADER} characters")
    scheme = _SCHEME.match(header)
    if scheme is None:
        raise XMatrixError("the scheme is not X-Matrix")
    found = _parameters(header[scheme.end() :])
    destination = found.get("destination")
    try:
        return XMatrix(
            origin=parse_server_name(_required(found, "origin")),
            destination=None if destination is None else parse_server_name(destination),
            key_id=parse_key_id(_required(found, "key")),
            signature=_signature(found),
        )
    except IdentifierError as error:
        raise XMatrixError(str(error)) from error


def verify(
    request: XMatrix,
    *,
    destinations: AbstractSet[ServerName],
    method: str,
    uri: str,
    content: object | None,
    keys: Mapping[KeyID, VerifyKey],
) -> Authenticated | Denied:
    """Whether the request was made by the server that its header names, for one of ours.

    `destinations` are the names that we answer to; `keys` are the origin's that are valid now
    (see `federation.server_keys.request_keys`). `uri` is the target as it was received, nothing
    decoded; `content` the body as decoded by `canonical_json.decode(raw, strict=False)`, since a
    transaction may hold events of rooms whose numbers strict canonical JSON has no place for.
    """
    # "If this property is included, but the value does not match the receiving server's name,
    # the receiving server must deny the request with an HTTP status code 401 Unauthorized."
    if request.destination is not None and request.destination not in destinations:
        return Denied("x_matrix.destination", "the request is meant for another server")
    key = keys.get(request.key_id)
    if key is None:
        return Denied("x_matrix.key", "no valid key of that ID is known")
    unsigned = _request(method, uri, request.origin, content)
    # COMPAT(servers before v1.3) Without the parameter, the signature tells which of our names
    # was meant: it always covers the destination, lest a request be replayed to a third server.
    meant = destinations if request.destination is None else {request.destination}
    try:
        for destination in meant:
            if is_signature(_signed_bytes(unsigned, destination), request.signature, key):
                return Authenticated(request.origin, destination, request.key_id)
    except CanonicalJSONError:
        return Denied("x_matrix.content", "the content has no canonical form to sign")
    return Denied("x_matrix.signature", "the signature does not match the request")


def _request(method: str, uri: str, origin: ServerName, content: object | None) -> JsonObject:
    fields: JsonObject = {"method": method, "uri": uri, "origin": origin}
    if content is not None:
        fields["content"] = content
    return fields


def _signed_bytes(request: JsonObject, destination: ServerName) -> bytes:
    # Lenient: events of old room versions travel in transactions, floats and all.
    return canonical_json.encode({**request, "destination": destination}, strict=False)


def _parameters(text: str) -> dict[str, str]:
    """The parameters by their lower-case names.

    https://datatracker.ietf.org/doc/html/rfc9110#section-11.4
    """
    found: dict[str, str] = {}
    text = text.rstrip(" \t,")  # lists may have empty elements
    position = 0
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise XMatrixError(f"not a parameter, at {position}")
        name = parameter["name"].lower()
        if name in found:
            raise XMatrixError(f"the parameter {name} is there twice")
        quoted = parameter["quoted"]
        found[name] = parameter["bare"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
        position = parameter.end()
    return found


def _required(found: Mapping[str, str], name: str) -> str:
    if name not in found:
        raise XMatrixError(f"the parameter {name} is missing")
    return found[name]


def _signature(found: Mapping[str, str]) -> str:
    # The list of parameters calls it `signature`; the example, and every server, `sig`.
    if "sig" in found and "signature" in found:
        raise XMatrixError("both sig and signature are there")
    return found["signature"] if "signature" in found else _required(found, "sig")
