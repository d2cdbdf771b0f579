import json
import math
from typing import Any

import canonicaljson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federation.canonical_json import (
    MAX_INTEGER,
    MAX_NESTING,
    check_strict,
    decode,
    decode_object,
    encode,
    without,
)
from federation.errors import CanonicalJSONError

BOTH = pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])

AUTH = """
{
    "auth": {
        "success": true,
        "mxid": "@john.doe:example.com",
        "profile": {
            "display_name": "John Doe",
            "three_pids": [
                {
                    "medium": "email",
                    "address": "john.doe@example.org"
                },
                {
                    "medium": "msisdn",
                    "address": "123456789"
                }
            ]
        }
    }
}
"""
AUTH_CANONICAL = (
    '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
    '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":'
    '"msisdn"}]},"success":true}}'
)


@BOTH
@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("{}", "{}"),
        ('{\n    "one": 1,\n    "two": "Two"\n}', '{"one":1,"two":"Two"}'),
        ('{\n    "b": "2",\n    "a": "1"\n}', '{"a":"1","b":"2"}'),
        ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
        (AUTH, AUTH_CANONICAL),
        ('{"a": "日本語"}', '{"a":"日本語"}'),
        ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
        ('{"a": "\\u65E5"}', '{"a":"日"}'),
        ('{"a": null}', '{"a":null}'),
        ('{"a": -0}', '{"a":0}'),
        # Not from the specification: what must be escaped, and how; order by code point.
        ('"\\u0000\\u001f\\u007f\\b\\t\\n\\f\\r"', '"\\u0000\\u001f\x7f\\b\\t\\n\\f\\r"'),
        ('"\\"\\\\\\/\\u2028"', '"\\"\\\\/\u2028"'),
        ('{"\\ud83d\\ude00": 1, "\\uffff": 2}', '{"\uffff":2,"\U0001f600":1}'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        (" [ 1 , true , false ] ", "[1,true,false]"),
    ],
)
def test_examples(given_text: str, expected: str, strict: bool) -> None:
    assert encode(decode(given_text.encode(), strict=strict), strict=strict) == expected.encode()


def test_the_example_with_an_exponent() -> None:
    """`{"a": -0, "b": 1e10}` shall become `{"a":0,"b":10000000000}`.

    So for an encoder that is handed ten billion. What is *received* is another matter: canonical
    JSON has numbers "represented without exponents", and since room version 6 servers refuse
    events that are not canonical, so strict decoding refuses it. Lenient decoding keeps it as the
    float that it is, because rooms of the old versions were hashed that way.
    """
    assert encode({"a": -0, "b": 10**10}) == b'{"a":0,"b":10000000000}'
    with pytest.raises(CanonicalJSONError):
        decode(b'{"a": -0, "b": 1e10}')
    lenient = decode(b'{"a": -0, "b": 1e10}', strict=False)
    assert encode(lenient, strict=False) == b'{"a":0,"b":10000000000.0}'


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"[1,]",
    b'{"a":1,}',
    b"{'a':1}",
    b"{1:2}",
    b"{null:2}",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"-",
    b"0x10",
    b"1 2",
    b"{}{}",
    b"nul",
    b"True",
    b"None",
    b"undefined",
    b"NaN",
    b"[NaN]",
    b"Infinity",
    b"-Infinity",
    b"1e400",
    b'{"a":[-1e400]}',
    b'"a',
    b'"\\x41"',
    b'"\\u12"',
    b'"\n"',
    b'"\x00"',
    b"\x00",
    b"\xef\xbb\xbf{}",  # a byte order mark
    b"\xff\xfe{\x00}\x00",  # UTF-16
    b'"\xff"',
    b'"\xc0\x80"',  # NUL, overlong
    b'"\xed\xa0\x80"',  # a surrogate in UTF-8
    b'"\xf4\x90\x80\x80"',  # beyond Unicode
    b'"\xe6\x97"',  # cut short
    b'"\\ud800"',
    b'"\\ude00\\ud83d"',
    b'{"\\udfff":1}',
    b'[{"a":["\\uD83D"]}]',
    b"1" * 5000,
]


