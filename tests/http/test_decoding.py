"""The corners of decoding that `test_wire` does not reach."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotJson
from homeserver.http.decoding import QueryShape, Shape, decode_json, decode_query
from homeserver.http.replies import encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Inner(msgspec.Struct):
    one: int


class Outer(msgspec.Struct):
    inner: Inner | None = None
    several: list[Inner] = []
    name: str = msgspec.field(name="m.name", default="")

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("not this name")


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (b'{"inner":{}}', MissingParam, "missing: `one` - at `$.inner`"),
        (b'{"several":[{"one":1},{}]}', MissingParam, "missing: `one` - at `$.several[1]`"),
        (b'{"inner":{"one":"1"}}', BadJson, "Expected `int`, got `str` - at `$.inner.one`"),
        (b'{"m.name":1}', BadJson, "Expected `str`, got `int` - at `$.m.name`"),
        (b'{"m.name":"bad"}', InvalidParam, "not this name"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, error: type[MatrixError], text: str) -> None:
    with pytest.raises(error) as caught:
        Shape(Outer).decode(raw)
    assert caught.value.message == text


def test_maps_of_maps() -> None:
    shape = Shape(dict[str, dict[str, list[str]]])
    assert shape.decode(b'{"@a:b":{"D":[]}}') == {"@a:b": {"D": []}}
    for raw in (b'{"@a:b":[]}', b'{"@a:b":{"D":{}}}'):
        with pytest.raises(BadJson):
            shape.decode(raw)


def test_an_empty_body_is_not_an_empty_map() -> None:
    with pytest.raises(NotJson):
        Shape(dict[str, Any]).decode(b"")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(NotJson, BadJson, MissingParam, InvalidParam):
        Shape(Outer).decode(raw)


@given(st.text(max_size=60))
def test_any_query_is_read_or_refused(text: str) -> None:
    with suppress(MissingParam, InvalidParam):
        QueryShape(Outer).decode(decode_query(text))


def test_a_query_that_is_not_unicode() -> None:
    for query in ("a=\udcff", "a=%ff", "%ff"):
        with pytest.raises(InvalidParam):
            decode_query(query)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    assert decode_json(encode(value)) == value


def test_what_orjson_does_not_write() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert decode_json(encode({"deep": deep})) == {"deep": deep}
    assert encode({"é": 2**64}) == '{"é":18446744073709551616}'.encode()
