# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""How much anybody may do, and how many may."""

from dataclasses import dataclass
from typing import Annotated

from homeserver.config.declaring import Example, Within
from homeserver.config.values import Rate


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
    """Requests from one IP address that say that they come from a server, and do not prove it; one
    more for each 64K of them. Beyond, no other server is asked for keys because of them; servers
    that we know get through, with what is no larger."""

    key_queries: Rate | None = Rate.parse("100/1m")
    """Servers that one IP address has us ask for their keys, as a notary: anybody may. Beyond, it
    is told those that we know."""

    sticky_events: Rate | None = Rate.parse("600/1m")
    """Events that stick which one other server sends: they come to everybody in a room, however
    much happens there. Beyond, a transaction with any is refused until later."""

    federation_states: Rate | None = Rate.parse("60/1m")
    """Whole states and auth chains of rooms that one other server asks for; a large room's are
    many megabytes."""
