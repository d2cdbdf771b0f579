"""The keys of other servers, as we tell them.

https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from federation.server_keys import build_document
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.server_server.answering import peering
from tests.server_server.peer import Peer, now_ms
from tests.servers import Hearth, federating

Federated = tuple[Hearth, Peer]
_HOUR = 3_600_000


async def _query(hearth: Hearth, name: str, **query: Any) -> list[Any]:
    path = f"/_matrix/key/v2/query/{quote(name)}"
    found: list[Any] = (await hearth.anybody.get(path, **query)).ok()["server_keys"]
    return found


def _asked(peer: Peer) -> int:
    return peer.asked.count("/_matrix/key/v2/server")


async def test_a_server_that_nobody_asked_for_yet(federated: Federated) -> None:
    hearth, peer = federated
    (document,) = await _query(hearth, peer.name)
    assert document["server_name"] == peer.name
    assert set(document["signatures"]) == {hearth.name, peer.name}
    # What is known and good is not asked for again.
    await _query(hearth, peer.name)
    assert _asked(peer) == 1


async def test_many_at_once(federated: Federated) -> None:
    hearth, peer = federated
    wanted: dict[str, Any] = {
        name: {"ed25519:peer": {}} for name in (peer.name, hearth.name, "127.0.0.1:1")
    }
    answer = await hearth.anybody.post("/_matrix/key/v2/query", {"server_keys": wanted})
    names = {document["server_name"] for document in answer.ok()["server_keys"]}
    assert names == {peer.name, hearth.name}


async def test_what_has_expired_is_better_than_nothing(federated: Federated) -> None:
    hearth, peer = federated
    old = build_document(peer.name, [peer.key], [], now_ms() - _HOUR)
    peer.lies["server"] = lambda _: old
    (document,) = await _query(hearth, peer.name)
    assert document["valid_until_ts"] == old["valid_until_ts"]


@pytest.mark.parametrize("lie", [{"server_name": "other.test"}, {"verify_keys": {}}])
async def test_what_is_no_document_replaces_none(federated: Federated, lie: Any) -> None:
    hearth, peer = federated
    await _query(hearth, peer.name)
    peer.lies["server"] = lambda honest: {**honest, **lie}
    ages = now_ms() + 100 * 24 * _HOUR
    (document,) = await _query(hearth, peer.name, minimum_valid_until_ts=ages)
    assert document["verify_keys"].keys() == {"ed25519:peer"}


async def test_servers_that_do_not_answer(hearth: Hearth) -> None:
    assert await _query(hearth, "127.0.0.1:1") == []


@pytest.mark.parametrize("body", [{}, {"server_keys": []}, {"server_keys": {"no name!": {}}}])
async def test_bad_questions(hearth: Hearth, body: Any) -> None:
    answer = await hearth.anybody.post("/_matrix/key/v2/query", body)
    assert answer.status == 400


async def test_who_asks_for_many(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    """Anybody may ask, and has us ask only so many servers; what we know is told all the same."""
    limits = RateLimits(key_queries=Rate.parse("3/1h"))
    async with (
        federating(postgres, tmp_path, loopback_authority, rate_limits=limits) as hearth,
        peering(hearth, loopback_authority) as known,
        peering(hearth, loopback_authority) as late,
    ):
        assert len(await _query(hearth, known.name)) == 1
        wanted: dict[str, Any] = {f"127.0.0.{n}:1": {} for n in range(2, 10)}
        await hearth.anybody.post("/_matrix/key/v2/query", {"server_keys": wanted})
        assert await _query(hearth, late.name) == []
        assert late.asked == []
        assert len(await _query(hearth, known.name)) == 1
        # Whoever proves who they are is no stranger.
        assert await late.send([]) == {}
        assert len(await _query(hearth, late.name)) == 1
