"""What is told of rooms' states to who begins anew, kept while nothing happens in them.

Clients begin anew again and again: when they start, and when their connection is too old.
"""

from collections.abc import Hashable, Mapping, Sequence

from federation.canonical_json import JsonObject
from homeserver.storage.numbers import RoomNid
from homeserver.sync.room_memory import Face, RoomMemory
from homeserver.sync.sliding.lines import Line
from homeserver.sync.sliding.members import Told
from homeserver.sync.sliding.required_state import named_in
from homeserver.sync.sliding.wishes import SlidingWish


class Faces:
    """Those of some rooms.

    Args:
        memory: of rooms.
        wish: who asks for what.
        lines: the rooms, with timelines as the user sees them.

    """

    def __init__(self, memory: RoomMemory, wish: SlidingWish, lines: Sequence[Line]) -> None:
        self._memory = memory
        self._keys: dict[RoomNid, Hashable] = {
            line.room: (wish.who.user, line.due.match.config.wishes, named_in(line.timeline))
            for line in lines
            if line.due.sent is None and line.is_joined
        }
        self._learnt: dict[RoomNid, tuple[Hashable, Face]] = {}
        self.known: Mapping[RoomNid, Face] = memory.faces(self._keys) if self._keys else {}

    def members(self) -> dict[RoomNid, Told]:
        """Who is told of in the rooms that are known."""
        return {
            room: Told(face.members, is_anew=True)
            for room, face in self.known.items()
            if face.members is not None
        }

    def learn(self, line: Line, fields: JsonObject, told: Told | None) -> None:
        """This is told of a room."""
        if line.room in self._keys and line.room not in self.known:
            face = Face(fields, told.users if told else None)
            self._learnt[line.room] = self._keys[line.room], face

    def keep(self, up_to: int) -> None:
        """What was told is true up to a position."""
        if self._learnt:
            self._memory.keep_faces(self._learnt, up_to)
