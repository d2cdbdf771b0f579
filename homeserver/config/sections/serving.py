# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Where the server listens, what it takes in, and what it writes down of it."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from federation.net.addresses import IPAddress, IPNetwork
from homeserver.config.declaring import Example, NotEmpty, ReadableFile, Within
from homeserver.config.values import Size

Service = Literal["client", "federation", "media", "key", "admin", "metrics"]
"""What a listener can answer: parts of the APIs that are often kept apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A certificate of the listener's own, where no reverse proxy does TLS."""

    certificate: Annotated[Path, ReadableFile(), Example("/etc/hearth/fullchain.pem")]
    """The certificate and those that vouch for it, PEM."""

    key: Annotated[Path, ReadableFile(), Example("/etc/hearth/privkey.pem")]
    """The certificate's private key, PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address and port, and what is answered there."""

    address: IPAddress = IPv4Address("127.0.0.1")
    """The IP address to listen at; "::" is all of them, IPv4 too. By default only this machine
    gets through: without TLS, whoever is on the way could read passwords."""

    port: Annotated[int, Within(1, 65535)] = 8008
    """The TCP port. Other servers look for 8448 unless `well_known` or DNS says otherwise."""

    serves: Annotated[tuple[Service, ...], NotEmpty()] = ("client", "federation", "media", "key")
    """What is answered here: client, federation, media, key (our public keys), admin, metrics.
    The last two tell about people; leave them to ports that outsiders cannot reach."""

    tls: Tls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How PostgreSQL is used."""

    pool_size: Annotated[int, Within(2, 200)] = 10
    """Connections that each worker may hold. All workers' together must stay below PostgreSQL's
    `max_connections`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Requests that come in."""

    trusted_proxies: tuple[IPNetwork, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    """Networks of the reverse proxies before us. Only their `X-Forwarded-For` is believed: from
    anybody else it would be a way around rate limits and blocks."""

    client_body: Annotated[Size, Within(Size.parse("64K"), Size.parse("1G"))] = Size.parse("8M")
    """The largest JSON that clients may send. Uploads are limited by `media.max_upload`."""

    federation_body: Annotated[Size, Within(Size.parse("4M"), Size.parse("1G"))] = Size.parse("16M")
    """The largest JSON that other servers may send; 50 events of 64K and 100 EDUs must fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """What the server says of itself."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """From which weight on something is written. Only debug names people, rooms and what they
    ask for: such a log tells who speaks with whom."""

    format: Literal["console", "json"] = "console"
    """console: for people to read; json: one object per line, for programs."""

    file: Annotated[Path | None, Example("/var/log/hearth/hearth.log")] = None
    """The file to write to, readable by the server only; it may be moved away while in use. By
    default standard error."""
