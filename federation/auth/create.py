"""Rule 1: the creation of a room.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules rule 1
"""

from collections.abc import Container

from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event
from federation.identifiers import domain_of, is_user_id


def check_create(event: Event, known_versions: Container[str]) -> Decision:
    """Authorise `m.room.create`; needs no state."""
    # "If it has any prev_events, reject."
    if event.prev_events:
        return Denied("create.prev_events", "a create event has nothing before it")
    if event.version.room_id_is_create_id:
        # Since v12: "If the event has a room_id, reject." One that it carried cannot be the hash
        # of the very event that it was part of.
        if event.room_id != "!" + event.event_id[1:]:
            return Denied("create.room_id", "the create event carries a room ID")
    # "If the domain of the room_id does not match the domain of the sender, reject."
    elif domain_of(event.room_id) != domain_of(event.sender):
        return Denied("create.room_id", "the room ID is of another server than its creator")
    return _check_content(event, known_versions)


def _check_content(event: Event, known_versions: Container[str]) -> Decision:
    content, version = event.content, event.version
    # "If content.room_version is present and is not a recognised version, reject."
    name = content.get("room_version", "1")
    if not isinstance(name, str) or name not in known_versions:
        return Denied("create.room_version", f"unknown room version {name!r}")
    # Before v11: "If content has no creator property, reject."
    if version.create_names_creator and "creator" not in content:
        return Denied("create.creator", "no creator is named")
    # Since v12: "If additional_creators is present in content and is not an array of strings where
    # each string passes the same user ID validation applied to sender, reject."
    if version.privileged_creators and "additional_creators" in content:
        listed = content["additional_creators"]
        if not isinstance(listed, list) or not all(map(is_user_id, listed)):
            return Denied("create.additional_creators", "not an array of user IDs")
    return ALLOWED
