"""What is asked over the network, and which answers are none."""

import pytest

from federation import canonical_json
from federation.canonical_json import JsonObject
from federation.errors import RequestError, ResponseFormatError
from federation.identifiers import KeyID, ServerName
from federation.net.client import FederationClient, Response
from federation.net.key_fetcher import FederationKeyFetcher
from federation.net.transport import Limits

KIT, NOTARY = ServerName("kit.example"), ServerName("notary.example")


class Recorder(FederationClient):
    """Answers each request with the same bytes and remembers the last one."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.request_made: tuple[str, ServerName, str, JsonObject | None, bool] | None = None
        self.limits: Limits | None = None

    async def request(
        self,
        method: str,
        destination: ServerName,
        uri: str,
        content: JsonObject | None = None,
        *,
        signed: bool = True,
        limits: Limits | None = None,
    ) -> Response:
        self.request_made = (method, destination, uri, content, signed)
        self.limits = limits
        return Response(200, {}, self._answer)


async def test_a_server_is_asked_for_its_keys() -> None:
    client = Recorder(b'{"server_name":"kit.example"}')
    fields = await FederationKeyFetcher(client).fetch_server_keys(KIT)
    assert fields == {"server_name": "kit.example"}
    assert client.request_made == ("GET", KIT, "/_matrix/key/v2/server", None, False)
    assert client.limits is not None
    assert client.limits.body < 1024 * 1024


async def test_a_notary_is_asked_for_others_keys() -> None:
    client = Recorder(canonical_json.encode({"server_keys": [{"a": 1}, None, [], {"b": 2}]}))
    wanted = {KIT: {KeyID("ed25519:1"): 7, KeyID("ed25519:2"): 0}}
    assert await FederationKeyFetcher(client).query_notary(NOTARY, wanted) == [{"a": 1}, {"b": 2}]
    criteria = {
        "ed25519:1": {"minimum_valid_until_ts": 7},
        "ed25519:2": {"minimum_valid_until_ts": 0},
    }
    content = {"server_keys": {KIT: criteria}}
    assert client.request_made == ("POST", NOTARY, "/_matrix/key/v2/query", content, False)


@pytest.mark.parametrize("answer", [b"{}", b'{"server_keys":{}}', b"[]", b"<html>"])
async def test_what_is_no_answer_of_a_notary(answer: bytes) -> None:
    with pytest.raises(ResponseFormatError):
        await FederationKeyFetcher(Recorder(answer)).query_notary(NOTARY, {})


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"a":NaN}'])
async def test_what_is_no_answer_of_a_server(answer: bytes) -> None:
    with pytest.raises(RequestError):
        await FederationKeyFetcher(Recorder(answer)).fetch_server_keys(KIT)
