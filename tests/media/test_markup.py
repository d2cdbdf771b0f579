"""HTML as tags and texts."""

import time

import pytest

from homeserver.media.markup import Tag, tokens

MANY = 10_000


def read(text: str) -> list[Tag | str]:
    return list(tokens(text, MANY))


def begin(name: str, **attributes: str) -> Tag:
    return Tag(name, False, attributes)


def end(name: str) -> Tag:
    return Tag(name, True, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a<b>c</b>d", ["a", begin("b"), "c", end("b"), "d"]),
        ("<A HREF=x Y = 'a>b' z=\"c'd\" w>", [begin("a", href="x", y="a>b", z="c'd", w="")]),
        ("<br/><br />", [begin("br"), begin("br")]),
        ("<p a=1 a=2>", [begin("p", a="1")]),
        ("<p a=&quot;&amp;&#x41;>&lt;&eacute;", [begin("p", a='"&A'), "<é"]),
        ("<!doctype html><!-- <b> --><?php ?>x", ["x"]),
        ("1 < 2 <3", ["1 ", "<", " 2 ", "<", "3"]),
        ("<script>'<b>'</scripty></SCRIPT ><b>", [
            begin("script"), "'<b>'</scripty>", end("script"), begin("b"),
        ]),
        ("<title>a <b> &amp; c</title>", [begin("title"), "a <b> & c", end("title")]),
        ("a<!-- never ends", ["a"]),
        ("a<b c='", ["a"]),
        ("a<b c", ["a"]),
        ("<script>x", [begin("script"), "x"]),
        ("", []),
    ],
)  # fmt: skip
def test_reading(text: str, found: list[Tag | str]) -> None:
    assert read(text) == found


def test_no_more_than_wanted() -> None:
    assert len(list(tokens("<a>" * 100, 10))) == 10


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<a x='x=\"", "<!--", "<a\t", "</", "&#9", "<a b", "=<", "<title>", "<!", "<a/"],
)
def test_time_grows_no_faster_than_what_is_read(piece: str) -> None:
    """What others' parsers take minutes for."""
    text = piece * (2_000_000 // len(piece))
    began = time.process_time()
    assert sum(1 for _ in tokens(text, 50_000)) <= 100_000
    assert time.process_time() - began < 5


def test_numbers_of_any_length() -> None:
    assert read(f'<a b="&#{"9" * 10_000};">') != []
