"""What a server tells of a room when somebody here joins through it: long lists of events.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from federation.identifiers import UserID
from federation.net.transport import Limits
from homeserver.rooms import remote_events
from tests.server_server.conftest import V3
from tests.server_server.peer import Peer, Room
from tests.servers import Answer, Client, Hearth, eventually

Federated = tuple[Hearth, Peer]

BAD: dict[str, bytes] = {
    "deep": b'{"type":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
    "a deep list": b"[" * 9000 + b"]" * 9000,
    "deep beside": b'{"sender":"@a:b","origin_server_ts":1,"signatures":{},"unsigned":'
    + b"[" * 9000 + b"]" * 9000 + b"}",
    "not UTF-8": b'{"type":"\xff\xfe"}',
    "not JSON": b'{"type":}',
    "brackets that do not match": b'{"type":[}}',
    "another type": b'"\\"], \\"state\\": ["',
    "a number": b"-1e999",
    "long": b'{"type":"' + b"x" * 2**20 + b'"}',
    "nothing": b"{}",
}  # fmt: skip


async def join(user: Client, room: Room, peer: Peer) -> Answer:
    return await user.post(f"{V3}/join/{quote(room.room_id)}?via={peer.name}")


async def members(user: Client, room: Room) -> set[str]:
    found = await user.get(f"{V3}/rooms/{room.room_id}/joined_members")
    return set(found.ok()["joined"])


def among(lists: tuple[str, ...], bad: bytes) -> Callable[[Any], web.Response]:
    """The honest answer with something else between all entries of its lists."""

    def lie(honest: Any) -> web.Response:
        told = {name: json.dumps(value).encode() for name, value in honest.items()}
        for name in lists:
            events = [json.dumps(event).encode() for event in honest[name]]
            told[name] = b"[" + b",".join(bad + b"," + event for event in events) + b"]"
        body = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in told.items())
        return web.Response(body=b"{" + body + b"}", content_type="application/json")

    return lie


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_bad_event_among_good_ones(federated: Federated, bad: bytes) -> None:
    """It is left out, of the join and of the members that are fetched behind."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room, zoe = peer.found(olga), UserID(f"@zoe:{peer.name}")
    people = [UserID(f"@m{number:02}:{peer.name}") for number in range(40)]
    for user in [zoe, *people]:
        peer.say_state(room, "m.room.member", {"membership": "join"}, user, user)
    peer.lies["send_join"] = among(("state", "auth_chain"), bad)
    peer.lies["state"] = among(("pdus", "auth_chain"), bad)
    (await join(ann, room, peer)).ok()
    assert await members(ann, room) == {olga, ann.user_id, zoe, *people}
    assert any("/state/" in path for path in peer.asked)


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut off within an event": lambda body: body[: body.index(b'"auth_chain"') - 40],
    "cut off between lists": lambda body: body[: body.index(b'"auth_chain"')],
    "cut off at its end": lambda body: body[:-1],
    "state twice": lambda body: body[:-1] + b',"state":[]}',
    "state twice, once hidden": lambda body: body[:-1] + b',"st\\u0061te":[]}',
    "no state": lambda body: body.replace(b'"state"', b'"x"'),
    "state of another type": lambda body: body[:-1] + b',"state":null}',
    "lists in lists": lambda body: body.replace(b'"state":[', b'"state":[[', 1),
    "deep beside": lambda body: body[:-1] + b',"x":' + b"[" * 9000 + b"]" * 9000 + b"}",
    "much beside": lambda body: body[:-1] + b',"x":"' + b"y" * 2**22 + b'"}',
    "not UTF-8": lambda body: body[:-1] + b',"servers_in_room":["\xff"]}',
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
async def test_an_answer_that_is_none(
    federated: Federated, spoil: Callable[[bytes], bytes]
) -> None:
    """The join fails, and works once the answer is honest."""
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")

    def lie(honest: Any) -> web.Response:
        ordered = {name: honest[name] for name in sorted(honest, reverse=True)}
        ordered["auth_chain"] = ordered.pop("auth_chain")
        body = json.dumps(ordered, separators=(",", ":")).encode()
        return web.Response(body=spoil(body), content_type="application/json")

    peer.lies["send_join"] = lie
    assert (await join(ann, room, peer)).status == 502
    assert (await ann.get(f"{V3}/joined_rooms")).ok() == {"joined_rooms": []}
    peer.lies.clear()
    room.state.pop(("m.room.member", ann.user_id))
    (await join(ann, room, peer)).ok()


