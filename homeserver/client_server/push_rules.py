"""Push rules.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from federation.canonical_json import JsonObject
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import BadJson, InvalidParam, MissingParam, NotFound, Unrecognized
from homeserver.http import Json, Request, Routes
from homeserver.http.decoding import check_canonical
from homeserver.push import changes
from homeserver.push.changes import Changes, Rules

routes = Routes("client")

_PATH = "/_matrix/client/v3/pushrules/{rest*}"
_ATTRIBUTES = ("actions", "enabled")


class PlaceQuery(msgspec.Struct):
    """Next to which rule."""

    before: str | None = None
    after: str | None = None


class _Named(NamedTuple):
    """What a path names."""

    kind: str
    rule_id: str
    attribute: str | None


@routes.get(_PATH, auth=True)
async def get_push_rules(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules"""
    await house.process.tail.catch_up()
    rules = (await house.rulesets.of(who.user, who.user_id)).rules
    parts = _parts(request)
    if parts == [""]:
        return {"global": dict(rules)}
    _check_scope(parts)
    if parts == ["global", ""]:
        return dict(rules)
    if len(parts) < 3:
        raise InvalidParam("the path must end in a slash")
    if parts[2:] == [""]:
        return list(rules[changes.checked_kind(parts[1])])
    return _found(rules, _named(parts))


@routes.get("/_matrix/client/v3/pushrules", auth=True)
async def get_push_rules_without_slash(request: Request, house: House) -> Json:
    """The path has a slash at its end; without it there is nothing."""
    raise Unrecognized


@routes.put(_PATH, auth=True, allows=["suspended"])
async def set_push_rule(
    request: Request, house: House, query: PlaceQuery, body: JsonObject, who: Session
) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid"""
    parts = _parts(request)
    _check_scope(parts)
    named = _named(parts)
    check_canonical(body)
    if named.attribute is not None:
        value = _value(named.attribute, body)

        def change(mine: Changes) -> None:
            changes.change(mine, named.kind, named.rule_id, str(named.attribute), value)

    else:
        rule = changes.new_rule(named.kind, named.rule_id, body)

        def change(mine: Changes) -> None:
            changes.put(mine, named.kind, dict(rule), before=query.before, after=query.after)

    await house.rulesets.change(who.user, change)
    return {}


@routes.delete(_PATH, auth=True, allows=["suspended"])
async def delete_push_rule(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid"""
    parts = _parts(request)
    _check_scope(parts)
    named = _named(parts)
    if named.attribute is not None:
        raise InvalidParam("a rule is deleted whole")
    await house.rulesets.change(
        who.user, lambda mine: changes.delete(mine, named.kind, named.rule_id)
    )
    return {}


def _parts(request: Request) -> list[str]:
    return request.match_info["rest"].split("/")


def _check_scope(parts: list[str]) -> None:
    if parts[0] != "global":
        raise InvalidParam("there is only the scope global")


def _named(parts: list[str]) -> _Named:
    """`global/KIND/RULE`, perhaps with an attribute, or raise `InvalidParam`."""
    if len(parts) < 3 or not parts[2]:
        raise InvalidParam("the path names no rule")
    kind, rule_id, *attribute = changes.checked_kind(parts[1]), *parts[2:]
    if len(attribute) > 1 or (attribute and attribute[0] not in _ATTRIBUTES):
        raise InvalidParam("a rule has actions, and is enabled or not")
    return _Named(kind, rule_id, attribute[0] if attribute else None)


def _found(rules: Rules, named: _Named) -> Json:
    found = next((r for r in rules[named.kind] if r["rule_id"] == named.rule_id), None)
    if found is None:
        raise NotFound("there is no such rule")
    return {named.attribute: found[named.attribute]} if named.attribute else dict(found)


def _value(attribute: str, body: Mapping[str, Any]) -> Any:
    if attribute not in body:
        raise MissingParam(f"{attribute} is missing")
    if attribute == "actions":
        return changes.checked_actions(body["actions"])
    if not isinstance(body["enabled"], bool):
        raise BadJson("enabled must be true or false")
    return body["enabled"]
