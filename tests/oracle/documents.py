"""Random events as documents: every shape that redaction, hashes and identifiers depend on.

Nothing here could be sent by anybody: what matters is which keys stand where, how numbers and
texts are spelled, and that both sides make the same bytes of it.
"""

import base64
import random
from collections.abc import Callable, Mapping
from typing import Any

from federation.canonical_json import MAX_INTEGER, JsonObject
from federation.room_versions import EventIDFormat, RoomVersion

SERVER = "a.example"
HASH = "A" * 43
"""What stands for a SHA-256 hash in base64."""

_TEXTS = (
    "", "a", "join", "plain text", "quote \" and \\ backslash", "line\nfeed\ttab\x00\x1f", "é",
    "e\u0301", "日本語", "\u2028", "\ufffd", "\uffff", "\U0001f600", "\x7f</script>", "~" * 70,
)  # fmt: skip
_KEYS = (*_TEXTS, "b", "B", "aa", "signed", "membership", "users", "10", "9")
_INTEGERS = (0, -1, 1, 7, 50, 2**31, MAX_INTEGER, -MAX_INTEGER)
_LOOSE_NUMBERS = (
    0.0, -0.0, 1.0, 1.5, -2.25, 0.1, 1e-7, 1.5e16, 123456789012345680.0, 1e22, 1e300, 5e-324,
    2**53, -(2**53), 2**63, 2**64, -(2**64), 10**30,
)  # fmt: skip


def value(rng: random.Random, version: RoomVersion, depth: int = 3) -> Any:
    """Any JSON value that the room version allows in an event."""
    kind = rng.randrange(9 if depth else 6)
    if kind < 2:
        return rng.choice(_TEXTS)
    if kind < 4:
        return number(rng, version)
    if kind < 6:
        return rng.choice((True, False, None))
    if kind == 6:
        return [value(rng, version, depth - 1) for _ in range(rng.randrange(4))]
    return {k: value(rng, version, depth - 1) for k in _some(rng, _KEYS, 4)}


def number(rng: random.Random, version: RoomVersion) -> int | float:
    """A number near some edge."""
    if not version.strict_json and rng.random() < 0.5:
        return rng.choice(_LOOSE_NUMBERS)
    return rng.choice(_INTEGERS)


_Value = Callable[[random.Random, RoomVersion], Any]


def _levels(rng: random.Random, version: RoomVersion) -> JsonObject:
    return {f"@{name}:{SERVER}": number(rng, version) for name in _some(rng, "abc", 3)}


def _third_party_invite(rng: random.Random, version: RoomVersion) -> Any:
    invite = {
        "display_name": rng.choice(_TEXTS),
        "signed": {"mxid": "@kit:b.example", "token": "t", "signatures": {}},
        "extra": number(rng, version),
    }
    return {k: invite[k] for k in _some(rng, tuple(invite), 3)}


_CONTENT: Mapping[str, Mapping[str, _Value]] = {
    "m.room.create": {
        "creator": value, "room_version": value, "m.federate": value, "predecessor": value,
        "additional_creators": value, "type": value,
    },
    "m.room.member": {
        "membership": value, "displayname": value, "reason": value,
        "join_authorised_via_users_server": value, "third_party_invite": _third_party_invite,
    },
    "m.room.join_rules": {"join_rule": value, "allow": value, "deny": value},
    "m.room.power_levels": {
        "ban": number, "events": _levels, "events_default": number, "invite": number,
        "kick": number, "redact": number, "state_default": number, "users": _levels,
        "users_default": number, "notifications": _levels, "historical": number,
    },
    "m.room.aliases": {"aliases": value, "alias": value},
    "m.room.history_visibility": {"history_visibility": value, "visibility": value},
    "m.room.redaction": {"redacts": value, "reason": value},
    "m.room.third_party_invite": {"display_name": value, "public_keys": value},
    "m.room.message": {"body": value, "msgtype": value},
    "org.example.\U0001f600": {"membership": value, "creator": value, "users": value},
}  # fmt: skip

_EXTRAS: tuple[str, ...] = (
    "origin", "prev_state", "membership", "redacts", "replaces_state", "prev_content", "age",
    "user_id", "org.example.extra", "é", "policy_server",
)  # fmt: skip


def document(rng: random.Random, version: RoomVersion, serial: int) -> JsonObject:
    """A well-formed event of the room version, with odd content and odd keys beside it."""
    kind = rng.choice(tuple(_CONTENT))
    fields: JsonObject = {
        "type": kind,
        "room_id": f"!{HASH}" if version.room_id_is_create_id else f"!r{serial}:{SERVER}",
        "sender": f"@{rng.choice(('kit', 'ann', 'José', 'a b'))}:{SERVER}",
        "content": _content(rng, version, kind),
        "depth": rng.choice((0, 1, 77, MAX_INTEGER)),
        "origin_server_ts": rng.choice((0, 1, 1_700_000_000_000, MAX_INTEGER)),
        "prev_events": references(rng.randrange(4), version),
        "auth_events": references(rng.randrange(4), version),
        "hashes": {"sha256": HASH},
        "signatures": {SERVER: {"ed25519:1": "c2ln"}} if rng.random() < 0.5 else {},
    }
    if rng.random() < 0.7 or kind == "m.room.create":
        # See the intended difference "nul-in-state-key".
        key = rng.choice(_TEXTS).replace("\0", "")
        fields["state_key"] = "" if kind == "m.room.create" else key
    if kind == "m.room.create" and version.room_id_is_create_id:
        del fields["room_id"]
    if version.event_ids is EventIDFormat.SENT:
        fields["event_id"] = f"$e{serial}:{SERVER}"
    if rng.random() < 0.3:
        fields["unsigned"] = {"age": 5, "prev_content": {"membership": "join"}}
    return _shuffled(rng, {**fields, **_extras(rng, version)})


def references(count: int, version: RoomVersion) -> list[Any]:
    """References to events that nobody has seen, in the version's format."""
    if version.event_ids is EventIDFormat.SENT:
        return [[f"$p{n}:{SERVER}", {"sha256": HASH}] for n in range(count)]
    return ["$" + base64.urlsafe_b64encode(bytes([n + 1] * 32)).decode()[:43] for n in range(count)]


def _content(rng: random.Random, version: RoomVersion, kind: str) -> JsonObject:
    known = _CONTENT[kind]
    content = {key: known[key](rng, version) for key in known if rng.random() < 0.6}
    if rng.random() < 0.5:
        stranger = rng.choice(tuple(_CONTENT.values()))
        content |= {
            k: value(rng, version, 1) for k in _some(rng, tuple(stranger), 2) if k not in known
        }
    if rng.random() < 0.5:
        content |= {k: value(rng, version) for k in _some(rng, _TEXTS, 3)}
    return content


def _extras(rng: random.Random, version: RoomVersion) -> JsonObject:
    return {key: value(rng, version, 1) for key in _some(rng, _EXTRAS, 4)}


def _some(rng: random.Random, of: tuple[str, ...] | str, most: int) -> list[str]:
    return rng.sample(of, rng.randint(0, min(most, len(of))))


def _shuffled(rng: random.Random, fields: JsonObject) -> JsonObject:
    keys = list(fields)
    rng.shuffle(keys)
    return {key: fields[key] for key in keys}
