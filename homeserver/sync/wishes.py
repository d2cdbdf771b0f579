"""What a client asks `/sync` for."""

from dataclasses import dataclass, field
from functools import cached_property

from homeserver.accounts.filters import Filter
from homeserver.accounts.sessions import Session
from homeserver.rooms.filtering import Matches, matcher
from homeserver.storage.stream_tokens import StreamToken

DEFAULT_LIMIT = 10
MOST_EVENTS = 1000
"""In the timeline of one room, whatever is asked for."""


@dataclass(frozen=True)
class Wish:
    """One request."""

    who: Session
    since: StreamToken | None
    filter: Filter = field(default_factory=Filter)
    full_state: bool = False
    wants_state_after: bool = False

    @property
    def after(self) -> int:
        """The position up to which the client knows everything; 0: nothing."""
        return self.since.pos if self.since else 0

    @property
    def limit(self) -> int:
        """Events in the timeline of a room."""
        asked = self.filter.room.timeline.limit
        return DEFAULT_LIMIT if asked is None else min(asked, MOST_EVENTS)

    @property
    def lazy(self) -> bool:
        """Whether only those members are wanted who said something."""
        return self.filter.room.state.lazy_load_members

    @cached_property
    def timeline_matches(self) -> Matches:
        """A test for events of the timeline."""
        return matcher(self.filter.room.timeline)

    @cached_property
    def state_matches(self) -> Matches:
        """A test for events of the state.

        Their `limit` is not heeded, as in Synapse: of state there are no pages, and it is told
        once. A client would take a room for another than it is, for ever.
        """
        return matcher(self.filter.room.state)

    def wants_room(self, room_id: str) -> bool:
        """Whether anything of the room is wanted."""
        rooms, not_rooms = self.filter.room.rooms, self.filter.room.not_rooms
        return (rooms is None or room_id in rooms) and room_id not in (not_rooms or ())
