"""How much a profile holds, and what it does not take.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
"""

import json
from typing import Any

import pytest

from homeserver.accounts.profile_fields import LARGEST, LONGEST_KEY
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
FIELD = "org.example.field"


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def put(who: Client, name: str, value: Any) -> tuple[int, str | None]:
    answer = await who.put(f"{V3}/profile/{who.user_id}/{name}", {name: value})
    return answer.status, None if answer.status == 200 else answer.errcode


async def profile(ann: Client) -> Any:
    return (await ann.get(f"{V3}/profile/{ann.user_id}")).ok()


async def test_to_the_last_byte(ann: Client) -> None:
    """All fields together have 64 KiB; what is refused changes nothing."""
    before = await profile(ann)
    most = LARGEST - len(json.dumps({**before, FIELD: ""}, separators=(",", ":")))
    assert await put(ann, FIELD, "x" * (most + 1)) == (400, "M_PROFILE_TOO_LARGE")
    assert await profile(ann) == before
    # Umlauts have two bytes each.
    assert await put(ann, FIELD, "ü" * (most // 2 + 1)) == (400, "M_PROFILE_TOO_LARGE")
    assert await put(ann, FIELD, "x" * most) == (200, None)
    assert await put(ann, "m.tz", "Europe/Berlin") == (400, "M_PROFILE_TOO_LARGE")
    assert await profile(ann) == {**before, FIELD: "x" * most}
    (await ann.delete(f"{V3}/profile/{ann.user_id}/{FIELD}")).ok()
    assert await put(ann, "m.tz", "Europe/Berlin") == (200, None)
    assert await profile(ann) == {**before, "m.tz": "Europe/Berlin"}


async def test_names_of_fields(ann: Client) -> None:
    name = "org." + "x" * (LONGEST_KEY - 4)
    assert await put(ann, name, 1) == (200, None)
    assert await put(ann, name + "x", 1) == (400, "M_KEY_TOO_LARGE")
    for bad in ("Upper.case", "1.digit", "white%20space", "%C3%BC.umlaut"):
        assert (await put(ann, bad, 1))[0] == 400
    path = f"{V3}/profile/{ann.user_id}"
    assert (await ann.put(f"{path}/{FIELD}", {"other": 1})).errcode == "M_MISSING_PARAM"
    # Deleting what is not there is no fault; reading it is.
    (await ann.delete(f"{path}/{FIELD}")).ok()
    assert (await ann.get(f"{path}/{FIELD}")).errcode == "M_NOT_FOUND"


@pytest.mark.parametrize("value", [None, True, 1, -1.5, "", [], {}, {"a": [None, {"b": "ü"}]}])
async def test_any_json(ann: Client, value: Any) -> None:
    """Null, too, is kept as it is."""
    assert await put(ann, FIELD, value) == (200, None)
    shown = (await ann.get(f"{V3}/profile/{ann.user_id}/{FIELD}")).ok()
    assert shown == {FIELD: value}
    assert type(shown[FIELD]) is type(value)


async def test_only_ones_own(hearth: Hearth, ann: Client) -> None:
    bob = await hearth.user("bob")
    path = f"{V3}/profile/{ann.user_id}/{FIELD}"
    assert (await bob.put(path, {FIELD: 1})).errcode == "M_FORBIDDEN"
    assert (await bob.delete(path)).errcode == "M_FORBIDDEN"
    assert FIELD not in await profile(ann)
