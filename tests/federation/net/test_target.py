from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.net.target import encode_target, is_target


@pytest.mark.parametrize(
    ("segments", "query", "expected"),
    [
        (("_matrix", "key", "v2", "server"), [], "/_matrix/key/v2/server"),
        (("event", "$a/b+c=?#%"), [], "/event/%24a%2Fb%2Bc%3D%3F%23%25"),
        (("state", "!r:x"), [("a", "$ b"), ("é", "+&")], "/state/%21r%3Ax?a=%24%20b&%C3%A9=%2B%26"),
        (("make_join",), [("ver", "1"), ("ver", "2")], "/make_join?ver=1&ver=2"),
        (("server", ""), [], "/server/"),
    ],
)  # fmt: skip
def test_encode(segments: tuple[str, ...], query: list[tuple[str, str]], expected: str) -> None:
    assert encode_target(*segments, query=query) == expected


_TEXT = st.text(st.characters(codec="utf-8"))


@given(st.lists(_TEXT, min_size=1), st.lists(st.tuples(_TEXT, _TEXT)))
def test_what_is_encoded_can_be_sent_and_read(
    segments: list[str], query: list[tuple[str, str]]
) -> None:
    target = encode_target(*segments, query=query)
    path, _, found = target.partition("?")
    assert is_target(target)
    assert [unquote(part) for part in path[1:].split("/")] == segments
    assert parse_qsl(found, keep_blank_values=True) == query


@pytest.mark.parametrize(
    "text", ["", "no/slash", "/a b", "/a\r\nHost: x", "/é", "/a#b", "/a\0", "/a\n", 'x"']
)
def test_what_cannot_be_sent(text: str) -> None:
    assert not is_target(text)
