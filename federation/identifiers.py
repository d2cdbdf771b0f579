"""The names of users, rooms, events, aliases, keys and servers.

Identifiers are plain strings with a type of their own: parsed once where they come in, trusted
from there on. `parse_*` accepts what may exist (the historical grammar), `new_*` makes only what
the current grammar allows.

https://spec.matrix.org/v1.19/appendices/#identifier-grammar
"""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple, NewType

from federation.errors import IdentifierError

UserID = NewType("UserID", str)
RoomID = NewType("RoomID", str)
EventID = NewType("EventID", str)
RoomAlias = NewType("RoomAlias", str)
ServerName = NewType("ServerName", str)
KeyID = NewType("KeyID", str)

MAX_BYTES = 255
"""The longest identifier, sigil and domain included, in bytes of UTF-8."""

_SERVER_NAME = re.compile(
    r"(?P<host>\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|[0-9A-Za-z.-]{1,255})(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_PLAIN_USER_ID = re.compile(r"@[\x01-9;-\x7f]*:[0-9A-Za-z.-]*[A-Za-z]")
"""Nearly all of them: without a port, and with a host that is no IP address."""
_USER_LOCALPART = re.compile(r"[a-z0-9._=/+-]+", re.ASCII)
_KEY_ID = re.compile(r"(?P<algorithm>[a-z][a-z0-9_.-]*):(?P<version>[a-zA-Z0-9_]+)", re.ASCII)
_HASHED = re.compile(r"[A-Za-z0-9_+/-]{43}", re.ASCII)


class HostAndPort(NamedTuple):
    """A server name taken apart; `port` is `None` where the name has none."""

    host: str
    """A DNS name, an IPv4 literal, or an IPv6 literal without its brackets."""
    port: int | None
    is_ip_literal: bool


def split_server_name(name: str) -> HostAndPort:
    """Take a server name apart.

    https://spec.matrix.org/v1.19/appendices/#server-name

    Raises:
        IdentifierError: `name` does not follow the grammar.

    """
    found = _SERVER_NAME.fullmatch(name)
    if found is None:
        raise IdentifierError(f"not a server name: {name!r}")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise IdentifierError(f"port out of range: {name!r}")
    if found["v6"]:
        _check_ip(ipaddress.IPv6Address, found["v6"], name)
        return HostAndPort(found["v6"], port, is_ip_literal=True)
    host = found["host"]
    if _IPV4.fullmatch(host):
        _check_ip(ipaddress.IPv4Address, host, name)
        return HostAndPort(host, port, is_ip_literal=True)
    return HostAndPort(host, port, is_ip_literal=False)


def parse_server_name(name: str) -> ServerName:
    """Accept `name` as a server name, or raise `IdentifierError`."""
    split_server_name(name)
    return ServerName(name)


def parse_user_id(text: str) -> UserID:
    """Accept a user ID of the historical grammar.

    The localpart may be empty and hold any code point but `:` and NUL.
    https://spec.matrix.org/v1.19/appendices/#historical-user-ids
    """
    # Power levels name thousands.
    if len(text) > MAX_BYTES or not _PLAIN_USER_ID.fullmatch(text):
        _check_qualified(text, "@", "user ID")
    return UserID(text)


def is_user_id(text: object) -> bool:
    """Whether `text` is a string that `parse_user_id` accepts."""
    try:
        return isinstance(text, str) and bool(parse_user_id(text))
    except IdentifierError:
        return False


def new_user_id(localpart: str, server: ServerName) -> UserID:
    """Make a user ID by today's grammar.

    https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    if not _USER_LOCALPART.fullmatch(localpart):
        raise IdentifierError("a user's name may hold a-z, 0-9 and . _ = - / + only")
    return UserID(_checked_length(f"@{localpart}:{server}", "user ID"))


def parse_room_id(text: str) -> RoomID:
    """Accept a room ID, with a domain or (since room version 12) without.

    https://spec.matrix.org/v1.19/appendices/#room-ids
    """
    _check_opaque(text, "!", "room ID")
    return RoomID(text)


def parse_event_id(text: str) -> EventID:
    """Accept an event ID of any room version: with a domain, or a hash in either base64.

    https://spec.matrix.org/v1.19/appendices/#event-ids
    """
    _check_opaque(text, "$", "event ID")
    return EventID(text)


def parse_room_alias(text: str) -> RoomAlias:
    """Accept a room alias.

    https://spec.matrix.org/v1.19/appendices/#room-aliases
    """
    _check_qualified(text, "#", "room alias")
    return RoomAlias(text)


def new_room_alias(localpart: str, server: ServerName) -> RoomAlias:
    """Make a room alias; any code point but `:` and NUL, at least one."""
    if not localpart or ":" in localpart or "\0" in localpart:
        raise IdentifierError("an alias may not be empty or hold a colon or NUL")
    return RoomAlias(_checked_length(f"#{localpart}:{server}", "room alias"))


def parse_key_id(text: str) -> KeyID:
    """Accept a signing key identifier, `algorithm:version`.

    https://spec.matrix.org/v1.19/appendices/#signing-details
    """
    if not _KEY_ID.fullmatch(text):
        raise IdentifierError(f"not a key ID: {text!r}")
    _checked_length(text, "key ID")
    return KeyID(text)


def key_algorithm(key_id: str) -> str:
    """The part of a key identifier before its colon."""
    return key_id.partition(":")[0]


def domain_of(identifier: str) -> ServerName:
    """The server name in an identifier that has one: all after its first colon.

    Meant for identifiers already parsed. Domain-less ones answer the empty name, which equals no
    server's.
    """
    return ServerName(identifier.partition(":")[2])


def localpart_of(identifier: str) -> str:
    """The part between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def is_hashed_id(identifier: str) -> bool:
    """Whether the identifier is a sigil and a SHA-256 hash, as event IDs are since version 3."""
    return _HASHED.fullmatch(identifier, 1) is not None


def _check_qualified(text: str, sigil: str, kind: str) -> None:
    _check_opaque(text, sigil, kind)
    localpart, colon, domain = text[1:].partition(":")
    if not colon:
        raise IdentifierError(f"{kind} without a domain: {text!r}")
    if "\0" in localpart:
        raise IdentifierError(f"{kind} with NUL: {text!r}")
    split_server_name(domain)


def _check_opaque(text: str, sigil: str, kind: str) -> None:
    if not text.startswith(sigil) or len(text) < 2:
        raise IdentifierError(f"{kind} does not start with {sigil}: {text!r}")
    if "\0" in text:
        raise IdentifierError(f"{kind} with NUL: {text!r}")
    _checked_length(text, kind)


def _checked_length(text: str, kind: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise IdentifierError(f"{kind} with a lone surrogate: {text!r}") from None
    if size > MAX_BYTES:
        raise IdentifierError(f"{kind} exceeds {MAX_BYTES} bytes: {size}")
    return text


def _check_ip(kind: Callable[[str], object], literal: str, name: str) -> None:
    try:
        kind(literal)
    except ValueError:
        raise IdentifierError(f"not an IP address: {name!r}") from None
