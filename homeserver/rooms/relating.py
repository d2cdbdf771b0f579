"""What events say they are to other events. Pure.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from federation.errors import IdentifierError
from federation.events import Event
from federation.identifiers import EventID, parse_event_id
from homeserver.storage.batch import RelationRow
from homeserver.storage.state_groups import EventNid

ANNOTATION, REFERENCE, REPLACE, THREAD = "m.annotation", "m.reference", "m.replace", "m.thread"
_LONGEST = 255
"""Bytes of a `rel_type`; of a `key`, events hold no more than 64 KB."""


class Relation(NamedTuple):
    """An `m.relates_to` with a `rel_type`."""

    parent: EventID
    rel_type: str
    key: str | None


def relation_of(event: Event) -> Relation | None:
    """What the event is to which other; nothing where it breaks the rules of such relations.

    "Relationships which don't match the schema, or which break the rules of a relationship, are
    simply ignored."
    """
    return None if event.state_key is not None else relation_in(event.type, event.content)


def relation_in(kind: str, content: Mapping[str, Any]) -> Relation | None:
    """The same, of an event of this type that has no state key."""
    relation = content.get("m.relates_to")
    if not isinstance(relation, dict):
        return None
    rel_type, parent, key = (relation.get(name) for name in ("rel_type", "event_id", "key"))
    if not isinstance(rel_type, str) or not isinstance(parent, str) or not _fits(rel_type):
        return None
    # "the replacement event (once decrypted, if appropriate) must have an m.new_content property"
    is_readable = kind != "m.room.encrypted"
    if rel_type == REPLACE and is_readable and not isinstance(content.get("m.new_content"), dict):
        return None
    key = key if isinstance(key, str) and rel_type == ANNOTATION and _is_text(key) else None
    try:
        return Relation(parse_event_id(parent), rel_type, key)
    except IdentifierError:
        return None


def rows(events: Iterable[Event], numbers: Mapping[str, EventNid]) -> Iterator[RelationRow]:
    """The rows of those of the events that are something to others."""
    for event in events:
        relation = relation_of(event)
        if relation is not None:
            nid, parent = numbers[event.event_id], numbers[relation.parent]
            yield RelationRow(
                nid, parent, relation.rel_type, event.type, event.sender, relation.key
            )


def _fits(rel_type: str) -> bool:
    return _is_text(rel_type) and 0 < len(rel_type.encode()) <= _LONGEST


def _is_text(word: str) -> bool:
    """Whether a column of the database can hold it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in word
