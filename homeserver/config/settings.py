# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Every setting of the server, with its default and what it means.

The text under a setting is its documentation: `config.example.yaml` is made from it. Defaults are
right for a small community and keep people's privacy; where loosening one costs somebody
something, its text says what. `Settings`, at the end, puts the sections together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from federation.identifiers import RoomAlias, ServerName, UserID, split_server_name
from federation.net.addresses import IPAddress, IPNetwork
from federation.net.proxies import Proxy
from homeserver.config.declaring import Example, NotEmpty, ReadableFile, Within
from homeserver.config.values import (
    DatabaseUrl,
    Duration,
    EmailAddress,
    HttpUrl,
    Rate,
    RoomVersionName,
    Secret,
    Size,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Who can make an account."""

    mode: Literal["closed", "token", "open"] = "closed"
    """closed: only administrators make accounts; token: people with a registration token;
    open: anybody, programs that send spam included, unless `captcha` or `require_email` holds
    them up."""

    token: Annotated[Secret | None, Example("let-me-in")] = None
    """A token that is good without limit, beside those that administrators make; for `mode:
    token`."""

    shared_secret: Annotated[Secret | None, Example("{file: /etc/hearth/registration}")] = None
    """Whoever knows it makes accounts in any mode, administrators too, at
    `/_synapse/admin/v1/register`, as test rigs and tools do. By default that is off."""

    require_email: bool = False
    """Whether an e-mail address must be proven; needs `smtp`. We then keep the address."""

    guests: bool = False
    """Whether people without an account may look into rooms that let guests in."""

    auto_join: Annotated[tuple[RoomAlias, ...], Example('["#welcome:example.org"]')] = ()
    """Rooms that every new account joins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """What one guess at a password costs (argon2id); the login of its owner costs the same."""

    memory: Annotated[Size, Within(Size.parse("8K"), Size.parse("4G"))] = Size.parse("20M")
    """Memory for one hash."""

    iterations: Annotated[int, Within(1, 100)] = 2
    """Passes over that memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cas:
    """Login through a CAS server."""

    server_url: Annotated[HttpUrl, Example("https://cas.example.org/cas/")]
    """The CAS server, without `login` and `serviceValidate`."""

    display_name_attribute: Annotated[str | None, Example("displayName")] = None
    """The attribute that becomes a new person's display name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """How people prove who they are."""

    passwords: bool = True
    """Whether people can log in with a password."""

    password_minimum: Annotated[int, Within(1, 512)] = 8
    """The fewest characters of a new password."""

    password_hash: PasswordHash = PasswordHash()

    query_token: bool = True
    """Whether `?access_token=` is accepted beside the header, as some clients and bridges send it.
    We never log it; a proxy before us may."""

    login_tokens: bool = False
    """Whether a logged-in device can log in another (`m.get_login_token`). Then a stolen session
    can make more of itself."""

    session_validity: Annotated[Duration | None, Example("90d")] = None
    """After which time devices must log in again. By default never: a device that has to may lose
    its keys."""

    refreshable_token_validity: Annotated[Duration, Within(Duration(60_000), Duration(2**45))] = (
        Duration.parse("5m")
    )
    """How long an access token lives on devices that can renew theirs."""

    confirmation_grace: Duration = Duration(0)
    """For how long after entering the password a device need not do so again before it does
    something grave. Convenient, and as convenient for whoever finds the device unlocked."""

    cas: Cas | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What people may do with their accounts; `/capabilities` tells clients."""

    change_password: bool = True
    """Whether they may change their passwords."""

    change_displayname: bool = True
    """Whether they may change their display names."""

    change_avatar: bool = True
    """Whether they may change their avatars."""

    change_3pid: bool = True
    """Whether they may add and remove e-mail addresses."""

    custom_profile_fields: bool = True
    """Whether they may add further fields to their profiles; everybody can see those."""

    deactivate: bool = True
    """Whether they may put out their accounts themselves."""

    identity_servers: Annotated[tuple[ServerName, ...], Example("[vector.im]")] = ()
    """Identity servers that may be asked to tie addresses to accounts, and to invite by e-mail
    address. They learn the address, who invites whom, and the room's name, so none by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What is kept and shown about people."""

    client_addresses: Literal["none", "memory", "stored"] = "memory"
    """Which IP addresses of people are known. none: only to rate limits; memory: of those who use
    the server right now, so that administrators can see them (`whois`); stored: also kept on disk,
    for four weeks, where whoever gets hold of the disk learns where people live."""

    profiles_of_strangers: bool = True
    """Whether people can look up profiles of others with whom they share no room. Without, nobody
    can be recognised before an invitation."""

    directory_of_everybody: bool = False
    """Whether the user directory finds everybody on this server. By default only those with whom
    one shares a room, and those in public rooms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Who is online."""

    enabled: bool = False
    """Whether people see when others are online. It tells everybody in one's rooms, and all their
    servers, when one sleeps and works; it also costs much traffic."""

    idle_after: Duration = Duration.parse("5m")
    """After which time without a sign somebody counts as idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Notifications, which go through a service of the app's maker."""

    include_content: bool = False
    """Whether notifications hold the sender, room name and text where an app asks for that. The
    app's maker, and Google or Apple behind it, can then read unencrypted messages. By default
    they learn only that something came: the event's and the room's id."""

    unread_by_room: bool = True
    """Whether the number on an app's icon counts rooms rather than messages."""

    retry_minimum: Annotated[Duration, Within(Duration(1), Duration.parse("1d"))] = Duration.parse(
        "1s"
    )
    """How long a service that does not answer is left alone at first; doubled each time."""

    retry_maximum: Annotated[Duration, Within(Duration(1), Duration.parse("7d"))] = Duration.parse(
        "1h"
    )
    """How long at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """A mail server, to prove e-mail addresses and to reset passwords. By default none."""

    host: Annotated[str, Example("mail.example.org")]
    """Its name."""

    port: Annotated[int, Within(1, 65535)] = 587
    """Its port."""

    tls: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: encrypted after a greeting; tls: from the start (port 465); none: never, so that
    others on the way can reset people's passwords."""

    sender: Annotated[EmailAddress, Example("hearth@example.org")]
    """The address that our mail comes from."""

    username: Annotated[str | None, Example("hearth")] = None
    """The name to log in with."""

    password: Annotated[Secret | None, Example("{file: /etc/hearth/smtp}")] = None
    """The password to log in with."""

    tell_addresses: bool = False
    """Whether anybody who asks is told if an e-mail address belongs to an account here. By default
    only a mail to that address says so."""

    next_link_hosts: Annotated[tuple[str, ...], Example("[app.example.org]")] = ()
    """Hosts of apps to which the page that confirms an address may link back, as apps ask for; *
    stands for anything. Others' links are left out, lest our page recommends theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A TURN server, coturn say, for calls that cannot go straight. By default none.

    Calls in MatrixRTC have servers of their own: `well_known.rtc_foci`.
    """

    uris: Annotated[
        tuple[str, ...], NotEmpty(), Example('["turn:turn.example.org:3478?transport=udp"]')
    ]
    """Where it is: `turn:` or, encrypted, `turns:`."""

    shared_secret: Annotated[Secret, Example("{file: /etc/hearth/turn}")]
    """What it calls `static-auth-secret`. People get passwords made of it, which expire."""

    lifetime: Annotated[Duration, Within(Duration(60_000), Duration(2**45))] = Duration.parse("1d")
    """For how long such a password is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captcha:
    """A riddle before registration. Its maker learns who registers here. By default none."""

    site_key: Annotated[str, Example("6LcXXXX")]
    """The public key, for clients."""

    secret_key: Annotated[Secret, Example("{file: /etc/hearth/captcha}")]
    """The secret key, to check answers with."""

    verify_url: HttpUrl = HttpUrl("https://www.google.com/recaptcha/api/siteverify")
    """Where answers are checked; any service that speaks as reCAPTCHA does."""

    script_url: HttpUrl = HttpUrl("https://www.google.com/recaptcha/api.js")
    """The script of its page, which we show to people whose clients have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionDefaults:
    """Which new rooms are encrypted unless their maker says otherwise, by preset.

    Only where the maker's device can encrypt. It cannot be undone in a room.
    """

    private_chat: bool = True
    """Rooms by invitation."""

    trusted_private_chat: bool = True
    """Rooms by invitation in which all are equal."""

    public_chat: bool = False
    """Rooms that anybody can join, and read from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteLevels:
    """Which power level one needs to invite into new rooms, by preset."""

    private_chat: Annotated[int, Within(0, 100)] = 50
    """Rooms by invitation. With 0, whoever is invited may invite more."""

    trusted_private_chat: Annotated[int, Within(0, 100)] = 0
    """Rooms by invitation in which all are equal."""

    public_chat: Annotated[int, Within(0, 100)] = 0
    """Rooms that anybody can join."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedEvents:
    """Events that people let the server send later (MSC4140), as calls do for hanging up."""

    max_delay: Annotated[Duration, Within(Duration(1), Duration(2**45))] = Duration.parse("30d")
    """How much later at most."""

    max_scheduled: Annotated[int, Within(0, 10_000)] = 100
    """How many one person may have at a time; with 0, none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Rooms and how they begin."""

    default_version: RoomVersionName = RoomVersionName("12")
    """The version of new rooms."""

    encryption: EncryptionDefaults = EncryptionDefaults()

    invite_level: InviteLevels = InviteLevels()

    public_list_without_login: bool = False
    """Whether the list of public rooms can be read without an account."""

    alias_requires_membership: bool = True
    """Whether one must be in a room to give it an alias."""

    forget_on_leave: bool = False
    """Whether leaving a room forgets it: its history is then gone for the one who left."""

    purge_forgotten_after: Duration = Duration.parse("28d")
    """How long after everybody here left and forgot a room it is deleted from this server, though
    not within an hour. Who joins it again gets it from other servers. `0s`: never."""

    search: bool = True
    """Whether people can search unencrypted messages. The words are indexed in the database."""

    delayed_events: DelayedEvents = DelayedEvents()

    expiry: bool = False
    """Whether messages may say when they vanish (`m.self_destruct_after`, MSC2228). Other servers
    need not obey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Messages that somebody took back."""

    keep: Duration = Duration(0)
    """For how long their content stays readable to moderators (MSC2815), where their client asks
    for it. By default it is gone at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long messages are kept (`m.room.retention`)."""

    minimum: Annotated[Duration | None, Example("1d")] = None
    """Rooms cannot ask for less."""

    maximum: Annotated[Duration | None, Example("365d")] = None
    """Rooms cannot ask for more."""

    default: Annotated[Duration | None, Example("90d")] = None
    """What rooms get that ask for nothing; by default the maximum, and where there is none,
    messages stay until somebody removes them."""

    interval: Annotated[Duration, Within(Duration.parse("1s"), Duration.parse("7d"))] = (
        Duration.parse("1h")
    )
    """How often what is too old is deleted from the disk. It is shown to nobody before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """An S3-compatible store in place of a folder."""

    endpoint: Annotated[HttpUrl, Example("https://s3.example.org/")]
    """Its address."""

    bucket: Annotated[str, Example("hearth-media")]
    """The bucket; ours alone."""

    region: str = "us-east-1"
    """The bucket's region; many stores do not care."""

    access_key_id: Annotated[str, Example("hearth")]
    """The name of our key."""

    secret_access_key: Annotated[Secret, Example("{file: /etc/hearth/s3}")]
    """Our key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Files that people send."""

    folder: Annotated[Path | None, Example("/srv/hearth/media")] = None
    """Where files are kept; by default the folder media in `data_dir`."""

    s3: S3 | None = None

    max_upload: Annotated[Size, Within(Size(1), Size.parse("64G"))] = Size.parse("50M")
    """The largest file that people here can send."""

    max_remote: Annotated[Size, Within(Size(1), Size.parse("64G"))] = Size.parse("100M")
    """The largest file that is fetched from another server."""

    max_pixels: Annotated[int, Within(1, 2**30)] = 32_000_000
    """The largest picture that thumbnails are made of, width by height: a small file can unfold
    into a picture that fills the memory."""

    keep_remote: Duration | None = Duration.parse("30d")
    """How long after its last use a file from another server stays; it is fetched anew when
    needed. `null` keeps them for ever."""

    legacy: Literal["frozen", "open"] = "frozen"
    """The old download addresses, which need no login. frozen: they know only files from before
    this setting; open: all of them, so whoever has an address has the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Small pictures of the web pages that messages link to."""

    enabled: bool = False
    """Whether the server fetches linked pages for people. It then learns links that they read,
    also from encrypted rooms, and those pages learn of this server."""

    max_page: Annotated[Size, Within(Size.parse("1K"), Size.parse("100M"))] = Size.parse("5M")
    """How much of a page is read, and how large its picture may be."""

    denied_hosts: Annotated[tuple[str, ...], Example('["*.example.net"]')] = ()
    """Hosts that are never asked; * stands for anything."""

    accept_language: str = "en"
    """The language asked for, as in `Accept-Language`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppServices:
    """Bridges and bots."""

    files: Annotated[tuple[Annotated[Path, ReadableFile()], ...], Example("[irc.yaml]")] = ()
    """Their registration files; `hearth appservice reload` has them read again."""

    token_in_query: Annotated[tuple[str, ...], Example("[irc]")] = ()
    """The IDs of old ones that look for their `hs_token` in the query, as `access_token`. There it
    may end in the logs of proxies, so others get it in the header alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNotices:
    """Messages to people from the server itself. By default it sends none."""

    localpart: Annotated[str, Example("notices")]
    """The name of the account that sends them, before the colon."""

    display_name: str = "Server notices"
    """How that account is shown."""

    room_name: str = "Server notices"
    """The name of the room that they come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """What the server bears in all."""

    monthly_active_users: Annotated[int | None, Within(1, 10**9), Example("500")] = None
    """How many people may use the server within thirty days; while that many do, nobody else can
    register, log in or use it. Bridged users and guests do not count; administrators always get
    in. With `server_notices`, people are told. By default any number."""

    blocked: Annotated[str | None, Example("Moving house, back tomorrow")] = None
    """If given, nobody but administrators can use the server, and this is what they are told."""

    admin_contact: Annotated[str | None, Example('"mailto:admin@example.org"')] = None
    """The URL that people are sent to who meet such a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """How often somebody may do something, as `10/1m`: ten at once and ten more per minute.

    They hold for all workers together. `null` switches one off. Administrators and the bridges
    that their registration excepts are not limited.
    """

    enabled: bool = True
    """One switch for all. Without limits, anybody can keep the server busy and guess passwords;
    for tests."""

    messages: Rate | None = Rate.parse("50/10s")
    """Events that one person sends into rooms, redactions too."""

    to_device: Rate | None = Rate.parse("200/10s")
    """Requests of one device to send straight to other devices (keys for encryption)."""

    registration: Rate | None = Rate.parse("10/10m")
    """Attempts to make an account from one IP address."""

    login_address: Rate | None = Rate.parse("20/1m")
    """Attempts to log in from one IP address."""

    login_account: Rate | None = Rate.parse("10/1m")
    """Attempts to log in to one account, from anywhere."""

    login_failures: Rate | None = Rate.parse("5/5m")
    """Wrong passwords for one account. Few, because each is a guess."""

    email_validation: Rate | None = Rate.parse("5/10m")
    """E-mails to one address, or asked for from one IP address."""

    room_creation: Rate | None = Rate.parse("20/10m")
    """Rooms that one person makes."""

    joins: Rate | None = Rate.parse("30/1m")
    """Rooms that one person joins or knocks at, where we are in them already."""

    remote_joins: Rate | None = Rate.parse("10/1m")
    """The same where another server must be asked; joining a large room is much work."""

    joins_per_room: Rate | None = Rate.parse("50/10s")
    """People who join one room."""

    joins_by_server: Rate | None = Rate.parse("50/1m")
    """People of one other server who join one room through us, or knock at it."""

    invites_by_sender: Rate | None = Rate.parse("30/10m")
    """Invitations that one person sends."""

    invites_to_user: Rate | None = Rate.parse("20/10m")
    """Invitations that one person receives."""

    invites_per_room: Rate | None = Rate.parse("50/10m")
    """Invitations into one room."""

    invites_by_server: Rate | None = Rate.parse("50/10m")
    """Invitations that come from one other server."""

    profile_changes: Rate | None = Rate.parse("10/1m")
    """Changes to one person's profile; each is an event in every room that they are in."""

    presence: Rate | None = Rate.parse("10/1m")
    """Changes of one person's presence."""

    searches: Rate | None = Rate.parse("20/10s")
    """Searches of one person for messages, people and rooms."""

    reports: Rate | None = Rate.parse("10/10m")
    """Reports of messages, rooms and people by one person."""

    uploads: Rate | None = Rate.parse("60/1m")
    """Files that one person sends."""

    downloads: Rate | None = Rate.parse("300/1m")
    """Files of other servers that one person makes us fetch."""

    previews: Rate | None = Rate.parse("30/1m")
    """Pages that one person makes us fetch."""

    delayed_events: Rate | None = Rate.parse("60/1m")
    """Changes to events that one person sends later."""

    federation_requests: Rate | None = Rate.parse("1000/10s")
    """Requests of one other server."""

    federation_failures: Rate | None = Rate.parse("100/1m")
    """Requests from one IP address that say that they come from a server, and do not prove it.
    Beyond, no other server is asked for keys because of them; servers that we know get through."""

    sticky_events: Rate | None = Rate.parse("600/1m")
    """Events that stick which one other server sends: they come to everybody in a room, however
    much happens there. Beyond, a transaction with any is refused until later."""

    federation_states: Rate | None = Rate.parse("60/1m")
    """Whole states and auth chains of rooms that one other server asks for; a large room's are
    many megabytes."""


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
