"""Who may see an event that is already in a room.

The rules alone: the caller reads the state around the event, and knows whether the asker may ask
about the room at all ("a user needs to join a room to view events in that room", unless it is
`world_readable`). What no rule allows is denied.

https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Any


class HistoryVisibility(Enum):
    """The values of `m.room.history_visibility`."""

    WORLD_READABLE = "world_readable"
    SHARED = "shared"
    INVITED = "invited"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What decides whether a user may see an event.

    Each collection holds the value in the state before the event and the one after it. They differ
    only if the event changes that very thing: one value is enough for all others.
    """

    visibility: Collection[HistoryVisibility]
    membership: Collection[str | None]
    """The user's; `None`: never a member of any kind."""
    joined_later: bool
    """The user joined the room at any point after the event, even if they left again."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What decides whether another server may have an event; collections as in `UserFacts`."""

    visibility: Collection[HistoryVisibility]
    memberships: Collection[str]
    """Those of the server's users, in the states before and after the event."""
    is_in_room: bool
    """Whether a user of the server is joined now."""


def read_visibility(content: Mapping[str, Any] | None) -> HistoryVisibility:
    """The value in an `m.room.history_visibility` event's content; `None` where there is none."""
    # "if no history_visibility is set, or if the value is not understood, the visibility is
    # assumed to be shared"
    value = content.get("history_visibility") if content else None
    if not isinstance(value, str):
        return HistoryVisibility.SHARED
    return _BY_VALUE.get(value, HistoryVisibility.SHARED)


_BY_VALUE = {known.value: known for known in HistoryVisibility}


def user_may_see(facts: UserFacts) -> bool:
    """Whether the user may see the event."""
    # "For m.room.history_visibility events themselves, the user should be allowed to see the event
    # if the history_visibility before or after the event would allow them to see it." "Likewise,
    # for the user's own m.room.member events".
    return any(
        _user_may_see(visibility, membership, facts.joined_later)
        for visibility, membership in product(facts.visibility, facts.membership)
    )


def _user_may_see(
    visibility: HistoryVisibility, membership: str | None, joined_later: bool
) -> bool:
    # "1. If the history_visibility was set to world_readable, allow."
    if visibility is HistoryVisibility.WORLD_READABLE:
        return True
    # "2. If the user's membership was join, allow."
    if membership == "join":
        return True
    # "3. If history_visibility was set to shared, and the user joined the room at any point after
    # the event was sent, allow."
    if visibility is HistoryVisibility.SHARED and joined_later:
        return True
    # "4. If the user's membership was invite, and the history_visibility was set to invited,
    # allow." "5. Otherwise, deny."
    return membership == "invite" and visibility is HistoryVisibility.INVITED


def server_may_see(facts: ServerFacts) -> bool:
    """Whether the server may have the event: whether any user on it may see it, now or one day.

    The specification has no rules of its own for servers. A server in the room stands for users who
    joined later, so `shared` is open to it, and so is what its users saw when they were there.
    """
    return any(_server_may_see(visibility, facts) for visibility in facts.visibility)


def _server_may_see(visibility: HistoryVisibility, facts: ServerFacts) -> bool:
    if "join" in facts.memberships:
        return True
    if visibility is HistoryVisibility.INVITED:
        return "invite" in facts.memberships
    # "may be shared by any participating homeserver": with servers that are not in the room we
    # leave that to the endpoints that serve previews.
    return visibility is not HistoryVisibility.JOINED and facts.is_in_room


def is_redacted_for(memberships: Collection[str | None], *, sender_is_erased: bool) -> bool:
    """Whether a user or server that may see the event gets a redacted copy of it.

    `memberships` are the asker's at the event, as in the facts. "Erasure means that any users (or
    servers) which join the room after the erasure request are served redacted copies [...] Users
    which had visibility on those events prior to the erasure are still able to see unredacted
    copies": who was joined at the event had it, of others that is not known.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
    """
    return sender_is_erased and "join" not in memberships
