"""What clients need for calls.

https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
"""

import base64
import hmac
import time
from pathlib import Path

from homeserver.config.settings import Turn
from homeserver.config.values import Duration, Secret
from tests.database import Server
from tests.servers import Hearth, own_database, serving, test_settings

PATH = "/_matrix/client/v3/voip/turnServer"
URIS = ("turn:turn.example.org:3478?transport=udp", "turns:turn.example.org")


async def test_passwords_for_a_turn_server(postgres: Server, tmp_path: Path) -> None:
    """They are those that the TURN server computes by itself from name and secret."""
    turn = Turn(uris=URIS, shared_secret=Secret("north"), lifetime=Duration.parse("1h"))
    settings = test_settings("one.test", tmp_path, turn=turn)
    async with own_database(postgres, "calls") as where, serving(settings, where) as hearth:
        ann, bob = await hearth.user("ann"), await hearth.user("bob")
        found = (await ann.get(PATH)).ok()
        assert (found["uris"], found["ttl"]) == (list(URIS), 3600)
        digest = hmac.digest(b"north", found["username"].encode(), "sha1")
        assert found["password"] == base64.b64encode(digest).decode()
        expires, caller = found["username"].split(":")
        assert 3590 < int(expires) - time.time() <= 3600
        assert "ann" not in caller
        other = (await bob.get(PATH)).ok()
        assert other["username"].split(":")[1] != caller


async def test_without_a_turn_server(hearth: Hearth) -> None:
    assert (await (await hearth.user("ann")).get(PATH)).ok() == {}
