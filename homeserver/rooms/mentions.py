"""Whom events name on purpose. Pure.

https://spec.matrix.org/v1.19/client-server-api/#user-and-room-mentions
"""

from federation.events import Event
from federation.identifiers import is_user_id

_MOST_MENTIONED = 100


def mentioned_in(event: Event) -> list[str]:
    """The user IDs that the event names on purpose."""
    mentions = event.content.get("m.mentions")
    named = mentions.get("user_ids") if isinstance(mentions, dict) else None
    if event.state_key is not None or is_notice(event) or not isinstance(named, list):
        return []
    return [user for user in named[:_MOST_MENTIONED] if is_user_id(user)]


def calls_room(event: Event) -> bool:
    """Whether the event names everybody, if its sender may."""
    mentions = event.content.get("m.mentions")
    return isinstance(mentions, dict) and mentions.get("room") is True and not is_notice(event)


def is_notice(event: Event) -> bool:
    """Whether the event says itself that nobody need be told."""
    return event.content.get("msgtype") == "m.notice"
