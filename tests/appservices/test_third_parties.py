"""Networks as bridges tell of them.

https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.bridge import Bridge, answering, bot, bridged, registration
from tests.database import Server
from tests.servers import Client

OPEN = {"join_rule": "public"}
BASE = "/_matrix/client/v3/thirdparty"
PROTOCOL = {"user_fields": ["nick"], "location_fields": ["channel"], "icon": "", "field_types": {}}


def _respond(request: web.BaseRequest) -> web.Response | None:
    """Older paths only: so the first is not found."""
    path = request.path.removeprefix("/_matrix/app/unstable/thirdparty/")
    if path == request.path:
        return web.Response(status=404)
    answers: dict[str, object] = {
        "protocol/irc": {**PROTOCOL, "instances": [{"desc": "Libera", "network_id": "libera"}, 5]},
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
    instance = {"desc": "Libera", "network_id": "libera", "instance_id": "irc|libera"}
    expected = {**PROTOCOL, "instances": [instance]}
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


async def test_rooms_of_a_network(ben: Client) -> None:
    """In its list, and in that of all; in ours only if they are published there too."""
    irc, path = bot(ben.hearth), "/_matrix/client/v3/directory/list/appservice/libera"
    ours, theirs = [
        (await ben.post("/_matrix/client/v3/createRoom", {"name": name, **more})).ok()["room_id"]
        for name, more in (("ours", {"visibility": "public"}), ("theirs", {}))
    ]
    (await ben.put(f"/_matrix/client/v3/rooms/{theirs}/state/m.room.join_rules", OPEN)).ok()

    async def listed(**body: object) -> set[str]:
        found = (await ben.post("/_matrix/client/v3/publicRooms", body)).ok()
        assert found["total_room_count_estimate"] == len(found["chunk"])
        return {room["room_id"] for room in found["chunk"]}

    assert await listed(include_all_networks=True) == {ours}
    (await irc.put(f"{path}/{theirs}", {"visibility": "public"})).ok()
    (await irc.put(f"{path}/{theirs}", {"visibility": "public"})).ok()
    assert await listed() == {ours}
    assert await listed(third_party_instance_id="irc|libera") == {theirs}
    assert await listed(third_party_instance_id="other|libera") == set()
    assert await listed(include_all_networks=True) == {ours, theirs}
    both = {"include_all_networks": True, "third_party_instance_id": "irc|libera"}
    assert (await ben.post("/_matrix/client/v3/publicRooms", both)).errcode == "M_INVALID_PARAM"
    (await irc.put(f"{path}/{theirs}", {"visibility": "private"})).ok()
    assert await listed(include_all_networks=True) == {ours}
    # Only bridges have such lists, of rooms that there are.
    assert (await ben.put(f"{path}/{theirs}", {"visibility": "public"})).status == 403
    gone = await irc.put(f"{path}/!nowhere:one.test", {"visibility": "public"})
    assert gone.errcode == "M_NOT_FOUND"
    assert (await irc.put(f"{path}/{theirs}", {"visibility": "secret"})).status == 400
    assert (await irc.put(f"{path}{'a' * 300}/{theirs}", {"visibility": "public"})).status == 400
