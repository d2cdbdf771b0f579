# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Other servers: how they are reached, and what they are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from federation.identifiers import ServerName, UserID
from federation.net.addresses import IPNetwork
from federation.net.proxies import Proxy
from homeserver.config.declaring import Example, ReadableFile, Within
from homeserver.config.values import Duration, EmailAddress, HttpUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRule:
    """Which proxy leads to which servers."""

    names: Annotated[str, Example('"*.onion"')]
    """Host names this rule is for; * stands for anything."""

    proxy: Annotated[Proxy | None, Example("socks5h://127.0.0.1:9050")] = None
    """`http://`, `socks5://` or `socks5h://` (the proxy looks up names), a user and password if
    it wants them. Without one, these names are reached directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Requests that we make: to other servers, push gateways, bridges, previewed pages."""

    ca_file: Annotated[Path | None, ReadableFile(), Example("/etc/hearth/ca.pem")] = None
    """Further certificate authorities to trust for everything that we ask, PEM."""

    system_trust: bool = True
    """Whether the authorities that this machine trusts are trusted."""

    unverified_names: Annotated[tuple[str, ...], Example('["*.onion"]')] = ()
    """Names whose certificates are not looked at. Whoever is on the way to them can read and
    write all that is exchanged; only for tests, or where something else proves who answers."""

    allowed_ranges: Annotated[tuple[IPNetwork, ...], Example("[10.0.0.0/8]")] = ()
    """Private networks that may be reached after all. Others choose where we connect, so they
    could make us talk to any machine in these."""

    denied_ranges: Annotated[tuple[IPNetwork, ...], Example("[203.0.113.0/24]")] = ()
    """Networks that are never reached; they win over `allowed_ranges`."""

    proxies: tuple[ProxyRule, ...] = ()
    """Proxies to go through; the first rule that fits a name decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Dealings with other homeservers."""

    enabled: bool = True
    """Whether we talk to other servers at all."""

    allowed_servers: Annotated[tuple[str, ...] | None, Example('[matrix.org, "*.example.org"]')] = (
        None
    )
    """The only servers to deal with; * stands for anything. By default all."""

    denied_servers: Annotated[tuple[str, ...], Example('["*.example.net"]')] = ()
    """Servers that are never dealt with; they win over `allowed_servers`."""

    request_timeout: Annotated[Duration, Within(Duration(1000), Duration(600_000))] = (
        Duration.parse("60s")
    )
    """How long one request to another server may take."""

    retry_minimum: Annotated[Duration, Within(Duration(1), Duration(86_400_000))] = Duration.parse(
        "30s"
    )
    """How long an unreachable server is left alone at first; doubled with each failure."""

    retry_maximum: Annotated[Duration, Within(Duration(1), Duration(604_800_000))] = Duration.parse(
        "1d"
    )
    """The longest that it is left alone. Anything it sends us ends the wait."""

    trusted_key_servers: Annotated[tuple[ServerName, ...], Example("[matrix.org]")] = ()
    """Servers asked for the keys of servers that do not answer. Each one learns whom we deal
    with, and could vouch for an impostor; so none by default."""

    device_names: bool = False
    """Whether other servers are told the names of people's devices ("Ann's phone")."""

    profile_lookup: bool = True
    """Whether other servers may look up names and avatars of people here; invitations show them
    so."""

    public_rooms: bool = False
    """Whether other servers may read the list of public rooms here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """A service elsewhere that people log in with, for clients that know OAuth 2.0."""

    issuer: Annotated[HttpUrl, Example("https://auth.example.org/")]
    """The service's issuer."""

    account: Annotated[HttpUrl | None, Example("https://auth.example.org/account")] = None
    """Its page on which people manage their accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WellKnown:
    """What `/.well-known/matrix/` tells, where requests for the server's name come to us."""

    server: Annotated[ServerName | None, Example("matrix.example.org:443")] = None
    """Where other servers find us (`m.server`). By default that file is not served."""

    identity_server: Annotated[HttpUrl | None, Example("https://vector.im")] = None
    """The identity server that clients offer (`m.identity_server`). It learns e-mail addresses
    and phone numbers, so none by default."""

    rtc_foci: Annotated[
        tuple[Mapping[str, Any], ...],
        Example('[{type: livekit, livekit_service_url: "https://rtc.example.org"}]'),
    ] = ()
    """Servers for calls (`org.matrix.msc4143.rtc_foci`)."""

    authentication: Authentication | None = None

    client_extra: Annotated[Mapping[str, Any], Example("{io.element.e2ee: {default: true}}")] = (
        field(default_factory=dict)
    )
    """Further keys for clients, as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One person to turn to; give a Matrix ID, an e-mail address or both."""

    role: Literal["m.role.admin", "m.role.security", "m.role.moderator"] = "m.role.admin"
    """What to turn to them for."""

    matrix_id: Annotated[UserID | None, Example('"@admin:example.org"')] = None
    """Their Matrix ID."""

    email_address: Annotated[EmailAddress | None, Example("admin@example.org")] = None
    """Their e-mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whom people can turn to (`/.well-known/matrix/support`); public."""

    contacts: tuple[Contact, ...] = ()
    """The people to turn to."""

    page: Annotated[HttpUrl | None, Example("https://example.org/support")] = None
    """A page with help."""
