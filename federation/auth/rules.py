"""The authorisation rules of all room versions, in the specification's order.

`check_auth_events` asks whether an event cites the right events; `authorise` asks whether a state
allows it. Both are pure, and both are asked several times for one event: see
`federation.verdict`.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules and the same in other versions
"""

from collections.abc import Container, Sequence

from federation.auth.create import check_create
from federation.auth.facts import Facts
from federation.auth.membership import check_member
from federation.auth.power_levels import check_power_levels
from federation.auth.selection import CREATE, auth_events_for
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event, StateMap
from federation.identifiers import EventID, domain_of
from federation.power_levels import LevelError
from federation.room_versions import ROOM_VERSIONS


def check_auth_events(
    event: Event, auth_events: Sequence[Event], rejected: Container[EventID] = ()
) -> Decision:
    """Rule 3 of version 12, rule 2 of others: is this what the event should cite?

    Args:
        event: the event; its `auth_events` name those of the next argument.
        auth_events: the cited events, all of them.
        rejected: tells which of them were rejected when they came in.

    """
    if event.type == "m.room.create":
        return ALLOWED
    expected = set(auth_events_for(event))
    seen = set()
    for cited in auth_events:
        key = (cited.type, cited.state_key)
        # "If there are duplicate entries for a given type and state_key pair, reject."
        if key in seen:
            return Denied("auth_events.duplicate", f"two events for {key}")
        seen.add(key)
        # "If there are entries whose type and state_key don't match those specified by the auth
        # events selection algorithm, reject."
        if key not in expected:
            return Denied("auth_events.unexpected", f"{key} has no say here")
        # "If there are entries which were themselves rejected, reject."
        if cited.event_id in rejected:
            return Denied("auth_events.rejected", f"{cited.event_id} was rejected")
        # "If any event in auth_events has a room_id which does not match that of the event being
        # authorised, reject."
        if cited.room_id != event.room_id:
            return Denied("auth_events.room", f"{cited.event_id} is of another room")
    # Before v12: "If there is no m.room.create event among the entries, reject."
    if CREATE in expected and CREATE not in seen:
        return Denied("auth_events.create", "the create event is not among them")
    return ALLOWED


def authorise(
    event: Event, state: StateMap, known_versions: Container[str] = ROOM_VERSIONS
) -> Decision:
    """All rules that depend on the event and the state of its room.

    Args:
        event: of any kind.
        state: the state to check against; at least what `auth_events_for(event)` names, as far as
            it exists, and the create event in every room version.
        known_versions: the names that count as "a recognised version" in a create event.

    """
    if event.type == "m.room.create":
        return check_create(event, known_versions)
    facts = Facts.of(state)
    if facts is None:
        return Denied("state.create", "the room has no create event")
    # Since v12: "If the event's room_id is not an event ID for an accepted m.room.create event,
    # with the sigil ! instead of $, reject." In older versions both merely name the same room.
    if event.room_id != facts.create.room_id:
        return Denied("state.room", "the state is another room's")
    try:
        return _check_rules(event, facts)
    except LevelError as error:
        return Denied("power_levels.malformed", str(error))


def _check_rules(event: Event, facts: Facts) -> Decision:
    # "If the content of the m.room.create event in the room state has the property m.federate set
    # to false, and the sender domain of the event does not match the sender domain of the create
    # event, reject."
    is_closed = facts.create.content.get("m.federate") is False
    if is_closed and domain_of(event.sender) != domain_of(facts.create.sender):
        return Denied("federate", "the room takes events of its own server only")
    # Before v6: "If type is m.room.aliases"
    if event.type == "m.room.aliases" and event.version.aliases_by_domain:
        return _check_aliases(event)
    if event.type == "m.room.member":
        return check_member(event, facts)
    # "If the sender's current membership state is not join, reject."
    if facts.membership(event.sender) != "join":
        return Denied("sender.membership", "the sender is not in the room")
    # "If type is m.room.third_party_invite: Allow if and only if sender's current power level is
    # greater than or equal to the invite level."
    if event.type == "m.room.third_party_invite":
        if facts.levels.of(event.sender) >= facts.levels.named("invite"):
            return ALLOWED
        return Denied("third_party_invite.level", "the user may not invite")
    return _check_level(event, facts)


def _check_level(event: Event, facts: Facts) -> Decision:
    # "If the event type's required power level is greater than the sender's power level, reject."
    level = facts.levels.of(event.sender)
    if facts.levels.required(event.type, is_state=event.is_state) > level:
        return Denied("sender.level", f"the user may not send {event.type}")
    # "If the event has a state_key that starts with an @ and does not match the sender, reject."
    state_key = event.state_key
    if state_key is not None and state_key.startswith("@") and state_key != event.sender:
        return Denied("state_key", "the state key is another user's ID")
    if event.type == "m.room.power_levels":
        return check_power_levels(event, facts)
    # Before v3: "If type is m.room.redaction"
    if event.type == "m.room.redaction" and event.version.redactions_need_level:
        return _check_redaction(event, facts)
    return ALLOWED


def _check_aliases(event: Event) -> Decision:
    # "If event has no state_key, reject."
    if event.state_key is None:
        return Denied("aliases.state_key", "aliases are state")
    # "If sender's domain doesn't match state_key, reject." "Otherwise, allow."
    if domain_of(event.sender) != event.state_key:
        return Denied("aliases.domain", "the aliases are another server's")
    return ALLOWED


def _check_redaction(event: Event, facts: Facts) -> Decision:
    # "If the sender's power level is greater than or equal to the redact level, allow."
    if facts.levels.of(event.sender) >= facts.levels.named("redact"):
        return ALLOWED
    # "If the domain of the event_id of the event being redacted is the same as the domain of the
    # event_id of the m.room.redaction, allow." "Otherwise, reject."
    if event.redacts and domain_of(event.redacts) == domain_of(event.event_id):
        return ALLOWED
    return Denied("redaction", "the user may not redact another server's event")