@BOTH
@pytest.mark.parametrize("raw", NOT_JSON)
def test_not_json(raw: bytes, strict: bool) -> None:
    with pytest.raises(CanonicalJSONError):
        decode(raw, strict=strict)


@pytest.mark.parametrize(
    "raw",
    [
        b"1.0",
        b"-0.0",
        b"1e3",
        b"1E-3",
        b'{"a":[{"b":0.5}]}',
        b"9007199254740992",  # 2**53
        b"-9007199254740992",
        b"9223372036854775808",  # beyond 64 bits with a sign
        b"18446744073709551616",  # beyond 64 bits without
        b"-9223372036854775809",
        b"1" * 400,
        b'{"a":[{"b":-9007199254740992}]}',
    ],
)
def test_numbers_that_only_old_rooms_may_hold(raw: bytes) -> None:
    with pytest.raises(CanonicalJSONError):
        decode(raw)
    kept = decode(raw, strict=False)
    assert kept == json.loads(raw)
    assert encode(kept, strict=False) == canonicaljson.encode_canonical_json(kept)


def test_integers_up_to_the_limits() -> None:
    raw = b"[9007199254740991,-9007199254740991,0]"
    assert decode(raw) == [MAX_INTEGER, -MAX_INTEGER, 0]
    assert encode(decode(raw)) == raw


@pytest.mark.parametrize("value", [0.5, 1.0, [1e10], {"a": [{"b": math.nan}]}, [2**53], -(2**53)])
def test_check_strict(value: object) -> None:
    check_strict([True, None, "0.5", {"0.5": MAX_INTEGER}])
    with pytest.raises(CanonicalJSONError):
        check_strict(value)


@BOTH
@pytest.mark.parametrize(
    "value", ["\ud800", {"\udfff": 1}, [{"a": "x\ud83d"}], {1, 2}, b"bytes", [object()], 1j]
)
def test_values_without_canonical_form(value: object, strict: bool) -> None:
    with pytest.raises(CanonicalJSONError):
        encode(value, strict=strict)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, 2**53, -(2**53), 2**64])
def test_values_without_strict_form(value: object) -> None:
    with pytest.raises(CanonicalJSONError):
        encode(value)


@pytest.mark.parametrize(
    "value", [math.nan, [math.inf], {"a": -math.inf}, [10**5000], {1: 2, "1": 3}]
)
def test_values_without_lenient_form(value: object) -> None:
    with pytest.raises(CanonicalJSONError):
        encode(value, strict=False)


def test_decode_object() -> None:
    assert decode_object(b'{"a":[]}') == {"a": []}
    for raw in (b"[]", b'"{}"', b"1", b"null", b"true"):
        with pytest.raises(CanonicalJSONError):
            decode_object(raw)


def test_without() -> None:
    fields = {"a": 1, "b": 2, "c": 3}
    assert without(fields, "a", "c", "x") == {"b": 2}
    assert fields == {"a": 1, "b": 2, "c": 3}


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    times = depth // (opening.count(b"[") + opening.count(b"{"))
    return opening * times + b"1" + closing * times


def reencoded(raw: bytes, strict: bool) -> bytes:
    return encode(decode(raw, strict=strict), strict=strict)


NESTINGS = pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]
)


@BOTH
@NESTINGS
@pytest.mark.parametrize("depth", [200, 254, 255, 256])
def test_nesting(opening: bytes, closing: bytes, depth: int, strict: bool) -> None:
    """Deeper than orjson writes, which is 254 levels."""
    raw = nested(opening, closing, depth)
    assert reencoded(raw, strict) == raw


@BOTH
@NESTINGS
@pytest.mark.parametrize("depth", [514, 5000, 100_000])
def test_too_deep_nesting(opening: bytes, closing: bytes, depth: int, strict: bool) -> None:
    with pytest.raises(CanonicalJSONError):
        reencoded(nested(opening, closing, depth), strict)


