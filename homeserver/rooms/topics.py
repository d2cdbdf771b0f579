"""What a topic says in plain text. Pure.

https://spec.matrix.org/v1.19/client-server-api/#mroomtopic
"""

from collections.abc import Mapping
from typing import Any


def plain_texts(content: Mapping[str, Any]) -> list[str] | None:
    """The `text/plain` representations in `m.topic`; `None`: there is no such thing."""
    topic = content.get("m.topic")
    said = topic.get("m.text") if isinstance(topic, dict) else None
    if not isinstance(said, list):
        return None
    plain = [
        one.get("body")
        for one in said
        if isinstance(one, dict) and one.get("mimetype", "text/plain") == "text/plain"
    ]
    return [text for text in plain if isinstance(text, str)]


def plain_topic(content: Mapping[str, Any]) -> str | None:
    """What people are told who are not in the room.

    "Omitted if no text/plain mimetype exists in m.room.topic."
    """
    texts = plain_texts(content)
    if texts is not None:
        return texts[0] if texts else None
    topic = content.get("topic")
    return topic if isinstance(topic, str) else None
