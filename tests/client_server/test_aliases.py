"""Names of rooms that go, and what their rooms say of them then.

https://spec.matrix.org/v1.19/client-server-api/#room-aliases
"""

from typing import Any

import pytest

from tests.client_server.test_sync import room_of
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


async def named(ann: Client, *others: Client) -> tuple[str, str]:
    """A room with two aliases, and the path of the state that names them."""
    room_id = await room_of(ann, *others, room_alias_name="one")
    (await ann.put(f"{V3}/directory/room/%23two:one.test", {"room_id": room_id})).ok()
    path = f"{V3}/rooms/{room_id}/state/m.room.canonical_alias"
    (await ann.put(path, {"alias": "#one:one.test", "alt_aliases": ["#two:one.test"]})).ok()
    return room_id, path


async def test_what_is_deleted_is_named_no_more(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    _, path = await named(ann, ben)
    refused = await ben.delete(f"{V3}/directory/room/%23one:one.test")
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    (await ann.delete(f"{V3}/directory/room/%23one:one.test")).ok()
    assert (await ann.get(path)).ok() == {"alt_aliases": ["#two:one.test"]}
    (await ann.delete(f"{V3}/directory/room/%23two:one.test")).ok()
    assert (await ann.get(path)).ok() == {"alt_aliases": []}


async def test_who_made_an_alias_deletes_it_whatever_the_room_says(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room_id, path = await named(ann, ben)
    (await ben.put(f"{V3}/directory/room/%23bens:one.test", {"room_id": room_id})).ok()
    (await ann.put(path, {"alias": "#bens:one.test"})).ok()
    (await ben.delete(f"{V3}/directory/room/%23bens:one.test")).ok()
    assert (await ann.get(path)).ok() == {"alias": "#bens:one.test"}, "ben may not change it"


@pytest.mark.parametrize(
    ("alias", "errcode"),
    [
        ("#nothing:one.test", "M_BAD_ALIAS"),
        ("#other:one.test", "M_BAD_ALIAS"),
        ("#x:nowhere.invalid", "M_BAD_ALIAS"),
        ("nonsense", "M_INVALID_PARAM"),
        ("@x:one.test", "M_INVALID_PARAM"),
        (5, "M_INVALID_PARAM"),
        ({}, "M_INVALID_PARAM"),
        ([], "M_INVALID_PARAM"),
    ],
)
async def test_an_alias_leads_to_its_room(hearth: Hearth, alias: Any, errcode: str) -> None:
    ann = await hearth.user("ann")
    _, path = await named(ann)
    await room_of(ann, room_alias_name="other")
    for content in ({"alias": alias}, {"alt_aliases": [alias]}):
        answer = await ann.put(path, content)
        assert (answer.status, answer.errcode) == (400, errcode)


async def test_a_room_need_not_have_a_canonical_alias(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    _, path = await named(ann)
    for content in ({"alias": ""}, {"alias": None}, {}):
        (await ann.put(path, content)).ok()
        assert (await ann.get(path)).ok() == content
    for wrong in ({"alt_aliases": [""]}, {"alt_aliases": [None]}):
        answer = await ann.put(path, wrong)
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
