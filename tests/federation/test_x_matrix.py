"""How requests between servers are signed, and how the header is read and checked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import signedjson.key
import signedjson.sign
from hypothesis import example, given
from hypothesis import strategies as st

from federation import canonical_json, x_matrix
from federation.decision import Denied
from federation.errors import CanonicalJSONError, XMatrixError
from federation.identifiers import KeyID, ServerName
from federation.signing import SigningKey, encode_base64
from federation.x_matrix import Authenticated, XMatrix

ORIGIN = ServerName("kit.example")
HERE = ServerName("hearth.example:8448")
KEY = SigningKey.from_seed("ed25519:1", bytes(range(32)))
OTHER_KEY = SigningKey.from_seed("ed25519:1", bytes(32))
KEY_ID = KeyID("ed25519:1")
URI = "/_matrix/federation/v1/send/1?a=b%20c"
CONTENT = {"pdus": [{"depth": 1, "content": {"body": "ö\u2028"}}], "edus": []}


def header(**changed: Any) -> str:
    fields = {
        "key": KEY,
        "origin": ORIGIN,
        "destination": HERE,
        "method": "PUT",
        "uri": URI,
        "content": CONTENT,
    }
    return x_matrix.sign_request(**{**fields, **changed})


def verify(request: XMatrix, **changed: Any) -> Authenticated | Denied:
    fields = {
        "destinations": {HERE},
        "method": "PUT",
        "uri": URI,
        "content": CONTENT,
        "keys": {KEY_ID: KEY.verify_key},
    }
    return x_matrix.verify(request, **{**fields, **changed})


def signed_by_oracle(
    content: object | None, destination: str = HERE, method: str = "PUT"
) -> Mapping[str, str]:
    """Follow the example code of the specification, with another implementation's signing."""
    fields = {"method": method, "uri": URI, "origin": ORIGIN, "destination": destination}
    if content is not None:
        fields["content"] = content  # type: ignore[assignment]
    key = signedjson.key.decode_signing_key_base64("ed25519", "1", encode_base64(bytes(range(32))))
    signed: dict[str, Any] = signedjson.sign.sign_json(fields, ORIGIN, key)
    return signed["signatures"][ORIGIN]  # type: ignore[no-any-return]


@pytest.mark.parametrize("content", [None, {}, CONTENT, {"float": 1.5, "huge": 10**30}])
def test_signs_as_others_do(content: object | None) -> None:
    request = x_matrix.parse(header(content=content))
    assert request.signature == signed_by_oracle(content)[KEY_ID]


@pytest.mark.parametrize("content", [None, {}, CONTENT, {"float": 1e16, "huge": -(10**30)}])
def test_verifies_what_others_sign(content: object | None) -> None:
    signature = signed_by_oracle(content)[KEY_ID]
    request = XMatrix(ORIGIN, HERE, KEY_ID, signature)
    assert verify(request, content=content) == Authenticated(ORIGIN, HERE, KEY_ID)


def test_header_is_written_the_way_old_servers_read_it() -> None:
    signature = x_matrix.parse(header()).signature
    assert header() == (
        'X-Matrix origin="kit.example",destination="hearth.example:8448",'
        f'key="ed25519:1",sig="{signature}"'
    )


def test_content_without_canonical_form_is_not_signed() -> None:
    with pytest.raises(CanonicalJSONError):
        header(content={"number": float("nan")})


PARSED = XMatrix(ORIGIN, HERE, KEY_ID, "ABC+/d")


@pytest.mark.parametrize(
    "text",
    [
        'X-Matrix origin="kit.example",destination="hearth.example:8448",'
        'key="ed25519:1",sig="ABC+/d"',
        # the scheme and the names in any case
        'x-mATRIX ORIGIN="kit.example",Destination="hearth.example:8448",'
        'KEY="ed25519:1",Sig="ABC+/d"',
        # tokens may go unquoted; so may what has colons
        'X-Matrix origin=kit.example,destination=hearth.example:8448,key=ed25519:1,sig="ABC+/d"',
        # the specification's list calls it `signature`, its example `sig`
        "X-Matrix origin=kit.example,destination=hearth.example:8448,"
        'key=ed25519:1,signature="ABC+/d"',
        # white space around commas, around `=`, and empty list elements
        'X-Matrix   ,origin=kit.example \t,\t destination = "hearth.example:8448" ,, key=ed25519:1'
        ' , sig="ABC+/d", ,',
        # any order; unknown parameters, whatever they hold
        'X-Matrix sig="ABC+/d",realm="a, \\"b\\"=c\xfc",x=y,key=ed25519:1,origin=kit.example,'
        "destination=hearth.example:8448",
        # backslash escapes
        r'X-Matrix origin="\k\it.example",destination="hearth.example\:8448",key="ed25519:1",'
        r'sig="ABC\+/d"',
    ],
)
def test_parse(text: str) -> None:
    assert x_matrix.parse(text) == PARSED


def test_parse_without_destination() -> None:
    """Servers older than v1.3 send none."""
    text = 'X-Matrix origin=kit.example,key=ed25519:1,sig="ABC+/d"'
    assert x_matrix.parse(text) == replace(PARSED, destination=None)


