"""A user's push rules: the predefined ones, and what they changed of them. Pure.

https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from federation.identifiers import UserID
from homeserver.errors import InvalidParam, MatrixError, NotFound
from homeserver.push.default_rules import KINDS, UNSUBSCRIBED_THREAD, Rule, default_rules

MASTER = ".m.rule.master"
MOST = 1000
"""Rules of one user's own."""
LONGEST = 16 * 1024
"""Bytes of a rule."""

Rules = Mapping[str, list[Rule]]
"""All rules of a user by kind, each list in its order."""


class Changed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is other than predefined in a predefined rule."""

    enabled: bool | None = None
    actions: list[Any] | None = None


class Changes(msgspec.Struct, omit_defaults=True):
    """What a user changed; as JSON it is stored."""

    own: dict[str, list[Rule]] = {}
    """Their own rules by kind, each list in its order."""
    changed: dict[str, Changed] = {}
    """Predefined rules by ID."""

    @property
    def is_empty(self) -> bool:
        """Whether all is as predefined."""
        return not self.changed and not any(self.own.values())

    @property
    def minds_threads(self) -> bool:
        """Whether the user, or a client of theirs, has chosen what threads are worth."""
        changed = self.changed.get(UNSUBSCRIBED_THREAD)
        return changed is not None and changed.enabled is not None


def merged(user_id: UserID, changes: Changes) -> Rules:
    """All rules: "user-defined rules have a higher priority", but than the master rule."""
    found = {}
    for kind, defaults in default_rules(user_id).items():
        rules = [_as_changed(rule, changes.changed.get(rule["rule_id"])) for rule in defaults]
        first = [rule for rule in rules if rule["rule_id"] == MASTER]
        rest = [rule for rule in rules if rule["rule_id"] != MASTER]
        found[kind] = [*first, *changes.own.get(kind, ()), *rest]
    return found


def put(
    changes: Changes,
    kind: str,
    rule: Rule,
    *,
    before: str | None = None,
    after: str | None = None,
) -> None:
    """Add a rule of one's own, or replace the one of its ID.

    A new one comes first of its kind, unless it is to come next to another of one's own.

    Raises:
        MatrixError: there is no such other rule, or there are too many.

    """
    rules = changes.own.setdefault(kind, [])
    place = next((n for n, one in enumerate(rules) if one["rule_id"] == rule["rule_id"]), None)
    if place is not None:
        rule["enabled"] = rules.pop(place)["enabled"]
    elif sum(map(len, changes.own.values())) >= MOST:
        raise MatrixError(f"nobody has more than {MOST} rules")
    beside = after if after is not None else before
    if beside is not None:
        found = next((n for n, one in enumerate(rules) if one["rule_id"] == beside), None)
        if found is None:
            raise MatrixError(f"before/after rule not found: {beside}")
        place = found + (after is not None)
    rules.insert(0 if place is None else place, rule)


def delete(changes: Changes, kind: str, rule_id: str) -> None:
    """Remove a rule of one's own, or raise `NotFound`."""
    rules = changes.own.get(kind, [])
    kept = [rule for rule in rules if rule["rule_id"] != rule_id]
    if len(kept) == len(rules):
        raise NotFound("there is no such rule of your own")
    changes.own[kind] = kept


def change(changes: Changes, kind: str, rule_id: str, attribute: str, value: Any) -> None:
    """Set `enabled` or `actions` of any rule, or raise `NotFound`."""
    for rule in changes.own.get(kind, ()):
        if rule["rule_id"] == rule_id:
            rule[attribute] = value
            return
    if rule_id not in {rule["rule_id"] for rule in default_rules(UserID(""))[kind]}:
        raise NotFound("there is no such rule")
    before = changes.changed.get(rule_id, Changed())
    changes.changed[rule_id] = msgspec.structs.replace(before, **{attribute: value})


def mind_threads(changes: Changes) -> None:
    """From now on only those threads notify that are followed, unless the user chose otherwise.

    For whoever has a client that follows threads. To all others the rules of the specification
    apply, by which every thread notifies: they would hear of none any more, without knowing why.
    """
    if not changes.minds_threads:
        change(changes, "postcontent", UNSUBSCRIBED_THREAD, "enabled", True)


def carry_over(changes: Changes, before: str, after: str) -> None:
    """Let what somebody wants of a room hold for the one that replaces it, too."""
    for kind, rules in changes.own.items():
        known = {rule["rule_id"] for rule in rules}
        copies = [copy for rule in rules if (copy := _for_room(kind, rule, before, after))]
        new = [copy for copy in copies if copy["rule_id"] not in known]
        rules += new[: max(0, MOST - sum(map(len, changes.own.values())))]


def _for_room(kind: str, rule: Rule, before: str, after: str) -> Rule | None:
    """A rule about one room, as one about another; `None` if it is not about that room."""
    if kind == "room":
        return {**rule, "rule_id": after} if rule["rule_id"] == before else None
    named = {"kind": "event_match", "key": "room_id", "pattern": before}
    conditions = rule.get("conditions", [])
    if named not in conditions:
        return None
    moved = [{**one, "pattern": after} if one == named else one for one in conditions]
    name = str(rule["rule_id"])
    name = name.replace(before, after) if before in name else f"{name} {after}"
    return {**rule, "rule_id": name, "conditions": moved}


def new_rule(kind: str, rule_id: str, body: Mapping[str, Any]) -> Rule:
    """A rule as it is asked for, or raise `InvalidParam`."""
    if kind == "postcontent":
        raise InvalidParam("nobody has rules of this kind of their own")
    if rule_id.startswith(".") or not rule_id:
        raise InvalidParam("the IDs of rules of one's own do not begin with a dot")
    if "/" in rule_id or "\\" in rule_id:
        raise InvalidParam("the ID of a rule holds no slashes")
    rule: Rule = {
        "rule_id": rule_id,
        "default": False,
        "enabled": True,
        "actions": checked_actions(body.get("actions")),
    }
    if kind == "content":
        if not isinstance(body.get("pattern"), str):
            raise InvalidParam("pattern is missing")
        rule["pattern"] = body["pattern"]
    elif kind in {"override", "underride"}:
        conditions = body.get("conditions", [])
        if not isinstance(conditions, list) or not all(
            isinstance(one, dict) and isinstance(one.get("kind"), str) for one in conditions
        ):
            raise InvalidParam("conditions must be a list of objects, each with a kind")
        rule["conditions"] = conditions
    if len(msgspec.json.encode(rule)) > LONGEST:
        raise InvalidParam(f"a rule has at most {LONGEST} bytes")
    return rule


def checked_actions(actions: object) -> list[Any]:
    """The actions of a rule, or raise `InvalidParam`."""
    if not isinstance(actions, list) or not all(
        isinstance(one, str) or (isinstance(one, dict) and isinstance(one.get("set_tweak"), str))
        for one in actions
    ):
        raise InvalidParam("actions must be a list of names and tweaks")
    return actions


def checked_kind(kind: str) -> str:
    """The kind of a rule, or raise `InvalidParam`."""
    if kind not in KINDS:
        raise InvalidParam(f"there is no kind of rule but {', '.join(KINDS)}")
    return kind


def _as_changed(rule: Rule, changed: Changed | None) -> Rule:
    if changed is None:
        return rule
    enabled = rule["enabled"] if changed.enabled is None else changed.enabled
    actions = rule["actions"] if changed.actions is None else changed.actions
    return {**rule, "enabled": enabled, "actions": actions}
