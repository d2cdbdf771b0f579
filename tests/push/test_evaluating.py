"""What push rules make of events.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

import time
from typing import Any

import pytest

from federation.identifiers import UserID
from homeserver.push.changes import Changed, Changes, merged
from homeserver.push.evaluating import Around, Outcome, evaluate, flattened
from tests.federation.rooms import ANN, BOB

ME = UserID("@me:one.test")
AROUND = Around(members=5, permitted=(), display_name="Me Myself")


def event(content: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    found = {
        "type": "m.room.message",
        "sender": ANN,
        "room_id": "!room:one.test",
        "content": {"msgtype": "m.text", "body": "hello"} if content is None else content,
    }
    return {**found, **more}


def by_default(wanted: dict[str, Any], around: Around = AROUND) -> Outcome:
    return evaluate(merged(ME, Changes()), wanted, around)


MENTION = {"body": "x", "m.mentions": {"user_ids": [ME]}}
ROOM = {"body": "x", "m.mentions": {"room": True}}


@pytest.mark.parametrize(
    ("wanted", "notify", "highlight"),
    [
        (event(), True, False),
        (event({}, type="m.room.encrypted"), True, False),
        (event({"msgtype": "m.notice", "body": "x"}), False, False),
        (event(MENTION), True, True),
        (event({**MENTION, "msgtype": "m.notice"}), False, False),
        (event({"body": "x", "m.mentions": {"user_ids": [ANN]}}), True, False),
        (event(ROOM), True, False),  # the sender may not
        (event({}, type="m.reaction"), False, False),
        (event({"body": "x", "m.relates_to": {"rel_type": "m.replace"}}), False, False),
        (event({}, type="m.room.tombstone", state_key=""), True, True),
        (event({"membership": "join"}, type="m.room.member", state_key=ANN), False, False),
        (event({"membership": "invite"}, type="m.room.member", state_key=ME), True, False),
        (event({}, type="m.room.server_acl", state_key=""), False, False),
        (event({}, type="m.call.invite"), True, False),
        (event({}, type="org.unheard.of"), False, False),
        (event({}, type="m.room.topic", state_key=""), False, False),
    ],
    ids=str,
)
def test_predefined_rules(wanted: dict[str, Any], notify: bool, highlight: bool) -> None:
    found = by_default(wanted)
    assert (found.notify, found.highlight) == (notify, highlight)


def test_who_may_call_the_whole_room() -> None:
    assert by_default(event(ROOM), AROUND._replace(permitted={"room"})).highlight
    assert not by_default(event(ROOM), AROUND._replace(permitted={"lobby"})).highlight


def test_sounds() -> None:
    assert by_default(event()).tweaks == {}
    pair = by_default(event(), AROUND._replace(members=2))
    assert pair.tweaks == {"sound": "default"}


def own(kind: str, **rule: Any) -> Changes:
    made = {"rule_id": "mine", "default": False, "enabled": True, "actions": [], **rule}
    return Changes(own={kind: [made]})


def matching(key: str, pattern: Any) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def being(key: str, value: Any) -> dict[str, Any]:
    return {"kind": "event_property_is", "key": key, "value": value}


def holding(key: str, value: Any) -> dict[str, Any]:
    return {"kind": "event_property_contains", "key": key, "value": value}


@pytest.mark.parametrize(
    ("condition", "text", "met"),
    [
        (matching("content.body", "cake"), "some Cake!", True),
        (matching("content.body", "cake"), "cakes", False),
        (matching("content.body", "cak*"), "cakes", True),
        (matching("content.body", "c?ke"), "a coke", True),
        (matching("content.body", "c*e*s"), "cakes", True),
        (matching("content.body", 5), "cakes", False),
        (matching("type", "m.room.*"), "x", True),
        (matching("type", "room"), "x", False),
        (matching("no.such", "*"), "x", False),
        (being("content.body", "x"), "x", True),
        (being("content.body", 1), "1", False),
        (being("content.m\\.n.b", True), "x", True),
        (being("content.m\\.n.b", 1), "x", False),
        (being("content.null", None), "x", True),
        (holding("content.list", 2), "x", True),
        (holding("content.list", 3), "x", False),
        (holding("content.body", "x"), "x", False),
        ({"kind": "contains_display_name"}, "hi me myself,", True),
        ({"kind": "contains_display_name"}, "hi me", False),
        ({"kind": "room_member_count", "is": "5"}, "x", True),
        ({"kind": "room_member_count", "is": "==5"}, "x", True),
        ({"kind": "room_member_count", "is": ">5"}, "x", False),
        ({"kind": "room_member_count", "is": "<=5"}, "x", True),
        ({"kind": "room_member_count", "is": "five"}, "x", False),
        ({"kind": "sender_notification_permission", "key": "room"}, "x", False),
        ({"kind": "unheard_of"}, "x", False),
    ],
    ids=str,
)
def test_conditions(condition: dict[str, Any], text: str, met: bool) -> None:
    rules = own("override", conditions=[condition], actions=["notify", {"set_tweak": "highlight"}])
    body = {"body": text, "m.n": {"b": True}, "null": None, "list": [1, 2]}
    found = evaluate(merged(ME, rules), event(body, type="m.room.x"), AROUND)
    assert found.highlight is met


def test_the_order_of_kinds_and_rules() -> None:
    rules = merged(ME, own("room", rule_id="!room:one.test"))
    assert not evaluate(rules, event(), AROUND).notify, "a muted room"
    assert evaluate(rules, event(MENTION), AROUND).highlight, "but for mentions"
    rules = merged(ME, own("sender", rule_id=ANN))
    assert not evaluate(rules, event(), AROUND).notify
    assert evaluate(rules, event(sender=BOB), AROUND).notify
    loud = ["notify", {"set_tweak": "highlight"}]
    rules = merged(ME, own("content", pattern="secret", actions=loud))
    assert evaluate(rules, event({"body": "the secret word"}), AROUND).highlight
    master = own("override", conditions=[], actions=["notify"])
    master.changed[".m.rule.master"] = Changed(enabled=True)
    assert not evaluate(merged(ME, master), event(MENTION), AROUND).notify


def test_keys_are_escaped() -> None:
    found = flattened({"a": {"b.c": {"d\\e": 1}}, "l": [{"x": 1}], "n": None})
    assert found == {"a.b\\.c.d\\\\e": 1, "l": [{"x": 1}], "n": None}


def test_no_pattern_takes_long() -> None:
    pattern = "*" + "a*" * 400 + "b"
    rules = merged(ME, own("content", pattern=pattern, actions=["notify"]))
    began = time.process_time()
    evaluate(rules, event({"body": "a " * 30_000}), AROUND)
    assert time.process_time() - began < 1
