"""Whom join rules let in, and of rooms that let in the members of other rooms, which those are.

https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from federation.errors import IdentifierError
from federation.identifiers import RoomID, parse_room_id

AUTHORISER = "join_authorised_via_users_server"
"""Of a membership: who of the server that let somebody in vouches for them."""
RESTRICTED = frozenset({"restricted", "knock_restricted"})
"""The rules by which members of other rooms may join."""
_MOST = 1000


def allowed_rooms(rules: Mapping[str, Any]) -> list[RoomID]:
    """The rooms whose members may join, by the content of the join rules; what is none is not."""
    allow = rules.get("allow")
    found: list[RoomID] = []
    for one in allow[:_MOST] if isinstance(allow, list) else ():
        if isinstance(one, dict) and one.get("type") == "m.room_membership":
            name = one.get("room_id")
            with suppress(IdentifierError):
                found.append(parse_room_id(name if isinstance(name, str) else ""))
    return found


def join_rule(rules: Mapping[str, Any]) -> str:
    """The join rule that a content names; nothing if it is no text, which lets nobody in."""
    rule = rules.get("join_rule")
    return rule if isinstance(rule, str) else ""


def without_authoriser(content: Mapping[str, Any]) -> dict[str, Any]:
    """A membership as a client would have it: that somebody vouches for them is not theirs to say.

    Clients copy it from the membership before, where it had the signature of who let them in.
    """
    return {key: value for key, value in content.items() if key != AUTHORISER}
