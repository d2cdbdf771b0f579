# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Every setting of the server, with its default and what it means; here as a whole, see `sections`.

The text under a setting is its documentation: `config.example.yaml` is made from it. Defaults are
right for a small community and keep people's privacy; where loosening one costs somebody
something, its text says what.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from federation.identifiers import ServerName, split_server_name
from homeserver.config.declaring import Example, NotEmpty, Within
from homeserver.config.sections.bridges import AppServices
from homeserver.config.sections.limits import RateLimits, ResourceLimits
from homeserver.config.sections.media import S3, Media, Previews
from homeserver.config.sections.peers import (
    Authentication,
    Contact,
    Federation,
    Outgoing,
    ProxyRule,
    Support,
    WellKnown,
)
from homeserver.config.sections.people import (
    Accounts,
    Auth,
    Captcha,
    Cas,
    PasswordHash,
    Presence,
    Privacy,
    Registration,
)
from homeserver.config.sections.reaching import Push, Smtp, Turn
from homeserver.config.sections.rooms import (
    DelayedEvents,
    EncryptionDefaults,
    InviteLevels,
    Redaction,
    Retention,
    Rooms,
    ServerNotices,
)
from homeserver.config.sections.serving import Http, Listener, Logging, Service, Storage, Tls
from homeserver.config.values import DatabaseUrl, HttpUrl

__all__ = [
    "S3",
    "Accounts",
    "AppServices",
    "Auth",
    "Authentication",
    "Captcha",
    "Cas",
    "Contact",
    "DelayedEvents",
    "EncryptionDefaults",
    "Federation",
    "Http",
    "InviteLevels",
    "Listener",
    "Logging",
    "Media",
    "Outgoing",
    "PasswordHash",
    "Presence",
    "Previews",
    "Privacy",
    "ProxyRule",
    "Push",
    "RateLimits",
    "Redaction",
    "Registration",
    "ResourceLimits",
    "Retention",
    "Rooms",
    "ServerNotices",
    "Service",
    "Settings",
    "Smtp",
    "Storage",
    "Support",
    "Tls",
    "Turn",
    "WellKnown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one server; paths in it are absolute once it is loaded."""

    server_name: Annotated[ServerName, Example("example.org")]
    """The name after the colon in every user ID of this server: a domain, a bare host name, or an
    IP address, with a port or without. It can never be changed: other servers know the people and
    rooms here under it."""

    public_baseurl: Annotated[HttpUrl | None, Example("https://matrix.example.org/")] = None
    """Where clients reach this server from outside. By default https:// and the server's name."""

    data_dir: Path = Path("hearth-data")
    """The folder of all that the server keeps: its key, media, and the database if that is its
    own. Relative paths, here and everywhere, start at the folder of this file."""

    database: Annotated[
        DatabaseUrl | None, Example("postgresql://hearth:password@localhost/hearth")
    ] = None
    """A PostgreSQL server, 15 or later. By default Hearth runs one of its own in `data_dir`, which
    nobody else can reach. May be given as `{file: path}`, as all secrets may."""

    signing_key: Annotated[Path | None, Example("/etc/hearth/signing.key")] = None
    """The file of the key that proves to others who we are; by default signing.key in `data_dir`.
    It is made if missing, readable by the server only. Keep a copy: without it other servers
    cannot tell us from an impostor."""

    workers: Annotated[int, Within(1, 64)] = 1
    """How many equal processes share the work. More than there are processor cores gain nothing."""

    listeners: Annotated[tuple[Listener, ...], NotEmpty()] = (Listener(),)
    """Where the server listens. By default one port that only this machine can reach, for a
    reverse proxy before it that does TLS."""

    storage: Storage = Storage()
    http: Http = Http()
    outgoing: Outgoing = Outgoing()
    federation: Federation = Federation()
    well_known: WellKnown = WellKnown()
    support: Support = Support()
    registration: Registration = Registration()
    auth: Auth = Auth()
    accounts: Accounts = Accounts()
    privacy: Privacy = Privacy()
    presence: Presence = Presence()
    push: Push = Push()
    smtp: Smtp | None = None
    turn: Turn | None = None
    captcha: Captcha | None = None
    rooms: Rooms = Rooms()
    redaction: Redaction = Redaction()
    retention: Retention = Retention()
    media: Media = Media()
    previews: Previews = Previews()
    appservices: AppServices = AppServices()
    server_notices: ServerNotices | None = None
    resource_limits: ResourceLimits = ResourceLimits()
    rate_limits: RateLimits = RateLimits()
    logging: Logging = Logging()

    @property
    def base_url(self) -> HttpUrl:
        """Where clients reach us: `public_baseurl` or what follows from the name; ends in `/`."""
        if self.public_baseurl is None:
            host, _, is_ip_literal = split_server_name(self.server_name)
            bracketed = f"[{host}]" if is_ip_literal and ":" in host else host
            return HttpUrl(f"https://{bracketed}/")
        return HttpUrl(f"{self.public_baseurl.rstrip('/')}/")

    @property
    def signing_key_file(self) -> Path:
        """Where the signing key is kept."""
        return self.signing_key or self.data_dir / "signing.key"

    @property
    def media_folder(self) -> Path:
        """Where files are kept, unless `media.s3` is."""
        return self.media.folder or self.data_dir / "media"

    @property
    def postgres_folder(self) -> Path:
        """Where our own PostgreSQL is kept, unless `database` names another one."""
        return self.data_dir / "postgres"
