"""By which text an event can be found. Pure.

https://spec.matrix.org/v1.19/client-server-api/#room_events
"""

from collections.abc import Iterable, Iterator, Mapping

from federation.events import Event
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
        texts += _plain_topics(event.content.get("m.topic"))
    # What the database cannot hold separates words.
    found = " ".join(text.replace("\0", " ") for text in texts if isinstance(text, str))
    text = found.encode(errors="replace").decode()
    return SearchRow(nid, key, text) if text else None


def _plain_topics(topic: object) -> list[object]:
    """The `body` of the `text/plain` representations in `m.topic`."""
    said = topic.get("m.text") if isinstance(topic, dict) else None
    found = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return [o.get("body") for o in found if o.get("mimetype", "text/plain") == "text/plain"]
