"""What pages say of themselves."""

import pytest

from homeserver.media.open_graph import Description, describe


@pytest.mark.parametrize(
    ("page", "properties", "image"),
    [
        (
            '<head><meta property="og:title" content="A &amp; B"><meta property="og:type" '
            'content="article"><meta property="og:description" content="Says">'
            '<meta property="og:image" content="/a.png"><meta property="og:image:width" '
            'content="9"><title>Other</title>',
            {"og:title": "A & B", "og:type": "article", "og:description": "Says"},
            "/a.png",
        ),
        (
            '<meta name="og:title" content="First"><meta property="og:title" content="Second">',
            {"og:title": "First"},
            None,
        ),
        (
            '<meta name="twitter:title" content="T"><meta name="twitter:description" content="D">'
            '<meta name="twitter:image" content="i"><meta name="twitter:site" content="@x">'
            '<meta name="description" content="E">',
            {"og:title": "T", "og:description": "D"},
            "i",
        ),
        (
            '<meta name="twitter:title" content="T"><meta property="og:title" content="O">',
            {"og:title": "O"},
            None,
        ),
        (
            "<title> A\n page </title><body><nav>Menu</nav><p>Some <b>text</b>.</p>"
            "<script>var x</script><style>p</style><p>More.</p><footer>Imprint</footer>",
            {"og:title": "A page", "og:description": "Some text . More."},
            None,
        ),
        ("<body><h2>Two</h2><h1>One</h1>", {"og:title": "One"}, None),
        ('<meta name="description" content="D"><body>x', {"og:description": "D"}, None),
        ('<img src="a"><img src="b" width=100 height=50><img src=c width=20 height=20>', {}, "b"),
        ('<img src="data:x"><img src="t.gif" width=1 height=1><img src="a">', {}, "t.gif"),
        ('<link rel="shortcut icon" href="/f.ico">', {}, "/f.ico"),
        ('<meta itemprop="image" content="m"><img src=a width=99 height=99>', {}, "m"),
        ('<meta property="og:title" content=""><meta property="og:" content="x">', {}, None),
        ('<meta property="matrix:image:size" content="5">', {}, None),
        ("", {}, None),
    ],
)
def test_descriptions(page: str, properties: dict[str, str], image: str | None) -> None:
    assert describe(page) == Description(properties, image)


def test_a_long_text_is_cut_between_words() -> None:
    found = describe("<body>" + "word " * 1000).properties["og:description"]
    assert found.endswith("word…")
    assert len(found) <= 301


def test_what_is_too_much_is_left_out() -> None:
    many = "".join(f'<meta property="og:a{n}" content="{"x" * 5000}">' for n in range(1000))
    found = describe(many + '<meta property="og:image" content="i">')
    assert len(found.properties) == 40
    assert max(map(len, found.properties.values())) == 1000
    assert found.image == "i"


def test_characters_that_no_json_can_hold() -> None:
    page = '<meta property="og:title" content="a&#0;b&#xD800;c\0">'
    assert describe(page).properties == {"og:title": "a\ufffdb\ufffdc\ufffd"}


def test_nesting_without_end() -> None:
    assert describe("<body>" + "<div>" * 10**6 + "deep").properties == {}
