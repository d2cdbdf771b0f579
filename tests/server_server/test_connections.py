"""How requests to other servers get there: over connections that are kept, and through proxies.

https://spec.matrix.org/v1.19/server-server-api/#server-discovery
"""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from federation.identifiers import RoomID
from federation.net.proxies import Proxy
from homeserver.config.settings import ProxyRule
from homeserver.http.listeners import bind
from tests.database import Server
from tests.federation.net.loopback import Authority, ConnectProxy, SocksProxy
from tests.server_server.answering import peering
from tests.server_server.conftest import V3, Scene
from tests.server_server.peer import V1
from tests.servers import LOOPBACK, eventually, federating

PEER = ("peer.test", 8448)
Routes = dict[tuple[str, int], int]


async def spoken(scene: Scene, text: str) -> None:
    """Ann says something, and the peer is told."""
    await scene.say(text)

    async def is_told() -> bool:
        bodies = [pdu["content"].get("body") for txn in scene.peer.told for pdu in txn["pdus"]]
        return text in bodies

    await eventually(is_told)


async def test_transactions_share_a_connection(scene: Scene) -> None:
    """And what is asked between them goes over it, too."""
    await spoken(scene, "one")
    peer, before = scene.peer, len(scene.peer.asked)
    await spoken(scene, "two")
    await scene.ann.get(f"{V3}/profile/{peer.user('eve')}")
    await spoken(scene, "three")
    assert len(peer.asked) >= before + 3
    assert len(set(peer.asked_from[before - 1 :])) == 1


@pytest.mark.parametrize(
    ("made", "scheme"), [(ConnectProxy, "http://ann:secret@"), (SocksProxy, "socks5h://")]
)
async def test_a_server_behind_a_proxy(
    postgres: Server,
    tmp_path: Path,
    loopback_authority: Authority,
    made: Callable[[Routes], ConnectProxy | SocksProxy],
    scheme: str,
) -> None:
    """Nobody but the proxy knows where the server is: keys, joins and events all go through it."""
    bound = bind(LOOPBACK, 0)
    async with made({PEER: bound.getsockname()[1]}) as proxy:
        leads = Proxy.parse(f"{scheme}127.0.0.1:{proxy.port}")
        rules = [ProxyRule(names="*.test", proxy=leads)]
        name = f"{PEER[0]}:{PEER[1]}"
        async with (
            federating(postgres, tmp_path, loopback_authority, proxies=rules) as hearth,
            peering(hearth, loopback_authority, bound=bound, name=name) as peer,
        ):
            ann = await hearth.user("ann")
            theirs = peer.found(peer.user("eve"))
            path = f"{V3}/join/{theirs.room_id}"
            (await ann.post(path, {}, via=name)).ok()
            wish = {"preset": "public_chat", "room_version": "11"}
            made_room = RoomID((await ann.post(f"{V3}/createRoom", wish)).ok()["room_id"])
            scene = Scene(hearth, peer, ann, await peer.join(made_room, peer.user("eve")))
            await spoken(scene, "one")
            tunnels = len(proxy.asked)
            await spoken(scene, "two")
            assert set(proxy.asked) == {PEER}
            assert len(proxy.asked) == tunnels, "a tunnel is used again"
            assert any(one.startswith("/_matrix/key/") for one in peer.asked)
            assert any(f"{V1}/make_join/" in one for one in peer.asked)
            if isinstance(proxy, ConnectProxy):
                assert set(proxy.authorizations) == {"Basic YW5uOnNlY3JldA=="}


async def test_a_proxy_that_is_away_is_not_gone_around(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Who hides behind a proxy is not shown because of an outage."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = Proxy.parse(f"socks5h://127.0.0.1:{nobody.getsockname()[1]}")
        rules = [ProxyRule(names="127.0.0.1", proxy=proxy)]
        async with (
            federating(postgres, tmp_path, loopback_authority, proxies=rules) as hearth,
            peering(hearth, loopback_authority) as peer,
        ):
            ann = await hearth.user("ann")
            room = peer.found(peer.user("eve"))
            refused = await ann.post(f"{V3}/join/{room.room_id}", {}, via=peer.name)
            assert refused.status in {404, 502}
            assert refused.errcode
            assert (await peer.ask("GET", f"{V1}/event/$x"))[0] == 401
            assert peer.asked == []
