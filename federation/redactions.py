"""Whether a redaction takes effect on the event it names.

https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
"""

from collections.abc import Callable

from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event
from federation.identifiers import EventID, domain_of
from federation.power_levels import LevelError, PowerLevels

FindEvent = Callable[[EventID], Event | None]


def check_redaction(
    redaction: Event, target: Event, levels: PowerLevels, find: FindEvent
) -> Decision:
    """Whether `redaction` strips `target`.

    Args:
        redaction: an accepted `m.room.redaction`.
        target: the event it names.
        levels: the power levels before the redaction.
        find: looks up further events, for redactions of redactions.

    """
    if target.event_id != redaction.redacts:
        return Denied("redaction.target", "the redaction names another event")
    if target.room_id != redaction.room_id:
        return Denied("redaction.room", "the redaction names an event of another room")
    if _closes_circle(redaction, target, find):
        return Denied("redaction.circle", "the redaction is redacted by what it redacts")
    # A create event without its content would change who may do what, differently for every server
    # that learns of it. As in other servers, it stays whole.
    if target.type == "m.room.create":
        return Denied("redaction.create", "a create event is never redacted")
    # In room versions 1 and 2 the authorisation rules have settled it.
    if redaction.version.redactions_need_level:
        return ALLOWED
    return _check_sender(redaction, target, levels)


def _check_sender(redaction: Event, target: Event, levels: PowerLevels) -> Decision:
    # "1. The power level of the redaction event's sender is greater than or equal to the redact
    # level." "2. The domain of the redaction event's sender matches that of the original event's
    # sender."
    if domain_of(redaction.sender) == domain_of(target.sender):
        return ALLOWED
    try:
        if levels.of(redaction.sender) >= levels.named("redact"):
            return ALLOWED
    except LevelError as error:
        return Denied("power_levels.malformed", str(error))
    return Denied("redaction.level", "the user may not redact another server's event")


def _closes_circle(redaction: Event, target: Event, find: FindEvent) -> bool:
    """Whether following what is redacted from `target` on leads back to `redaction`."""
    seen = set()
    at: Event | None = target
    while at is not None and at.event_id not in seen:
        if at.event_id == redaction.event_id:
            return True
        seen.add(at.event_id)
        at = find(at.redacts) if at.type == "m.room.redaction" and at.redacts else None
    return False
