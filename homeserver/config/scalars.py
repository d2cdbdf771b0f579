"""How each kind of single value is read from text."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

from federation.errors import IdentifierError
from federation.identifiers import (
    RoomAlias,
    ServerName,
    UserID,
    parse_room_alias,
    parse_server_name,
    parse_user_id,
)
from federation.net.addresses import IPAddress, IPNetwork
from federation.net.proxies import Proxy
from homeserver.config.values import (
    DatabaseUrl,
    Duration,
    EmailAddress,
    HttpUrl,
    Rate,
    RoomVersionName,
    Secret,
    Size,
    parse_email_address,
    parse_http_url,
    parse_room_version,
)


@dataclass(frozen=True, slots=True)
class ScalarKind:
    """A kind of single value."""

    parse: Callable[[str], Any]
    """From text; raises `ValueError` with a reason."""
    is_secret: bool = False
    """Whether it is never shown, and can be read from a file."""


def _bool(text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError("neither true nor false")
    return value


def _int(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise ValueError("not a whole number")
    return int(text)


def _str(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("empty" if not text else "contains NUL")
    return text


def _path(text: str) -> Path:
    return Path(_str(text))


def _secret(text: str) -> Secret:
    return Secret(_str(text))


def _proxy(text: str) -> Proxy:
    try:
        return Proxy.parse(text)
    except ValueError:  # its text may quote a password
        raise ValueError("not http://host:port, socks5://… or socks5h://…") from None


def _identifier(parse: Callable[[str], str]) -> Callable[[str], str]:
    def parse_or_explain(text: str) -> str:
        try:
            return parse(text)
        except IdentifierError as error:
            raise ValueError(_NOT[parse]) from error

    return parse_or_explain


def _address(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError("not an IP address") from None


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        bits = "has host bits" in str(error)
        raise ValueError(
            "a network with bits set beyond its prefix" if bits else "not a network"
        ) from None


_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_NOT: Mapping[Callable[[str], str], str] = {
    parse_server_name: "not a server name: a domain or an IP address, perhaps with a port",
    parse_user_id: "not a user ID",
    parse_room_alias: "not a room alias",
}

SCALARS: Mapping[Any, ScalarKind] = MappingProxyType(
    {
        bool: ScalarKind(_bool),
        int: ScalarKind(_int),
        str: ScalarKind(_str),
        Path: ScalarKind(_path),
        Secret: ScalarKind(_secret, is_secret=True),
        DatabaseUrl: ScalarKind(DatabaseUrl.parse, is_secret=True),
        Proxy: ScalarKind(_proxy, is_secret=True),
        Duration: ScalarKind(Duration.parse),
        Size: ScalarKind(Size.parse),
        Rate: ScalarKind(Rate.parse),
        HttpUrl: ScalarKind(parse_http_url),
        EmailAddress: ScalarKind(parse_email_address),
        RoomVersionName: ScalarKind(parse_room_version),
        IPAddress: ScalarKind(_address),
        IPNetwork: ScalarKind(_network),
        ServerName: ScalarKind(_identifier(parse_server_name)),
        UserID: ScalarKind(_identifier(parse_user_id)),
        RoomAlias: ScalarKind(_identifier(parse_room_alias)),
    }
)
"""By the type that stands in the declaration."""
