import json
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federation.errors import ResponseFormatError, ResponseTooLargeError
from federation.net.lists import Cutter

NAMES = ("state", "auth_chain")


def pieces_of(document: bytes, sizes: Iterable[int]) -> list[bytes]:
    """The document in pieces of these sizes, and the rest in one."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(document[at : at + size])
        at += size
    return [*pieces, document[at:]]


def cut(document: bytes, size: int = 0, **more: Any) -> tuple[dict[str, list[bytes]], bytes]:
    """What is cut out of a document that comes in pieces of a size, and what is left."""
    sizes = [size] * (len(document) // size) if size else []
    return cut_pieces(pieces_of(document, sizes), **more)


def cut_pieces(pieces: Iterable[bytes], **more: Any) -> tuple[dict[str, list[bytes]], bytes]:
    cutter = Cutter(NAMES, **more)
    found: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for piece in pieces:
        for name, values in cutter.feed(piece).items():
            found[name] += values
    return found, cutter.close()


_TEXTS = st.text(max_size=8) | st.sampled_from(["state", '"', "\\", '],"state":[', "{[", "}", ","])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=20,
)
_ANSWERS = st.fixed_dictionaries(
    {"state": st.lists(_VALUES, max_size=5), "auth_chain": st.lists(_VALUES, max_size=5)},
    optional={"event": _VALUES, "members_omitted": st.booleans(), "x": _VALUES},
)


@given(
    answer=_ANSWERS,
    order=st.permutations(["state", "auth_chain", "event", "members_omitted", "x"]),
    sizes=st.lists(st.integers(0, 20), max_size=40),
    spaced=st.booleans(),
    ascii_only=st.booleans(),
    depth=st.sampled_from([1, 2]),
)
@example(answer={"state": [{"a": "\\"}], "auth_chain": ['"']}, order=list(NAMES), sizes=[1] * 40,
         spaced=True, ascii_only=True, depth=1)  # fmt: skip
def test_whatever_the_pieces_it_is_as_if_read_whole(
    answer: dict[str, Any],
    order: list[str],
    sizes: list[int],
    spaced: bool,
    ascii_only: bool,
    depth: int,
) -> None:
    fields = {name: answer[name] for name in order if name in answer}
    document = json.dumps(
        fields if depth == 1 else [200, fields],
        indent=1 if spaced else None,
        separators=None if spaced else (",", ":"),
        ensure_ascii=ascii_only,
    ).encode(errors="surrogatepass")
    found, left = cut_pieces(pieces_of(document, sizes), depth=depth)
    assert {name: list(map(json.loads, values)) for name, values in found.items()} == {
        name: fields[name] for name in NAMES
    }
    emptied = {name: [] if name in NAMES else value for name, value in fields.items()}
    assert json.loads(left) == (emptied if depth == 1 else [200, emptied])


@given(st.binary(max_size=60) | st.text('[]{}",:\\ ase1', max_size=60).map(str.encode), st.data())
def test_no_document_is_cut_otherwise_in_pieces(document: bytes, data: st.DataObject) -> None:
    """Be it one or not."""
    document = b'{"state":[' + document
    sizes = data.draw(st.lists(st.integers(1, 9), max_size=60))
    outcomes: list[Any] = []
    for pieces in ([document], pieces_of(document, sizes)):
        try:
            outcomes.append(cut_pieces(pieces))
        except ResponseFormatError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def test_values_come_as_soon_as_they_are_whole() -> None:
    cutter = Cutter(NAMES)
    assert cutter.feed(b'{"state":[{"a":1},{"b"') == {"state": [b'{"a":1}']}
    assert cutter.feed(b":2") == {"state": []}
    assert cutter.feed(b'}, 5 ],"auth_chain":[[') == {"state": [b'{"b":2}', b"5"], "auth_chain": []}
    assert cutter.feed(b"]") == {"auth_chain": []}
    assert cutter.feed(b"]}") == {"auth_chain": [b"[]"]}
    assert cutter.close() == b'{"state":[],"auth_chain":[]}'


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(
    "document",
    [
        b'{"state":[{"a":1}],"auth_chain":[],"state":[]}',
        b'{"state":[],"st\\u0061te":[{}]}',
        b'{"state":[{"a":1}',
        b'{"state":[{"a":"',
        b'{"state":[',
        b'{"state":[1,,2]}',
        b'{"state":[1,]}',
        b'{"state":[,1]}',
        b'{"state":[1}}',
    ],
)
def test_lists_that_are_none(document: bytes, size: int) -> None:
    """They are there twice, are cut off, or lack values."""
    with pytest.raises(ResponseFormatError):
        cut(document, size)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[",
        b'{"state":[{"a":1}]',
        b'{"state":[{"a":1}]]',
        b'{"state":[],"state":5}',
        b'{"state":{"a":[1,2]}}',
        b'["state",["a"]]',
        b'{"x":{"state":[{}]}}',
        b'{"state":[1]}{}',
        b'{"state":[1],}',
        b'{"state" [1]}',
        b'\xef\xbb\xbf{"state":[1]}',
        '{"state":[1]}'.encode("utf-16"),
    ],
)
def test_what_is_left_tells_what_is_wrong(document: bytes) -> None:
    """As it does of a document that is read whole."""

    class Left(msgspec.Struct):
        state: list[Any]

    _, left = cut(document, 3)
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(left, type=Left)


def test_one_bad_value_spoils_no_other() -> None:
    bad = [b'{"a":}', b'{"a":"\xff"}', b'{"a":1]', b"nonsense", b'{"a":NaN}', b'"\\ud800"']
    bad.append(b"{} {}")
    good = b'{"a":1}'
    document = b'{"state":[' + b",".join(one + b"," + good for one in bad) + b"]}"
    found, left = cut(document, 5)
    assert found["state"] == [value for one in bad for value in (one, good)]
    assert left == b'{"state":[]}'
    for one in bad:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(one)


def test_what_is_too_long_is_left_out() -> None:
    long = b'{"a":"' + b"x" * 200 + b'"}'
    document = b'{"state":[1,%b,2,%b]}' % (long, long)
    for size in (0, 1, 50, 150, 250):
        assert cut(document, size, longest=100)[0]["state"] == [b"1", b"2"]


def test_too_much() -> None:
    with pytest.raises(ResponseTooLargeError):
        cut(b'{"state":[1,2],"auth_chain":[3]}', 4, most=2)
    with pytest.raises(ResponseTooLargeError):
        cut(b'{"state":[1,2],"x":"' + b"y" * 100 + b'"}', 4, most_beside=100)


def test_nothing_is_held_of_what_is_too_long() -> None:
    cutter = Cutter(NAMES)
    cutter.feed(b'{"state":["')
    for _ in range(200):
        cutter.feed(b"x" * 65_536)
        assert cutter._values is not None
        assert len(cutter._values._buffer) < 2**21


ENDLESS = [b"[", b"{", b"[]", b"{},", b'"', b'"\\', b"[[[[[]]]]]", b'{"a":[', b'[["a",[["b",']


@pytest.mark.parametrize("piece", ENDLESS)
def test_no_answer_takes_long(piece: bytes) -> None:
    """A few megabytes of whatever; in pieces of a few bytes each, as much as a peer can send."""
    document = b'{"state":[' + piece * (2**20 // len(piece))
    for size in (65_536, 16):
        began = time.process_time()
        with suppress(ResponseFormatError, ResponseTooLargeError):
            cut(document, size)
        assert time.process_time() - began < 10
