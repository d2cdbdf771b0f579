"""By which text an event can be found. Pure.

https://spec.matrix.org/v1.19/client-server-api/#room_events
"""

from collections.abc import Iterable, Iterator, Mapping

from federation.events import Event
from homeserver.rooms.topics import plain_texts
from homeserver.storage.batch import SearchKey, SearchRow
from homeserver.storage.state_groups import EventNid

_KEYS = {
    "m.room.message": ("body", SearchKey.BODY),
    "m.room.name": ("name", SearchKey.NAME),
    "m.room.topic": ("topic", SearchKey.TOPIC),
}


def rows(events: Iterable[Event], numbers: Mapping[str, EventNid]) -> Iterator[SearchRow]:
    """What is stored of those of some accepted events that can be searched."""
    for event in events:
        row = row_of(event, numbers[event.event_id])
        if row is not None:
            yield row


def row_of(event: Event, nid: EventNid) -> SearchRow | None:
    """What is stored of an accepted event, if it is of a type that can be searched."""
    if event.type not in _KEYS:
        return None
    name, key = _KEYS[event.type]
    texts = [event.content.get(name)]
    if key is SearchKey.TOPIC:
        texts += plain_texts(event.content) or []
    # What the database cannot hold separates words.
    found = " ".join(text.replace("\0", " ") for text in texts if isinstance(text, str))
    text = found.encode(errors="replace").decode()
    return SearchRow(nid, key, text) if text else None
