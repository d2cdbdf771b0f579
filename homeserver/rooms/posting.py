"""Letting things happen in rooms, and telling those who may not why not."""

from collections.abc import Sequence

from federation.building import Draft
from federation.decision import Denied
from federation.errors import CanonicalJSONError, EventFormatError, EventSizeError
from federation.events import Event
from federation.identifiers import EventID, RoomID
from homeserver.errors import BadJson, Forbidden, TooLarge
from homeserver.rooms.drafting import ROOM_EXISTS, Submission, Written
from homeserver.rooms.intake import Answer, Intake


class RoomExists(Forbidden):
    """The create event that was given is that of another room."""


async def post(intake: Intake, room_id: RoomID, submission: Submission) -> Answer:
    """Submit, and turn what is wrong with the content into what a client is told.

    Raises:
        BadJson: the content is none that an event can have.
        TooLarge: the event would be too large.

    """
    try:
        return await intake.submit(room_id, submission)
    except EventSizeError as error:
        raise TooLarge(str(error)) from error
    except (CanonicalJSONError, EventFormatError) as error:
        raise BadJson(str(error)) from error


async def post_all(
    intake: Intake, room_id: RoomID, drafts: Sequence[Draft], created: Event | None = None
) -> tuple[Event, ...]:
    """Let all of it happen, or nothing.

    Raises:
        RoomExists: a room begins with just this create event.
        Forbidden: a rule of the room forbids it; others as `post`.

    """
    answer = await post(intake, room_id, Submission(drafts, created))
    if isinstance(answer, Written):
        return answer.events
    if isinstance(answer, Denied) and answer.rule == ROOM_EXISTS:
        raise RoomExists
    raise refusal(answer if isinstance(answer, Denied) else None)


async def post_one(intake: Intake, submission: Submission, room_id: RoomID) -> EventID:
    """Let one event happen; what came of a repeated transaction ID is answered again.

    Raises:
        Forbidden: a rule of the room forbids it; others as `post`.

    """
    answer = await post(intake, room_id, submission)
    if isinstance(answer, Denied):
        raise refusal(answer)
    return answer.events[-1].event_id if isinstance(answer, Written) else answer.event_id


def refusal(denied: Denied | None) -> Forbidden:
    """The rule that was broken, in words."""
    return Forbidden(denied.reason if denied else "")