class Streamed(web.StreamResponse):
    """An answer that is written piece by piece, as `write_all` does it."""

    def __init__(self, write_all: Callable[["Streamed"], Awaitable[None]]) -> None:
        super().__init__()
        self._write_all = write_all
        self._transport: asyncio.Transport | None = None
        self.sent = 0

    @property
    def is_heard(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        self._transport = request.transport
        await self._write_all(self)
        return writer

    async def say(self, piece: bytes) -> None:
        self.sent += len(piece)
        await self.write(piece)


async def test_an_endless_list(federated: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of good events and of nothing: as much is read as may be, and no more."""
    limits = Limits(total=30.0, body=2**20)
    monkeypatch.setattr(remote_events, "_JOIN", limits)
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")
    answers: list[Streamed] = []

    def endless(event: bytes) -> Callable[[Any], Streamed]:
        async def write_all(answer: Streamed) -> None:
            await answer.say(b'{"state":[')
            piece = (event + b",") * (2**16 // len(event))
            while answer.is_heard and answer.sent < 2**27:
                await answer.say(piece)
                await asyncio.sleep(0)

        def lie(_: Any) -> Streamed:
            answers.append(Streamed(write_all))
            return answers[-1]

        return lie

    create = room.state[("m.room.create", "")]
    for event in (create.json, b"{}", b"0"):
        peer.lies["send_join"] = endless(event)
        async with asyncio.timeout(60):
            assert (await join(ann, room, peer)).status == 502
        room.state.pop(("m.room.member", ann.user_id))
    assert max(answer.sent for answer in answers) < 2**26
    peer.lies.clear()
    (await join(ann, room, peer)).ok()


async def test_a_list_that_drips(federated: Federated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for the whole answer holds, however often a byte comes."""
    monkeypatch.setattr(remote_events, "_JOIN", Limits(total=1.0))
    hearth, peer = federated
    room, ann = peer.found(peer.user("olga")), await hearth.user("ann")

    async def write_all(answer: Streamed) -> None:
        await answer.say(b'{"state":[')
        while answer.is_heard:
            await answer.say(b" ")
            await asyncio.sleep(0.01)

    peer.lies["send_join"] = lambda _: Streamed(write_all)
    async with asyncio.timeout(30):
        assert (await join(ann, room, peer)).status == 502


async def test_events_are_looked_at_while_others_are_on_their_way(federated: Federated) -> None:
    """The keys of the first ones are asked for before the last ones have come."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room, dead = peer.found(olga), peer.stranger("127.0.0.1:1")
    people = [UserID(f"@m{number:03}:{dead.server}") for number in range(300)]
    for user in people:
        peer.say_state(room, "m.room.member", {"membership": "join"}, user, user, signer=dead)
    state = [event.json for event in room.state.values()]

    async def asked_for_keys() -> bool:
        return any("/key/v2/query" in path for path in peer.asked)

    def lie(honest: Any) -> Streamed:
        async def write_all(answer: Streamed) -> None:
            await answer.say(b'{"event":%b,"state":[' % json.dumps(honest["event"]).encode())
            await answer.say(b",".join(state[:-1]))
            await eventually(asked_for_keys, 30)
            await answer.say(b"," + state[-1] + b'],"auth_chain":[]}')

        return Streamed(write_all)

    peer.lies["send_join"] = lie
    (await join(ann, room, peer)).ok()
    assert await members(ann, room) == {olga, ann.user_id, *people}