@BOTH
def test_the_limit_of_nesting(strict: bool) -> None:
    raw = nested(b"[", b"]", MAX_NESTING)
    assert reencoded(raw, strict) == raw
    with pytest.raises(CanonicalJSONError):
        reencoded(nested(b"[", b"]", MAX_NESTING + 1), strict)


def test_values_nested_without_end() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for strict in (True, False):
        with pytest.raises(CanonicalJSONError):
            encode(loop, strict=strict)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(st.none(), st.booleans(), numbers, TEXT)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(TEXT, inner)),
        max_leaves=20,
    )


STRICT = values(st.integers(-MAX_INTEGER, MAX_INTEGER))
LENIENT = values(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
NUMBERS = st.one_of(st.integers(), st.floats())


@given(STRICT)
@example({"\U0001f600": 1, "\uffff": 2, "\ue000": 3, "": {"é": "\u2028\x7f\x00"}})
def test_strict_is_canonical(value: Any) -> None:
    written = encode(value)
    assert written == canonicaljson.encode_canonical_json(value)
    assert written == encode(value, strict=False)
    assert decode(written) == value
    check_strict(value)


@given(LENIENT)
@example([1e16, 1e-7, 1.5e300, -0.0, 5e-324, 2**64, -(2**63) - 1, 10**400])
def test_lenient_is_canonicaljson(value: Any) -> None:
    written = encode(value, strict=False)
    assert written == canonicaljson.encode_canonical_json(value)
    assert decode(written, strict=False) == value


def survives(raw: bytes, strict: bool) -> None:
    """What is read can be written, and reads the same again; or it is refused in one way."""
    try:
        value = decode(raw, strict=strict)
    except CanonicalJSONError:
        return
    written = encode(value, strict=strict)
    assert written == canonicaljson.encode_canonical_json(value)
    assert encode(decode(written, strict=strict), strict=strict) == written
    # The standard library, which is told nothing of our limits, reads the same.
    assert json.loads(raw) == value


TOKENS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '"a"',
        '"a":',
        "[]",
        "{}",
        " ",
        "\t",
        "\n",
        "\0",
        "\ufeff",
    ),
    *("true", "false", "null", "NaN", "Infinity", "-", "0", "-0", "1", "1.5", "1e10", "1e400", "e"),
    *("E+", ".", "9007199254740991", "9007199254740992", "18446744073709551616", "1" * 400),
    *("\\", "\\u", "\\u0000", "\\ud83d", "\\ude00", "\\n", "\\/", "é", "日", "\U0001f600", "/**/"),
]
JSON_ISH = st.lists(st.sampled_from(TOKENS), max_size=20).map("".join)


@BOTH
@given(st.binary())
def test_any_bytes(strict: bool, raw: bytes) -> None:
    survives(raw, strict)


@BOTH
@given(JSON_ISH)
def test_almost_json(strict: bool, text: str) -> None:
    survives(text.encode(), strict)


@BOTH
@given(JSON_ISH, JSON_ISH)
def test_almost_json_in_an_object(strict: bool, key: str, text: str) -> None:
    survives(f'{{"{key}":[{text}]}}'.encode(), strict)
    survives(f'{{"a":"{text}"}}'.encode(), strict)


@BOTH
@given(LENIENT, st.data())
def test_damaged_json(strict: bool, value: Any, data: st.DataObject) -> None:
    """A document with some of its bytes replaced or gone."""
    raw = bytearray(json.dumps(value).encode())
    start = data.draw(st.integers(0, len(raw)))
    raw[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    survives(bytes(raw), strict)


@BOTH
@given(st.recursive(st.one_of(NUMBERS, st.text(), st.binary()), st.lists, max_leaves=10))
def test_any_value_is_written_or_refused(strict: bool, value: Any) -> None:
    try:
        written = encode(value, strict=strict)
    except CanonicalJSONError:
        return
    if not strict:
        assert written == canonicaljson.encode_canonical_json(value)
