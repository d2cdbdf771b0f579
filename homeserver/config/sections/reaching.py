# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Ways to reach people beside their clients: pushes, mails, calls."""

from dataclasses import dataclass
from typing import Annotated, Literal

from homeserver.config.declaring import Example, NotEmpty, Within
from homeserver.config.values import Duration, EmailAddress, Secret


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
