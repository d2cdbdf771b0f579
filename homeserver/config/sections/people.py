# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Accounts, and what is kept and shown of people."""

from dataclasses import dataclass
from typing import Annotated, Literal

from federation.identifiers import RoomAlias, ServerName
from homeserver.config.declaring import Example, Within
from homeserver.config.values import Duration, HttpUrl, Secret, Size


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
