"""Networks as bridges tell of them.

https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.bridge import Bridge, answering, bridged, registration
from tests.database import Server
from tests.servers import Client

BASE = "/_matrix/client/v3/thirdparty"
PROTOCOL = {"user_fields": ["nick"], "location_fields": ["channel"], "icon": "", "field_types": {}}


def _respond(request: web.BaseRequest) -> web.Response | None:
    """Older paths only: so the first is not found."""
    path = request.path.removeprefix("/_matrix/app/unstable/thirdparty/")
    if path == request.path:
        return web.Response(status=404)
    answers: dict[str, object] = {
        "protocol/irc": {**PROTOCOL, "instances": [{"desc": "Libera"}]},
        "location/irc": [{"alias": "#_irc_a:x", "fields": dict(request.query)}],
        "user": [{"userid": request.query.get("userid")}],
    }
    return web.json_response(answers[path]) if path in answers else web.Response(status=404)


@pytest.fixture
async def ben(postgres: Server, tmp_path: Path) -> AsyncIterator[Client]:
    other = {
        "id": "other",
        "as_token": "another",
        "hs_token": "another too",
        "sender_localpart": "_other_bot",
        "namespaces": {},
    }
    async with (
        answering(Bridge(respond=_respond)) as bridge,
        bridged(postgres, tmp_path, registration(bridge.port), registration(1, **other)) as hearth,
    ):
        yield await hearth.user("ben")


async def test_protocols(ben: Client) -> None:
    """One of those who bridge it does not answer: the other's word counts."""
    expected = {**PROTOCOL, "instances": [{"desc": "Libera"}]}
    assert (await ben.get(f"{BASE}/protocols")).ok() == {"irc": expected}
    assert (await ben.get(f"{BASE}/protocol/irc")).ok() == expected
    assert (await ben.get(f"{BASE}/protocol/icq")).errcode == "M_NOT_FOUND"


async def test_locations_and_users(ben: Client) -> None:
    found = (await ben.get(f"{BASE}/location/irc", channel="#a b&c")).ok()
    assert found == [{"alias": "#_irc_a:x", "fields": {"channel": "#a b&c"}}]
    assert (await ben.get(f"{BASE}/user", userid="@a:b")).ok() == [{"userid": "@a:b"}]
    assert (await ben.get(f"{BASE}/user/irc", nick="a")).ok() == []
    assert (await ben.get(f"{BASE}/location", alias="#a:b")).ok() == []
    assert (await ben.get(f"{BASE}/location")).status == 400
    assert (await ben.get(f"{BASE}/user/icq")).errcode == "M_NOT_FOUND"
    assert (await ben.hearth.anybody.get(f"{BASE}/protocols")).status == 401
