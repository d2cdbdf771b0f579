# ruff: noqa: RUF009 - what the defaults call makes immutable values
"""Rooms, and how long is kept what is said in them."""

from dataclasses import dataclass
from typing import Annotated

from homeserver.config.declaring import Example, Within
from homeserver.config.values import Duration, RoomVersionName


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
    """Whether leaving a room, or being sent out of it, forgets it: its history is then gone for
    whoever is out."""

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
class ServerNotices:
    """Messages to people from the server itself. By default it sends none."""

    localpart: Annotated[str, Example("notices")]
    """The name of the account that sends them, before the colon."""

    display_name: str = "Server notices"
    """How that account is shown."""

    room_name: str = "Server notices"
    """The name of the room that they come in."""
