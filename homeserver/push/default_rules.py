"""The push rules that everybody has, as data, in their order.

https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
"""

from typing import Any

from federation.identifiers import UserID

Rule = dict[str, Any]

KINDS = ("override", "content", "postcontent", "room", "sender", "underride")
"""In the order in which they are tried."""

POLL_START, POLL_END = "org.matrix.msc3381.poll.start", "org.matrix.msc3381.poll.end"
"""https://github.com/matrix-org/matrix-spec-proposals/pull/3930"""
RTC_INVITE = "org.matrix.msc4075.rtc.invite"
"""https://github.com/matrix-org/matrix-spec-proposals/pull/4075"""

UNSUBSCRIBED_THREAD = ".io.element.msc4306.rule.unsubscribed_thread"
"""By which nothing is told of threads that one does not follow: see `changes.mind_threads`."""

_NOTIFY: list[Any] = ["notify"]
_RING: list[Any] = ["notify", {"set_tweak": "sound", "value": "ring"}]
_SOUND: list[Any] = ["notify", {"set_tweak": "sound", "value": "default"}]
_LOUD: list[Any] = [*_SOUND, {"set_tweak": "highlight"}]
_HIGHLIGHT: list[Any] = ["notify", {"set_tweak": "highlight"}]


def default_rules(user_id: UserID) -> dict[str, list[Rule]]:
    """All predefined rules of a user, by kind; the content of `m.push_rules` is its `global`."""
    return {
        "override": _override(user_id),
        "content": [],
        "postcontent": _postcontent(),
        "room": [],
        "sender": [],
        "underride": _underride(),
    }


def _rule(rule_id: str, actions: list[Any], *conditions: Rule, enabled: bool = True) -> Rule:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": enabled,
        "conditions": list(conditions),
        "actions": actions,
    }


def _matches(key: str, pattern: str) -> Rule:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _is(key: str, value: Any) -> Rule:
    return {"kind": "event_property_is", "key": key, "value": value}


def _override(user_id: UserID) -> list[Rule]:
    mentions = "content.m\\.mentions"
    mentioned = {
        "kind": "event_property_contains",
        "key": f"{mentions}.user_ids",
        "value": user_id,
    }
    for_all = (
        _is(f"{mentions}.room", True),
        {"kind": "sender_notification_permission", "key": "room"},
    )
    rings = _matches("type", RTC_INVITE)
    return [
        _rule(".m.rule.master", [], enabled=False),
        _rule(".m.rule.suppress_notices", [], _matches("content.msgtype", "m.notice")),
        _rule(
            ".m.rule.invite_for_me",
            _SOUND,
            _matches("type", "m.room.member"),
            _matches("content.membership", "invite"),
            _matches("state_key", user_id),
        ),
        _rule(".m.rule.member_event", [], _matches("type", "m.room.member")),
        _rule(".org.matrix.msc4075.rule.rtc.invite_for_me", _RING, rings, mentioned),
        _rule(".m.rule.is_user_mention", _LOUD, mentioned),
        _rule(".org.matrix.msc4075.rule.rtc.invite_for_room", _RING, rings, *for_all),
        _rule(".m.rule.is_room_mention", _HIGHLIGHT, *for_all),
        _rule(
            ".m.rule.tombstone",
            _HIGHLIGHT,
            _matches("type", "m.room.tombstone"),
            _matches("state_key", ""),
        ),
        _rule(".m.rule.reaction", [], _matches("type", "m.reaction")),
        _rule(
            ".m.rule.room.server_acl",
            [],
            _matches("type", "m.room.server_acl"),
            _matches("state_key", ""),
        ),
        _rule(
            ".org.matrix.msc3930.rule.poll_response",
            [],
            _is("type", "org.matrix.msc3381.poll.response"),
        ),
        _rule(
            ".m.rule.suppress_edits",
            [],
            _is("content.m\\.relates_to.rel_type", "m.replace"),
        ),
    ]


def _postcontent() -> list[Rule]:
    """https://github.com/matrix-org/matrix-spec-proposals/pull/4306"""
    kind = "io.element.msc4306.thread_subscription"
    return [
        _rule(UNSUBSCRIBED_THREAD, [], {"kind": kind, "subscribed": False}, enabled=False),
        _rule(
            ".io.element.msc4306.rule.subscribed_thread",
            _SOUND,
            {"kind": kind, "subscribed": True},
        ),
    ]


def _underride() -> list[Rule]:
    polls = ".org.matrix.msc3930.rule.poll"
    one_to_one = {"kind": "room_member_count", "is": "2"}
    return [
        _rule(".m.rule.call", _RING, _matches("type", "m.call.invite")),
        _rule(
            ".m.rule.encrypted_room_one_to_one",
            _SOUND,
            one_to_one,
            _matches("type", "m.room.encrypted"),
        ),
        _rule(".m.rule.room_one_to_one", _SOUND, one_to_one, _matches("type", "m.room.message")),
        _rule(".m.rule.message", _NOTIFY, _matches("type", "m.room.message")),
        _rule(".m.rule.encrypted", _NOTIFY, _matches("type", "m.room.encrypted")),
        _rule(f"{polls}_start_one_to_one", _SOUND, one_to_one, _is("type", POLL_START)),
        _rule(f"{polls}_start", _NOTIFY, _is("type", POLL_START)),
        _rule(f"{polls}_end_one_to_one", _SOUND, one_to_one, _is("type", POLL_END)),
        _rule(f"{polls}_end", _NOTIFY, _is("type", POLL_END)),
    ]