def test_parse_ipv6_origin() -> None:
    text = 'X-Matrix origin="[::1]:8448",key=ed25519:1,sig=ABC'
    assert x_matrix.parse(text).origin == "[::1]:8448"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "scheme"),
        ("Bearer abc", "scheme"),
        ("X-Matrixorigin=kit.example,key=ed25519:1,sig=A", "scheme"),
        ("X-Matrix\torigin=kit.example,key=ed25519:1,sig=A", "scheme"),
        ("X-Matrix ", "origin is missing"),
        ("X-Matrix key=ed25519:1,sig=A", "origin is missing"),
        ("X-Matrix origin=kit.example,sig=A", "key is missing"),
        ("X-Matrix origin=kit.example,key=ed25519:1", "sig is missing"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=A,ORIGIN=kit.example", "twice"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=A,x=1,x=1", "twice"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=A,signature=A", "both"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=", "not a parameter"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig", "not a parameter"),
        ("X-Matrix origin=kit.example key=ed25519:1,sig=A", "not a parameter"),
        ('X-Matrix origin="kit.example"key=ed25519:1,sig=A', "not a parameter"),
        ('X-Matrix origin="kit.example,key=ed25519:1,sig=A', "not a parameter"),
        ('X-Matrix origin=kit.example,key=ed25519:1,sig="A\\"', "not a parameter"),
        ('X-Matrix origin=kit.example,key=ed25519:1,sig="A\n"', "not a parameter"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=A\n", "not a parameter"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=A/B", "not a parameter"),
        ('X-Matrix origin="kit example",key=ed25519:1,sig=A', "server name"),
        ('X-Matrix origin="",key=ed25519:1,sig=A', "server name"),
        ("X-Matrix origin=kit.example,destination=a_b,key=ed25519:1,sig=A", "server name"),
        ("X-Matrix origin=kit.example,key=1,sig=A", "key ID"),
        ("X-Matrix origin=kit.example,key=ed25519:1,sig=" + "A" * 4096, "longer"),
    ],
)
def test_parse_refuses(text: str, complaint: str) -> None:
    with pytest.raises(XMatrixError, match=complaint):
        x_matrix.parse(text)


_PIECES = st.sampled_from(
    [*'",=\\: \t\n\0/é\udc80', "X-Matrix ", "origin", "destination", "key", "sig", "ed25519:1"]
)


@given(st.one_of(st.text(), st.lists(_PIECES).map(lambda parts: "X-Matrix " + "".join(parts))))
@example("X-Matrix " + '\\"' * 2000)
@example("X-Matrix " + ", \t" * 1300)
def test_parse_raises_nothing_else(text: str) -> None:
    try:
        request = x_matrix.parse(text)
    except XMatrixError:
        return
    assert isinstance(request, XMatrix)


_VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60
)


@given(_VALUES)
def test_parse_unescapes_what_was_quoted(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    text = f'X-Matrix origin=kit.example,sig="{quoted}",key=ed25519:1'
    assert x_matrix.parse(text).signature == value


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({}, None),
        ({"destinations": {HERE, "alias.example"}}, None),
        ({"destinations": {"hearth.example"}}, "x_matrix.destination"),
        ({"destinations": set()}, "x_matrix.destination"),
        ({"method": "POST"}, "x_matrix.signature"),
        ({"uri": "/_matrix/federation/v1/send/1"}, "x_matrix.signature"),
        ({"uri": "/_matrix/federation/v1/send/1?a=b c"}, "x_matrix.signature"),
        ({"content": {}}, "x_matrix.signature"),
        ({"content": None}, "x_matrix.signature"),
        ({"content": {"number": float("nan")}}, "x_matrix.content"),
        ({"keys": {}}, "x_matrix.key"),
        ({"keys": {"ed25519:2": KEY.verify_key}}, "x_matrix.key"),
        ({"keys": {KEY_ID: OTHER_KEY.verify_key}}, "x_matrix.signature"),
    ],
)
def test_verify(changed: dict[str, Any], rule: str | None) -> None:
    found = verify(x_matrix.parse(header()), **changed)
    assert getattr(found, "rule", None) == rule


def test_verify_binds_the_origin() -> None:
    """Another server's name on kit's signature does not pass, even by the same key."""
    forged = replace(x_matrix.parse(header()), origin=ServerName("ann.example"))
    assert getattr(verify(forged), "rule", None) == "x_matrix.signature"


def test_verify_binds_the_destination() -> None:
    """Signed for one of our names, sent to another."""
    forged = replace(x_matrix.parse(header(destination="alias.example")), destination=HERE)
    found = verify(forged, destinations={HERE, "alias.example"})
    assert getattr(found, "rule", None) == "x_matrix.signature"


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64!", "A" * 86, "é"])
def test_verify_refuses_broken_signatures(signature: str) -> None:
    broken = replace(x_matrix.parse(header()), signature=signature)
    assert getattr(verify(broken), "rule", None) == "x_matrix.signature"


@pytest.mark.parametrize(
    ("signed_for", "ours", "meant"),
    [
        (HERE, {HERE}, HERE),
        (HERE, {HERE, "alias.example"}, HERE),
        ("alias.example", {HERE, "alias.example"}, "alias.example"),
        ("third.example", {HERE, "alias.example"}, None),
    ],
)
def test_verify_without_destination(signed_for: str, ours: set[str], meant: str | None) -> None:
    """The signature covers the destination though the header lacks it: no replay elsewhere."""
    request = replace(x_matrix.parse(header(destination=signed_for)), destination=None)
    assert getattr(verify(request, destinations=ours), "destination", None) == meant


def test_verify_with_bytes_as_received() -> None:
    """A body of other spelling but equal value has the same signature."""
    raw = b'{ "edus":[], "pdus" : [{"content":{"body":"\\u00f6\xe2\x80\xa8"},"depth":1}]}'
    content = canonical_json.decode(raw, strict=False)
    assert isinstance(verify(x_matrix.parse(header()), content=content), Authenticated)
