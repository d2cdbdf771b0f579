"""Backups of keys.

https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
"""

from typing import Any

import pytest

from tests.servers import Client, Hearth

ROOM_KEYS = "/_matrix/client/v3/room_keys"
ALGORITHM = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": "a"},
}


def key(first: int = 1, forwarded: int = 1, *, verified: bool = False, data: str = "x") -> Any:
    return {
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data},
    }


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


async def begin(who: Client) -> str:
    return str((await who.post(f"{ROOM_KEYS}/version", ALGORITHM)).ok()["version"])


async def test_versions(ann: Client) -> None:
    assert (await ann.get(f"{ROOM_KEYS}/version")).errcode == "M_NOT_FOUND"
    first, second = await begin(ann), await begin(ann)
    current = (await ann.get(f"{ROOM_KEYS}/version")).ok()
    assert current == {"version": second, "etag": "0", "count": 0, **ALGORITHM}
    changed = {**ALGORITHM, "auth_data": {"public_key": "b"}, "version": first}
    (await ann.put(f"{ROOM_KEYS}/version/{first}", changed)).ok()
    found = (await ann.get(f"{ROOM_KEYS}/version/{first}")).ok()
    assert found["auth_data"] == {"public_key": "b"}
    other = {**ALGORITHM, "algorithm": "other"}
    assert (await ann.put(f"{ROOM_KEYS}/version/{first}", other)).errcode == "M_INVALID_PARAM"
    another = {**ALGORITHM, "version": second}
    assert (await ann.put(f"{ROOM_KEYS}/version/{first}", another)).errcode == "M_INVALID_PARAM"
    (await ann.delete(f"{ROOM_KEYS}/version/{second}")).ok()
    assert (await ann.get(f"{ROOM_KEYS}/version")).ok()["version"] == first
    assert (await ann.get(f"{ROOM_KEYS}/version/99999999999999")).errcode == "M_NOT_FOUND"


async def test_keys_in_all_ways(ann: Client) -> None:
    version = await begin(ann)
    query: dict[str, Any] = {"version": version}
    put = await ann.ask("PUT", f"{ROOM_KEYS}/keys/!a:x/one", key(), **query)
    assert put.ok() == {"etag": "1", "count": 1}
    await ann.ask("PUT", f"{ROOM_KEYS}/keys/!a:x", {"sessions": {"two": key()}}, **query)
    many = {"rooms": {"!b:x": {"sessions": {"three": key(), "four": key()}}}}
    assert (await ann.ask("PUT", f"{ROOM_KEYS}/keys", many, **query)).ok()["count"] == 4
    assert (await ann.get(f"{ROOM_KEYS}/keys/!a:x/one", **query)).ok() == key()
    assert (await ann.get(f"{ROOM_KEYS}/keys/!a:x", **query)).ok()["sessions"].keys() == {
        "one",
        "two",
    }
    assert (await ann.get(f"{ROOM_KEYS}/keys", **query)).ok()["rooms"].keys() == {"!a:x", "!b:x"}
    assert (await ann.get(f"{ROOM_KEYS}/keys/!a:x/five", **query)).errcode == "M_NOT_FOUND"
    gone = await ann.ask("DELETE", f"{ROOM_KEYS}/keys/!b:x", **query)
    assert gone.ok() == {"etag": "4", "count": 2}
    assert (await ann.ask("DELETE", f"{ROOM_KEYS}/keys", **query)).ok()["count"] == 0


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (key(5, data="old"), key(5, verified=True, data="new"), "new"),
        (key(5, verified=True, data="old"), key(1, data="new"), "old"),
        (key(5, data="old"), key(4, data="new"), "new"),
        (key(4, data="old"), key(5, data="new"), "old"),
        (key(5, 2, data="old"), key(5, 1, data="new"), "new"),
        (key(5, 1, data="old"), key(5, 1, data="new"), "old"),
    ],
)
async def test_the_better_key_stays(ann: Client, first: Any, second: Any, kept: str) -> None:
    query: dict[str, Any] = {"version": await begin(ann)}
    for one in (first, second):
        await ann.ask("PUT", f"{ROOM_KEYS}/keys/!a:x/one", one, **query)
    found = (await ann.get(f"{ROOM_KEYS}/keys/!a:x/one", **query)).ok()
    assert found["session_data"] == {"ciphertext": kept}


async def test_only_into_the_current_backup(ann: Client) -> None:
    old, new = await begin(ann), await begin(ann)
    answer = await ann.ask("PUT", f"{ROOM_KEYS}/keys/!a:x/one", key(), version=old)
    assert (answer.status, answer.errcode) == (403, "M_WRONG_ROOM_KEYS_VERSION")
    assert answer.json["current_version"] == new


async def test_others_do_not_see_it(hearth: Hearth, ann: Client) -> None:
    version = await begin(ann)
    bob = await hearth.user("bob")
    assert (await bob.get(f"{ROOM_KEYS}/keys", version=version)).errcode == "M_NOT_FOUND"


@pytest.mark.parametrize(
    "bad", [{}, {**key(), "is_verified": 1}, {**key(), "session_data": "x"}, key(-1), key(2**60)]
)
async def test_bad_keys(ann: Client, bad: Any) -> None:
    version = await begin(ann)
    answer = await ann.ask("PUT", f"{ROOM_KEYS}/keys/!a:x/one", bad, version=version)
    assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")
