"""What is left of an event when it is redacted, and when a redaction takes effect.

https://spec.matrix.org/v1.19/rooms/v12/#redactions
"""

from collections.abc import Mapping
from typing import Any

from federation.canonical_json import JsonObject
from federation.room_versions import RedactionRules, RoomVersion


def redact(fields: Mapping[str, Any], version: RoomVersion) -> JsonObject:
    """The event with only its essential keys; shares no object with `fields` that it changes."""
    rules = version.redaction
    kept = {key: value for key, value in fields.items() if key in rules.keys}
    content = kept.get("content")
    if content:
        kept["content"] = _redact_content(fields.get("type"), content, rules)
    return kept


def _redact_content(kind: object, content: Mapping[str, Any], rules: RedactionRules) -> JsonObject:
    # "The content object must also be stripped of all keys, unless it is one of the following
    # event types"
    if not isinstance(kind, str) or kind not in rules.content:
        return {}
    keys = rules.content[kind]
    if keys is None:
        return dict(content)
    kept = {key: value for key, value in content.items() if key in keys}
    if kind == "m.room.member" and rules.third_party_signed:
        _keep_signed(content, kept)
    return kept


def _keep_signed(content: Mapping[str, Any], kept: JsonObject) -> None:
    # "Additionally, it allows the signed key of the third_party_invite key." An object without
    # `signed` stays, empty: the wording leaves it open, the network's hashes do not.
    invite = content.get("third_party_invite")
    if isinstance(invite, dict):
        kept["third_party_invite"] = {k: v for k, v in invite.items() if k == "signed"}
