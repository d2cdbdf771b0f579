"""Which servers may take part in a room.

`m.room.server_acl` acts on requests, never on the graph: nothing here knows events. The lists are
written by whoever may set state in the room, so matching takes time in proportion to their size
whatever the globs are.

https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical_json import JsonObject
from federation.errors import IdentifierError
from federation.identifiers import HostAndPort, RoomID, ServerName, split_server_name

PROTECTED_ENDPOINTS = (
    "/_matrix/federation/v1/make_join",
    "/_matrix/federation/v1/make_leave",
    "/_matrix/federation/v1/send_join",
    "/_matrix/federation/v2/send_join",
    "/_matrix/federation/v1/send_leave",
    "/_matrix/federation/v2/send_leave",
    "/_matrix/federation/v1/invite",
    "/_matrix/federation/v2/invite",
    "/_matrix/federation/v1/make_knock",
    "/_matrix/federation/v1/send_knock",
    "/_matrix/federation/v1/state",
    "/_matrix/federation/v1/state_ids",
    "/_matrix/federation/v1/backfill",
    "/_matrix/federation/v1/event_auth",
    "/_matrix/federation/v1/get_missing_events",
)
"""Paths that refuse a denied server with 403 `M_FORBIDDEN`; a room ID follows in each of them.

`/_matrix/federation/v1/send/{txnId}` is protected piece by piece: see `denied_rooms`, `permitted`.
"""


class GlobSet:
    """Globs, and whether any of them matches a whole text, upper and lower case alike.

    `*` stands for any number of characters, `?` for exactly one.
    https://spec.matrix.org/v1.19/appendices/#glob-style-matching

    The globs are laid end to end. Each bit of these numbers is a place in them: one before every
    character other than `*`, one at the end of every glob. A text is read once; after each of its
    characters, `places` are those where one can be.
    """

    __slots__ = ("_anything", "_ends", "_starts", "_stays", "_takes")

    def __init__(self, globs: Iterable[str]) -> None:
        takes: defaultdict[str, int] = defaultdict(int)
        self._starts = self._ends = self._stays = 0
        bit = 1
        for glob in globs:
            self._starts |= bit
            for character in glob.lower():
                if character == "*":
                    self._stays |= bit
                else:
                    takes[character] |= bit
                    bit <<= 1
            self._ends |= bit
            bit <<= 1
        self._anything = takes.pop("?", 0)
        self._takes = dict(takes)

    def matches(self, text: str) -> bool:
        """Whether one of the globs matches all of `text`."""
        places = self._starts
        for character in text.lower():
            taken = places & (self._takes.get(character, 0) | self._anything)
            places = taken << 1 | places & self._stays
        return places & self._ends != 0


@dataclass(frozen=True, slots=True, eq=False)
class ServerACL:
    """The content of a room's `m.room.server_acl` event, ready to be asked.

    https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
    """

    allow: GlobSet
    deny: GlobSet
    allow_ip_literals: bool

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "ServerACL":
        """Read an event's content; what has a wrong type counts as absent."""
        # "Defaults to true if missing or otherwise not a boolean."
        ip_literals = content.get("allow_ip_literals") is not False
        return cls(_globs(content.get("allow")), _globs(content.get("deny")), ip_literals)

    def permits(self, server: ServerName) -> bool:
        """Whether the server may take part in the room."""
        host, _, is_ip_literal = _without_dot(server)
        # "If the server name is an IP address (v4 or v6) literal, and allow_ip_literals is present
        # and false, deny."
        if is_ip_literal and not self.allow_ip_literals:
            return False
        # "the suspect server's port number must not be considered": the brackets of IPv6 stay.
        name = f"[{host}]" if ":" in host else host
        # "If the server name matches an entry in the deny list, deny." "If the server name matches
        # an entry in the allow list, allow." "Otherwise, deny."
        return not self.deny.matches(name) and self.allow.matches(name)


def _without_dot(server: ServerName) -> HostAndPort:
    """The name's parts; for the DNS, a dot at the end makes it no other name."""
    parts = split_server_name(server)
    try:
        return split_server_name(parts.host.rstrip(".")) if parts.host.endswith(".") else parts
    except IdentifierError:
        return parts


FindACL = Callable[[RoomID], ServerACL | None]
"""The ACL in the current state of a room; `None` where there is no such event, or no such room.

Asked with whatever an EDU names as a room.
"""


def is_permitted(server: ServerName, acl: ServerACL | None) -> bool:
    """Whether the server may take part in a room that has this ACL, or none."""
    # "If there is no m.room.server_acl event in the room state, allow."
    return acl is None or acl.permits(server)


def denied_rooms(
    server: ServerName, room_ids: Iterable[RoomID], find_acl: FindACL
) -> frozenset[RoomID]:
    """Those of the rooms that keep the server out.

    PDUs that it sends for them are ignored, with an error for each in the answer.
    """
    return frozenset(r for r in set(room_ids) if not is_permitted(server, find_acl(r)))


def rooms_of(edu: JsonObject) -> frozenset[RoomID]:
    """The rooms whose ACLs `permitted` asks for about this EDU."""
    content = edu.get("content")
    if not isinstance(content, dict):
        return frozenset()
    if edu.get("edu_type") == "m.typing":
        room_id = content.get("room_id")
        return frozenset({RoomID(room_id)} if isinstance(room_id, str) else ())
    if edu.get("edu_type") == "m.receipt":
        return frozenset(map(RoomID, content))
    return frozenset()


def permitted(edu: JsonObject, server: ServerName, find_acl: FindACL) -> JsonObject | None:
    """What may be processed of an EDU that the server sent: it, a part of it, or nothing.

    Only EDUs that are local to rooms are held back; their form is not checked.
    """
    denied = denied_rooms(server, rooms_of(edu), find_acl)
    if not denied:
        return edu
    # "For receipts (m.receipt), all receipts for a particular room ID MUST be ignored if the
    # sending server is denied access to the room identified by that ID."
    if edu["edu_type"] == "m.receipt":
        left = {room: found for room, found in edu["content"].items() if room not in denied}
        return {**edu, "content": left} if left else None
    # "For typing notifications (m.typing), if the sending server is denied access to the room
    # identified by room_id, the EDU MUST be ignored."
    return None


def _globs(entries: object) -> GlobSet:
    # A server name is ASCII. A glob with anything else matches none, and would cost memory for each
    # of its characters.
    listed = entries if isinstance(entries, list) else []
    return GlobSet(e for e in listed if isinstance(e, str) and e.isascii())
