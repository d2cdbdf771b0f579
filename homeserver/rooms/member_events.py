"""Membership events as clients get them, written once for all who ask.

Somebody who opens a large room asks for thousands of them, and next to none is new. An event says
the same until it is redacted; so each is kept as JSON under its number and its redaction, and
nobody has to tell when that changes.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from federation import canonical_json
from federation.events import Event
from homeserver.rooms.showing import client_event
from homeserver.storage import history
from homeserver.storage.history import Placed
from homeserver.storage.pool import Connection
from homeserver.storage.room_states import Entry

KEPT_BYTES = 16_000_000
"""Of JSON: some 40,000 members."""


class MemberEvent(NamedTuple):
    """One of them."""

    membership: str | None
    raw: bytes
    """Without `unsigned`: how old it is would be another number each time."""
    profile: bytes
    """The member and what they call themselves, as in `/joined_members`: a key and its value."""

    @property
    def size(self) -> int:
        """Bytes of JSON."""
        return len(self.raw) + len(self.profile)


class MemberEvents:
    """Reads them.

    Args:
        most: bytes of JSON that are kept.

    """

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[Entry, MemberEvent] = OrderedDict()
        self._most = most
        self._used = 0

    async def read(self, conn: Connection, entries: Sequence[Entry]) -> list[MemberEvent]:
        """The events, in any order; no query is made where all are known."""
        found: list[MemberEvent] = []
        missing: list[Entry] = []
        for entry in entries:
            known = self._kept.get(entry)
            if known is None:
                missing.append(entry)
            else:
                self._kept.move_to_end(entry)
                found.append(known)
        if missing:
            events = await history.by_nid(conn, [entry.event for entry in missing])
            found += [self._keep(event) for event in events.values()]
        return found

    def _keep(self, placed: Placed) -> MemberEvent:
        found = _written(placed.event)
        entry = Entry(placed.nid, placed.redacted_by)
        if entry not in self._kept:
            self._kept[entry] = found
            self._used += found.size
        while self._used > self._most:
            self._used -= self._kept.popitem(last=False)[1].size
        return found


def _written(event: Event) -> MemberEvent:
    raw = canonical_json.encode_to_keep(client_event(event), strict=event.version.strict_json)
    said = event.content
    named = {"display_name": said.get("displayname"), "avatar_url": said.get("avatar_url")}
    # What is not a string is left out.
    profile = {name: value for name, value in named.items() if isinstance(value, str)}
    line = canonical_json.encode({event.state_key or "": profile})
    return MemberEvent(event.membership, raw, line[1:-1])
