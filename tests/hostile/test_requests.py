"""Requests of a server that knows how to sign: none of them breaks or hangs an endpoint.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

import asyncio
import re
from urllib.parse import quote

import pytest

from homeserver.http.routes import Auth, Route
from tests.client_server.test_every_endpoint import (
    BODIES,
    FEDERATION_ROUTES,
    MALFORMED,
    label,
    names,
)
from tests.hostile.asking import Answer, ask, ask_with, signature
from tests.hostile.harm import unharmed
from tests.server_server.conftest import Scene
from tests.server_server.peer import V1

SIGNED = [route for route in FEDERATION_ROUTES if route.auth is Auth.FEDERATION]
WRITING = [route for route in FEDERATION_ROUTES if route.method in {"POST", "PUT"}]
QUERIES = (
    "event_id=%00&v=%00&limit=x&ver=%00&ts=x&dir=q&room_alias=%23&user_id=%40&field=%00",
    "event_id=%24x&v=%24x&v=%24y&limit=-1&ts=-1&dir=f&room_alias=%23x:x&user_id=@x:x",
    "event_id=x&limit=99999999999999999999&ts=99999999999999999999&dir=b&since=%00",
    "event_id=%FF&v=%FF&omit_members=perhaps&suggested_only=2&since=nonsense&ver=%FF",
    "&".join(f"v=%24{n}" for n in range(1500)),
    "minimum_valid_until_ts=-1&timeout_ms=-5&width=-1&height=0&method=x&limit=0",
    "width=99999999&height=99999999&method=scale&timeout_ms=99999999999999999999",
    "event_id=%ED%A0%80&v=$%ED%A0%80&field=%ED%A0%80&room_alias=%23%ED%A0%80:x",
)
INSIDE: tuple[bytes, ...] = (
    b'{"pdus": [{"room_id": "!a\\u0000:b"}, {"room_id": "!a:b", "event_id": "$\\u0000"}],'
    b' "edus": [{"edu_type": "m.typing", "content": {"room_id": "\\u0000"}},'
    b' {"edu_type": "m.receipt", "content": {"\\u0000": {"m.read": {"\\u0000": {}}}}}]}',
    b'{"earliest_events": ["\\u0000"], "latest_events": ["\\u0000", "$x"], "limit": 5}',
    b'{"earliest_events": [], "latest_events": ["$x"], "limit": 1e30, "min_depth": -9}',
    b'{"event": {}, "room_version": "99", "invite_room_state": 5}',
    b'{"event": {"type": 1}, "room_version": "11", "invite_room_state": [1, null]}',
    b'{"device_keys": {"@x:y": []}, "one_time_keys": {"\\u0000": {"x": "y"}}}',
    b'{"server_keys": {"\\u0000": {}, "x": {"y": {"minimum_valid_until_ts": -1}}}}',
    b'{"limit": 10, "since": "\\u0000", "filter": {"generic_search_term": "\\u0000%_"}}',
    b'{"unsigned": {"invite_room_state": 5}, "content": {}, "type": "m.room.member"}',
    b'{"pdus": [{"room_id": "!a:b", "n": ' + b"9" * 4000 + b"}]}",
    b'{"pdus": [' + b"9" * 5000 + b"]}",
    b'{"pdus": [-1e999]}',
)


def path_of(route: Route, scene: Scene, value: str | None = None) -> str:
    """The path of a route with names that there are, or with one value for all."""
    known = {
        "roomId": scene.room.room_id,
        "userId": scene.peer.user("eve"),
        "eventId": scene.room.tips[0].event_id,
    }

    def fill(found: "re.Match[str]") -> str:
        return value if value is not None else quote(known.get(found[1], "something"))

    return re.sub(r"\{(\w+)[?*]?\}", fill, route.path)


def check(answer: Answer, *what: object) -> None:
    assert answer.status < 500, (*what, answer.json)
    if answer.status >= 400:
        assert answer.errcode, what


async def test_bodies(scene: Scene) -> None:
    peer = scene.peer
    async with unharmed(scene), asyncio.timeout(30):
        for route in WRITING:
            for number, body in enumerate((*BODIES, *INSIDE)):
                path = path_of(route, scene, str(number) if "txnId" in route.path else None)
                check(await ask(peer, route.method, path, body), label(route), body[:60])


async def test_names_and_queries(scene: Scene) -> None:
    peer = scene.peer
    async with unharmed(scene), asyncio.timeout(30):
        for route in FEDERATION_ROUTES:
            for value in MALFORMED if names(route.path) else ():
                target = path_of(route, scene, value)
                check(await ask(peer, route.method, target, b"{}"), label(route), value)
            for query in QUERIES if route.method == "GET" else ():
                target = f"{path_of(route, scene)}?{query}"
                check(await ask(peer, "GET", target), label(route), query[:60])


async def test_headers_that_prove_nothing(scene: Scene) -> None:
    """Whatever is in the header: 401, on every endpoint alike."""
    peer, hearth, target = scene.peer, scene.hearth.name, f"{V1}/send/h"
    good = signature(peer, "PUT", target, b"{}")
    other_name = good.replace(f'destination="{hearth}"', 'destination="elsewhere.test"')
    wrong = [
        "", "Bearer x", "X-Matrix", "X-Matrix ", "X-Matrix origin=x", other_name,
        good.replace('key="ed25519:peer"', 'key="ed25519:unknown"'),
        good.replace('key="ed25519:peer"', 'key="ED25519:peer"'),
        good.replace('key="ed25519:peer"', 'key="rsa:peer"'),
        re.sub('sig=".*?"', 'sig=""', good), re.sub('sig=".*?"', 'sig="é"', good),
        re.sub('sig="(.)', lambda first: 'sig="' + ("-" if first[1] == "/" else "_"), good),
        re.sub(',sig=".*?"', "", good),
        good.replace(f'origin="{peer.name}"', 'origin="nobody.invalid"'),
        good.replace(f'origin="{peer.name}"', f'origin="{hearth}"'),
        good.replace(f'origin="{peer.name}"', f'origin="{peer.name}",origin="{peer.name}"'),
        good.replace(f'origin="{peer.name}"', 'origin="127.0.0.1"'),
        good.replace(f'origin="{peer.name}"', 'origin="[::1"'),
        good + ' junk="', good + "\\", "X-Matrix " + "," * 5000, good + ",x=" + "y" * 5000,
        'X-Matrix origin="a b",key="ed25519:a",sig="x"', good.replace('"', "'"),
    ]  # fmt: skip
    for header in wrong:
        given = [("Authorization", header.encode().decode("latin-1"))] if header else []
        answer = await ask_with(peer, "PUT", target, b"{}", given)
        assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED"), header
    for route in SIGNED:
        answer = await ask(peer, route.method, path_of(route, scene), b"[]", Authorization=good)
        assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED"), label(route)


async def test_headers_that_are_written_otherwise(scene: Scene) -> None:
    """Order, quoting, case of scheme and names: all that the grammar leaves open."""
    peer, hearth, target = scene.peer, scene.hearth.name, f"{V1}/send/good"
    good = signature(peer, "PUT", target, b"{}")
    sig = good.split('sig="')[1].rstrip('"')
    accepted = [
        good, good.replace("X-Matrix", "x-matrix"), good.replace(",", " ,\t"),
        good.replace("origin=", "Origin=").replace("sig=", "SIG="),
        good.replace(f',destination="{hearth}"', ""), good.replace("sig=", "signature="),
        f'X-Matrix sig="{sig}",key=ed25519:peer,origin={peer.name},destination={hearth}',
        good + ',x="y",unknown=1', good + ",", good.replace("X-Matrix ", "X-Matrix   "),
        good.replace('"ed25519:peer"', '"ed25519\\:peer"'),
    ]  # fmt: skip
    for header in accepted:
        answer = await ask(peer, "PUT", target, b"{}", Authorization=header)
        assert (answer.status, answer.json) == (200, {"pdus": {}}), header


@pytest.mark.parametrize("is_first_good", [True, False])
async def test_two_headers(scene: Scene, is_first_good: bool) -> None:
    """Who asks cannot be in doubt."""
    peer, target = scene.peer, f"{V1}/send/two"
    good = signature(peer, "PUT", target, b"{}")
    other = good.replace(peer.name, "nobody.invalid")
    both = [("Authorization", h) for h in ((good, other) if is_first_good else (other, good))]
    answer = await ask_with(peer, "PUT", target, b"{}", both)
    assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED")


async def test_a_signature_for_something_else(scene: Scene) -> None:
    """It holds for one method, one path with its query, and one body."""
    peer, target = scene.peer, f"{V1}/send/once"
    good = signature(peer, "PUT", target, b'{"pdus":[]}')
    others = [
        ("PUT", target, b'{"pdus":[],"edus":[]}'), ("PUT", target + "?x=1", b'{"pdus":[]}'),
        ("PUT", target + "2", b'{"pdus":[]}'), ("PUT", target, b""),
        ("PUT", target.replace("once", "%6fnce"), b'{"pdus":[]}'),
        ("POST", f"{V1}/user/keys/query", b'{"pdus":[]}'),
    ]  # fmt: skip
    for method, path, body in others:
        answer = await ask(peer, method, path, body, Authorization=good)
        assert (answer.status, answer.errcode) == (401, "M_UNAUTHORIZED"), path
    # Written otherwise, the same JSON is the same.
    answer = await ask(peer, "PUT", target, b' { "pdus" : [ ] } ', Authorization=good)
    assert answer.status == 200
