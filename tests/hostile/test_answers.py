"""What a peer answers when people here want something of it.

The limits of one request are tested beside `federation/net/`; here, that they hold where they are
needed, and that people get a Matrix error in time.
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1


class Endless(web.StreamResponse):
    """It goes on sending far beyond what anybody takes; `piece` once and again."""

    def __init__(self, piece: bytes) -> None:
        super().__init__()
        self.piece = piece
        self.sent = 0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        while self.sent < 2**26 and request.transport and not request.transport.is_closing():
            await self.write(self.piece)
            self.sent += len(self.piece)
            await asyncio.sleep(0)
        return writer


@cache
def packed() -> bytes:
    """A few kilobytes that unfold to many megabytes."""
    return gzip.compress(b'{"displayname": "' + b"x" * 2**24)


def bomb() -> web.Response:
    return web.Response(body=packed(), headers={"Content-Encoding": "gzip"})


def many_headers() -> web.Response:
    return web.json_response({}, headers={f"X-{n}": "y" for n in range(5000)})


def long_header() -> web.Response:
    return web.json_response({}, headers={"X-Long": "y" * 1_000_000})


def elsewhere(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})


ANSWERS: dict[str, Callable[[], web.StreamResponse]] = {
    "endless": partial(Endless, b"x" * 65_536),
    "an endless array": partial(Endless, b"[" * 65_536),
    "a bomb": bomb,
    "many headers": many_headers,
    "a long header": long_header,
    "within": partial(elsewhere, "https://169.254.169.254/latest/meta-data"),
    "in a circle": partial(elsewhere, "/_matrix/federation/v1/query/profile"),
    "an array": partial(web.json_response, []),
    "deep": partial(web.Response, body=b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "not JSON": partial(web.Response, body=b"\xff<html>"),
    "empty": partial(web.Response),
    "nonsense": partial(web.json_response, {"room_id": "x", "servers": [5, "\0", "a b"]}),
    "an error": partial(web.json_response, {"errcode": 5, "error": []}, status=500),
    "a login": partial(web.json_response, {"errcode": "M_UNKNOWN_TOKEN"}, status=401),
}


async def test_questions_of_people_here(scene: Scene) -> None:
    """Names, rooms, keys and files of the peer; each is answered soon, and never by 500."""
    peer, ann = scene.peer, scene.ann
    eve, room = peer.user("eve"), f"!x:{peer.name}"
    questions: list[tuple[str, str, Any]] = [
        ("GET", f"{V3}/profile/{eve}", None),
        ("GET", f"{V3}/directory/room/%23tea:{peer.name}", None),
        ("POST", f"{V3}/join/{room}?via={peer.name}", {}),
        ("POST", f"{V3}/knock/{room}?via={peer.name}", {}),
        ("POST", f"{V3}/keys/query", {"device_keys": {eve: []}}),
        ("POST", f"{V3}/keys/claim", {"one_time_keys": {eve: {"D": "signed_curve25519"}}}),
        ("GET", f"/_matrix/client/v1/media/download/{peer.name}/abc", None),
        ("POST", f"{V3}/publicRooms?server={peer.name}", {}),
    ]
    for name, made in ANSWERS.items():
        for what in ("query", "make_join", "make_knock", "user", "media", "publicRooms"):
            peer.lies[what] = lambda _, made=made: made()  # type: ignore[misc]
        # What is large is told to those who take little: to read it costs the tests their time.
        is_large = name in {"endless", "an endless array", "a bomb"}
        for method, path, body in questions[:2] if is_large else questions:
            async with asyncio.timeout(10):
                answer = await ann.ask(method, path, body)
            assert answer.status != 500, (name, path, answer.json)
            assert answer.status < 300 or answer.errcode, (name, path)
            assert answer.errcode != "M_UNKNOWN_TOKEN", (name, path)
    await scene.say("still-here")


async def test_a_profile_of_any_size(scene: Scene) -> None:
    """What is passed on to people here is no larger than a profile may be."""
    eve = scene.peer.user("eve")
    scene.peer.lies["query"] = lambda _: {f"x.{n}": "y" * 1000 for n in range(2000)}
    answer = await scene.ann.get(f"{V3}/profile/{eve}")
    assert answer.status in {404, 502}
    scene.peer.lies["query"] = lambda _: {"displayname": "Eve"}
    assert (await scene.ann.get(f"{V3}/profile/{eve}")).ok()["displayname"] == "Eve"


@pytest.mark.parametrize("name", ["endless", "a bomb", "many headers", "deep", "not JSON"])
async def test_keys_that_cannot_be_read(scene: Scene, name: str) -> None:
    """A stranger whose keys are no such thing is not let in; who asks anew makes us ask no more."""
    peer = scene.peer
    peer.lies["server"] = peer.lies["query"] = lambda _: ANSWERS[name]()
    raw = json.loads(peer.say(scene.room, "hi", peer.user("eve")).json)
    raw["signatures"] = {peer.name: {"ed25519:new": "x" * 86}}
    asked = len(peer.asked)
    async with asyncio.timeout(10):
        for _ in range(3):
            results = await peer.send([raw])
            assert all("error" in result for result in results.values())
    keys = [path for path in peer.asked[asked:] if "/key/" in path]
    assert len(keys) <= 2
    assert (await peer.ask("GET", f"{V1}/event/$x"))[0] == 404
