"""Two people of one server who are on the way into the same room at the same time.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.storage import memberships
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from tests.server_server.conftest import V3
from tests.server_server.peer import Peer, Room
from tests.servers import Answer, Client, Hearth

Federated = tuple[Hearth, Peer]


class _Way:
    """Ann came in, and did something, while Bob waited for an answer to one of his requests."""

    def __init__(self, peer: Peer, room: Room, ann: Client, bob: Client) -> None:
        self.peer, self.ann, self.bob = peer, ann, bob
        self.path = f"{V3}/rooms/{room.room_id}"
        self._join = f"{V3}/join/{quote(room.room_id)}?via={peer.name}"
        self._is_asked, self._going_on = asyncio.Event(), asyncio.Event()

    async def begin(self, what: str) -> asyncio.Task[Answer]:
        self.peer.lies[what] = self._hold
        waiting = asyncio.create_task(self.bob.post(self._join))
        await self._is_asked.wait()
        (await self.ann.post(self._join)).ok()
        shown = {"membership": "join", "displayname": "Annie"}
        (await self.ann.put(f"{self.path}/state/m.room.member/{self.ann.user_id}", shown)).ok()
        said = {"msgtype": "m.text", "body": "alone so far"}
        (await self.ann.put(f"{self.path}/send/m.room.message/1", said)).ok()
        return waiting

    async def _hold(self, found: Any) -> Any:
        if not self._is_asked.is_set():
            self._is_asked.set()
            await self._going_on.wait()
        return found

    def go_on(self) -> None:
        self._going_on.set()

    async def names(self) -> dict[str, str | None]:
        joined = (await self.bob.get(f"{self.path}/joined_members")).ok()["joined"]
        return {user: shown.get("display_name") for user, shown in joined.items()}

    async def history(self) -> list[tuple[str, str]]:
        """Types and senders, the latest first."""
        page = (await self.bob.get(f"{self.path}/messages", dir="b", limit=100)).ok()
        return [(event["type"], event["sender"]) for event in page["chunk"]]


@pytest.fixture
async def way(federated: Federated) -> _Way:
    hearth, peer = federated
    room = peer.found(peer.user("olga"))
    return _Way(peer, room, await hearth.user("ann"), await hearth.user("bob"))


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("what", ["make_join", "send_join"])
async def test_nobody_is_forgotten(way: _Way, what: str, is_partial: bool) -> None:
    """Whoever of them the other server let in first, and whatever it tells of the members."""
    if is_partial:
        way.peer.lies["state_ids"] = way.peer.lies["state"] = lambda _: None
    waiting = await way.begin(what)
    way.peer.lies.clear()
    way.go_on()
    (await waiting).ok()
    olga, ann, bob = way.peer.user("olga"), way.ann.user_id, way.bob.user_id
    assert await way.names() == {olga: None, ann: "Annie", bob: None}
    history, member = await way.history(), "m.room.member"
    assert sorted(one for one in history if one[0] == member) == sorted(
        [(member, olga), (member, ann), (member, ann), (member, bob)]
    )
    if what == "send_join":
        assert history[:4] == [("m.room.message", ann), (member, ann), (member, ann), (member, bob)]
    said = {"msgtype": "m.text", "body": "here I am"}
    (await way.bob.put(f"{way.path}/send/m.room.message/2", said)).ok()
    assert (await way.history())[0] == ("m.room.message", bob)


async def test_who_came_in_by_another_worker(way: _Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """That somebody is there by now may be seen as late as when the join is written."""
    waiting = await way.begin("send_join")
    has_server, is_blind = memberships.has_server, [True]

    async def blind(conn: Connection, room: RoomNid, server: Any) -> bool:
        return not (is_blind and is_blind.pop()) and await has_server(conn, room, server)

    monkeypatch.setattr(memberships, "has_server", blind)
    way.go_on()
    (await waiting).ok()
    assert not is_blind
    olga, ann, bob = way.peer.user("olga"), way.ann.user_id, way.bob.user_id
    assert await way.names() == {olga: None, ann: "Annie", bob: None}
