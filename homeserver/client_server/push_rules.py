"""Push rules. They can be read; changing them is not built.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from typing import Any

from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.errors import InvalidParam, NotFound, Unrecognized
from homeserver.http import Json, Request, Routes
from homeserver.push.default_rules import KINDS, Rule, default_rules

routes = Routes("client")


@routes.get("/_matrix/client/v3/pushrules/{rest*}", auth=True)
async def get_push_rules(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules"""
    rules = default_rules(who.user_id)
    parts = request.match_info["rest"].split("/")
    if parts == [""]:
        return {"global": rules}
    if parts[0] != "global":
        raise InvalidParam("there is only the scope global")
    if parts == ["global", ""]:
        return dict(rules)
    return _below(rules, parts[1:])


def _below(rules: dict[str, list[Rule]], parts: list[str]) -> Json:
    """`KIND/`, `KIND/RULE`, `KIND/RULE/actions` or `KIND/RULE/enabled`."""
    if len(parts) < 2:
        raise InvalidParam("the path must end in a slash")
    kind, rule_id, *attribute = parts
    if kind not in KINDS:
        raise InvalidParam(f"there is no kind of rule but {', '.join(KINDS)}")
    if not rule_id and not attribute:
        return list(rules[kind])
    if len(attribute) > 1 or (attribute and attribute[0] not in {"actions", "enabled"}):
        raise InvalidParam("a rule has actions, and is enabled or not")
    found: dict[str, Any] | None = next((r for r in rules[kind] if r["rule_id"] == rule_id), None)
    if found is None:
        raise NotFound("there is no such rule")
    return {attribute[0]: found[attribute[0]]} if attribute else found


@routes.get("/_matrix/client/v3/pushrules", auth=True)
async def get_push_rules_without_slash(request: Request, house: House) -> Json:
    """The path has a slash at its end; without it there is nothing."""
    raise Unrecognized
