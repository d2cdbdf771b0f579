import pytest

from homeserver.media.headers import clean_name, clean_type, disposition, for_file, name_in


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("image/png", "image/png"),
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("image/png\r\nX-Evil: 1", "application/octet-stream"),
        ("no type", "application/octet-stream"),
        ("image/" + "x" * 300, "application/octet-stream"),
    ],
)
def test_content_types(given: str | None, kept: str) -> None:
    assert clean_type(given) == kept


@pytest.mark.parametrize(
    ("kind", "name", "header"),
    [
        ("image/png", None, "inline"),
        ("image/png", "cat.png", "inline; filename=cat.png"),
        ("IMAGE/PNG; q=1", None, "inline"),
        ("text/html", "page.html", "attachment; filename=page.html"),
        ("image/svg+xml", None, "attachment"),
        ("text/plain", 'a "b".txt', "inline; filename*=utf-8''a%20%22b%22.txt"),
        ("text/plain", "\N{SNOWMAN}\r\n", "inline; filename*=utf-8''%E2%98%83%0D%0A"),
    ],
)
def test_dispositions(kind: str, name: str | None, header: str) -> None:
    assert disposition(kind, name) == header
    assert name is None or name_in(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [('attachment; filename="a b.txt"', "a b.txt"), ("inline", None), ("", None)],
)
def test_names_of_others(header: str, name: str | None) -> None:
    assert name_in(header) == name


def test_names_are_storable() -> None:
    assert clean_name("a\0\ud800") == "a\N{REPLACEMENT CHARACTER}?"
    assert clean_name("x" * 300) == "x" * 255
    assert clean_name("") is None


def test_nothing_in_a_file_can_act() -> None:
    headers = for_file("text/html", "x")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
