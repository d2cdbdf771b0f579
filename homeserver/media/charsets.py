"""In which characters a web page is written.

Names of encodings come from strangers, so they are looked up here and never by Python, which keeps
each that it is asked for, and knows some that are no encodings of text, or slow.

https://encoding.spec.whatwg.org/#names-and-labels
"""

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LABELS = {
    "utf-8": "utf8",
    "utf-16-le": "utf-16 utf-16le",
    "utf-16-be": "utf-16be",
    "cp1252": "windows-1252 x-cp1252 iso-8859-1 iso8859-1 latin1 latin-1 l1 ascii us-ascii",
    "cp874": "windows-874 tis-620 iso-8859-11",
    "cp932": "shift-jis shift_jis sjis x-sjis ms_kanji windows-31j",
    "cp949": "euc-kr euckr ks_c_5601-1987 ksc5601 korean windows-949",
    "big5hkscs": "big5 big5-hkscs",
    "euc_jp": "euc-jp x-euc-jp",
    "gb18030": "gbk gb2312 x-gbk chinese",
    "iso2022_jp": "iso-2022-jp",
    "koi8-r": "koi8 koi",
    "koi8-u": "koi8-ru",
    "cp866": "ibm866",
    "mac_roman": "macintosh x-mac-roman",
    **{
        f"cp{number}": f"windows-{number} x-cp{number}"
        for number in (*range(1250, 1252), *range(1253, 1259))
    },
    **{f"iso8859-{part}": f"iso-8859-{part}" for part in (*range(2, 9), 10, 13, 14, 15, 16)},
    "cp1254": "windows-1254 iso-8859-9 latin5",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in (codec, *labels.split())}
_LOOKED_AT = 4096
"""Bytes at the beginning of a page in which it may say how it is written."""
_SAYS = re.compile(
    rb"""<(?:meta[^>]{0,200}?\scharset|meta[^>]{0,200}?;\s{0,9}charset|\?xml[^>]{0,200}?encoding)"""
    rb"""\s{0,9}=\s{0,9}["']?\s{0,9}([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_IN_TYPE = re.compile(r"""charset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})""", re.IGNORECASE)


def decode(data: bytes, content_type: str) -> str:
    """The text of a page, which may be cut off; what cannot be read is replaced.

    Args:
        data: its first bytes at least.
        content_type: as its server calls it.

    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return _read(data[len(bom) :], codec)
    codec = _named(content_type) or _told(data[:_LOOKED_AT]) or ""
    if codec:
        return _read(data, codec)
    try:
        # The last character may be cut off.
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return _read(data, "cp1252")


def _read(data: bytes, codec: str) -> str:
    return data.decode(codec, errors="replace")


def _named(content_type: str) -> str | None:
    found = _IN_TYPE.search(content_type[:500])
    return _CODECS.get(found[1].lower()) if found else None


def _told(data: bytes) -> str | None:
    found = _SAYS.search(data)
    codec = _CODECS.get(found[1].decode().lower()) if found else None
    # Whoever could read that has not read UTF-16.
    return "utf-8" if codec in {"utf-16-le", "utf-16-be"} else codec
