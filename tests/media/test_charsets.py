"""How pages are written."""

import codecs

import pytest

from homeserver.media.charsets import _CODECS, decode

TEXT = "Grüße, мир, 世界"


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (TEXT.encode(), "text/html", TEXT),
        (TEXT.encode(), "text/html; charset=UTF-8", TEXT),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "text/html; charset=koi8-r", TEXT),
        ("мир".encode("koi8-r"), 'text/html; charset="KOI8-R"', "мир"),
        ("世界".encode("shift-jis"), "text/html;charset=Shift_JIS", "世界"),
        ("世界".encode("gb18030"), "text/html;charset=GB2312", "世界"),
        ("Grüße".encode("latin-1"), "text/html", "Grüße"),
        ("“x”".encode("cp1252"), "text/html; charset=iso-8859-1", "“x”"),
        (b"<meta charset='windows-1251'>" + "мир".encode("cp1251"), "text/html", None),
        (
            b'<meta http-equiv=Content-Type content="text/html; charset=koi8-r">'
            + "мир".encode("koi8-r"),
            "",
            None,
        ),
        (b'<?xml version="1.0" encoding="koi8-r"?>' + "мир".encode("koi8-r"), "", None),
        (b"<meta charset=utf-16>" + "мир".encode(), "", None),
        (TEXT.encode()[:-1], "text/html", TEXT[:-1]),
        ("мир".encode(), "text/html; charset=ascii", "мир".encode().decode("cp1252")),
        (b"abc", "text/html; charset=zlib", "abc"),
        (b"abc", "text/html; charset=no-such", "abc"),
        (b"abc", "text/html; charset=unicode_escape", "abc"),
        (b"\xff\x00\xfe", "text/html; charset=utf-8", "\ufffd\0\ufffd"),
    ],
)
def test_decoding(data: bytes, content_type: str, text: str | None) -> None:
    found = decode(data, content_type)
    assert found == text if text is not None else found.endswith("мир")


def test_names_of_encodings_are_those_that_python_knows() -> None:
    assert all(codecs.lookup(codec) for codec in set(_CODECS.values()))
