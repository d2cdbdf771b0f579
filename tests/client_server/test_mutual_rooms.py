"""Which rooms one shares with somebody."""

from typing import Any

import pytest

from federation.identifiers import UserID
from homeserver.rooms.standings import Reader
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
STABLE = "/_matrix/client/v1/mutual_rooms"
UNSTABLE = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"


async def shared(ann: Client, ben: Client, many: int) -> list[str]:
    """Rooms that both are in."""
    found = []
    for _ in range(many):
        room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
        (await ben.post(f"{V3}/join/{room}")).ok()
        found.append(room)
    return found


@pytest.mark.parametrize("path", [STABLE, UNSTABLE])
async def test_those_that_both_are_in(hearth: Hearth, path: str) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    empty = {"joined": [], "count": 0}
    assert (await ann.get(path, user_id=ben.user_id)).ok() == empty
    assert (await ann.get(path, user_id="@nobody:elsewhere.test")).ok() == empty
    one, other, left = await shared(ann, ben, 3)
    (await ben.post(f"{V3}/rooms/{left}/leave")).ok()
    (await ann.post(f"{V3}/createRoom", {"invite": [ben.user_id]})).ok()
    for who, whom in ((ann, ben), (ben, ann)):
        found = (await who.get(path, user_id=whom.user_id)).ok()
        assert found == {"joined": [one, other], "count": 2}


async def test_batches(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    rooms = await shared(ann, ben, 5)
    mutual = hearth.parts.client_house.mutual_rooms
    nid = await hearth.parts.base.process.number_of(UserID(ann.user_id))
    reader = Reader(nid, UserID(ann.user_id))
    found: list[Any] = []
    token: str | None = None
    for size in (2, 2, 1):
        batch = await mutual.find(reader, UserID(ben.user_id), token, most=2)
        assert (len(batch.rooms), batch.total) == (size, 5)
        found, token = [*found, *batch.rooms], batch.next_batch
    assert (found, token) == (rooms, None)


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"user_id": "ben"}, "M_INVALID_PARAM"),
        ({"user_id": "@ann:one.test"}, "M_INVALID_PARAM"),
        ({"user_id": "@:one.test"}, "M_INVALID_PARAM"),
        ({"user_id": "@b n:one.test"}, "M_INVALID_PARAM"),
        ({"user_id": "@ben:one.test", "from": "nonsense"}, "M_INVALID_PARAM"),
    ],
)
async def test_refused(hearth: Hearth, query: dict[str, str], errcode: str) -> None:
    ann = await hearth.user("ann")
    answer = await ann.get(STABLE, **query)
    assert (answer.status, answer.errcode) == (400, errcode)
