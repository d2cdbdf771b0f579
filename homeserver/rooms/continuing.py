"""Events of other servers that go on right where a room ends here: nearly all, on a quiet day.

The state before such an event is the room's, and so is what it has to cite: all its checks are one,
which is made from memory. So it is written as our own events are, many rooms at a time. Whatever is
otherwise in any way, or is not allowed, is left to `absorbing`, which says what becomes of it.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Sequence

from federation.events import Event
from federation.graph import in_causal_order
from federation.identifiers import EventID
from homeserver.rooms.drafting import Submission, Written
from homeserver.rooms.heads import Head
from homeserver.rooms.intake import Intake
from homeserver.storage.received import Ground


class Continuing:
    """Writes events that continue rooms.

    Args:
        intake: where our own events go in.

    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def take_unseen(self, head: Head, events: Sequence[Event]) -> bool:
        """As `take`, without a look at what there is here: what nobody heard of, nothing waits for.

        As the events go on where the room ends, what they cite is here; and should their IDs be
        known, or the head be another by now, that is noticed as they are written.
        """
        if head.partial is not None or any(e.type == "m.room.redaction" for e in events):
            return False
        return await self._submit(head, events, frozenset(e.event_id for e in events))

    async def take(self, head: Head, events: Sequence[Event], ground: Ground) -> bool:
        """Write the events of a room, or nothing at all; answers whether it did.

        Args:
            head: of the room, which has no policy server.
            events: whose signatures are good, and for which no redaction waits.
            ground: what there is here of these, and of those that they cite.

        """
        if head.partial is not None or any(event.event_id in ground.places for event in events):
            return False
        if any(event.type == "m.room.redaction" for event in events):
            return False
        unheard = frozenset(e.event_id for e in events if e.event_id not in ground.heard)
        return await self._submit(head, events, unheard)

    async def _submit(
        self, head: Head, events: Sequence[Event], unheard: frozenset[EventID]
    ) -> bool:
        received = tuple(in_causal_order(events))
        submission = Submission([], received=received, unheard=unheard)
        return isinstance(await self._intake.submit(head.room_id, submission), Written)
