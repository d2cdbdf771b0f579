"""Changing push rules.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

import asyncio
from typing import Any

import pytest

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
RULES = f"{V3}/pushrules/global"


async def ids(reader: Client, kind: str) -> list[str]:
    """Of one's own rules."""
    rules = (await reader.get(f"{RULES}/{kind}/")).ok()
    return [rule["rule_id"] for rule in rules if not rule["default"]]


async def pushed(reader: Client, since: str | None = None) -> tuple[Any, str]:
    """What a sync says of the rules; `None` if nothing."""
    more = {"since": since} if since else {}
    sync = (await reader.get(f"{V3}/sync", timeout=0, **more)).ok()
    events = sync.get("account_data", {}).get("events", [])
    found = next((e["content"]["global"] for e in events if e["type"] == "m.push_rules"), None)
    return found, sync["next_batch"]


async def test_adding_ordering_and_removing(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    path = f"{RULES}/content"
    for name in ("a", "b", "c"):
        body = {"pattern": name, "actions": ["notify"]}
        assert (await ann.put(f"{path}/{name}", body)).ok() == {}
    assert await ids(ann, "content") == ["c", "b", "a"]
    body = {"pattern": "d", "actions": []}
    (await ann.put(f"{path}/d?after=b", body)).ok()
    (await ann.put(f"{path}/e?before=b", body)).ok()
    assert await ids(ann, "content") == ["c", "e", "b", "d", "a"]
    (await ann.put(f"{path}/a?before=c", body)).ok()
    assert await ids(ann, "content") == ["a", "c", "e", "b", "d"]
    rule = (await ann.get(f"{path}/a")).ok()
    assert rule == {"rule_id": "a", "default": False, "enabled": True, **body}
    answer = await ann.put(f"{path}/f?after=nothing", body)
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    (await ann.delete(f"{path}/a")).ok()
    for gone in ("a", ".m.rule.message"):
        answer = await ann.delete(f"{path}/{gone}")
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
    assert await ids(ann, "content") == ["c", "e", "b", "d"]


async def test_switching_and_changing(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    (await ann.put(f"{RULES}/content/mine", {"pattern": "x", "actions": []})).ok()
    for rule in ("override/.m.rule.master", "content/mine"):
        path = f"{RULES}/{rule}"
        before = (await ann.get(f"{path}/enabled")).ok()["enabled"]
        (await ann.put(f"{path}/enabled", {"enabled": not before})).ok()
        assert (await ann.get(f"{path}/enabled")).ok() == {"enabled": not before}
        (await ann.put(f"{path}/actions", {"actions": ["notify"]})).ok()
        assert (await ann.get(path)).ok()["actions"] == ["notify"]
    (await ann.put(f"{RULES}/content/mine", {"pattern": "y", "actions": []})).ok()
    assert (await ann.get(f"{RULES}/content/mine")).ok()["enabled"] is False


async def test_other_devices_are_told(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    tablet = await ann.log_in_again()
    first, since = await pushed(tablet)
    assert first["override"][0]["rule_id"] == ".m.rule.master"
    assert (await pushed(tablet, since))[0] is None
    (await ann.put(f"{RULES}/room/!a:b", {"actions": []})).ok()
    told, after = await pushed(tablet, since)
    assert [rule["rule_id"] for rule in told["room"]] == ["!a:b"]
    assert (await pushed(tablet, after))[0] is None
    assert (await pushed(tablet))[0] == told


@pytest.mark.parametrize(
    ("path", "body", "status", "errcode"),
    [
        ("device/override/x", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/unknown/x", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override/.mine", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override/a/b", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override/", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override/x", {}, 400, "M_INVALID_PARAM"),
        ("global/override/x", {"actions": "notify"}, 400, "M_INVALID_PARAM"),
        ("global/override/x", {"actions": [5]}, 400, "M_INVALID_PARAM"),
        ("global/override/x", {"actions": [], "conditions": [5]}, 400, "M_INVALID_PARAM"),
        ("global/content/x", {"actions": []}, 400, "M_INVALID_PARAM"),
        ("global/override/x/enabled", {"enabled": True}, 404, "M_NOT_FOUND"),
        ("global/override/.m.rule.master/enabled", {}, 400, "M_MISSING_PARAM"),
        ("global/override/.m.rule.master/enabled", {"enabled": 1}, 400, "M_BAD_JSON"),
        ("global/override/.m.rule.master/else", {"enabled": True}, 400, "M_INVALID_PARAM"),
    ],
)
async def test_refused(hearth: Hearth, path: str, body: Any, status: int, errcode: str) -> None:
    ann = await hearth.user("ann")
    answer = await ann.put(f"{V3}/pushrules/{path}", body)
    assert (answer.status, answer.errcode) == (status, errcode)


async def test_many_at_once_are_all_kept(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    body = {"pattern": "x", "actions": []}
    names = [f"r{number}" for number in range(6)]
    await asyncio.gather(*(ann.put(f"{RULES}/content/{name}", body) for name in names))
    assert sorted(await ids(ann, "content")) == names
