"""The headers that files are sent with, so that nothing in a file can act in a browser.

https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
"""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

_INLINE = {
    "text": "css plain csv",
    "application": "json ld+json",
    "image": "jpeg gif png apng webp avif",
    "video": "mp4 webm ogg quicktime",
    "audio": "mp4 webm aac mpeg ogg wave wav x-wav x-pn-wav flac x-flac",
}
INLINE = frozenset(f"{kind}/{name}" for kind, names in _INLINE.items() for name in names.split())
"""What browsers may show; all else they store."""

SAFE: Mapping[str, str] = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=86400, immutable",
}

_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;[\x20-\x7e]*)?", re.ASCII)
_UNKNOWN = "application/octet-stream"
_TOKEN = re.compile(r"[\w.+-]+", re.ASCII)
LONGEST_NAME = 255


def clean_type(content_type: str | None) -> str:
    """A content type that can stand in a header."""
    if content_type and len(content_type) <= 255 and _TYPE.fullmatch(content_type.strip()):
        return content_type.strip()
    return _UNKNOWN


def clean_name(name: str | None) -> str | None:
    """A file name that can stand in a column; cut where it is too long."""
    if not name:
        return None
    return (
        name.replace("\0", "\N{REPLACEMENT CHARACTER}")
        .encode(errors="replace")
        .decode()[:LONGEST_NAME]
    )


def disposition(content_type: str, name: str | None) -> str:
    """`Content-Disposition` as RFC 6266 has it."""
    kind = content_type.partition(";")[0].strip().lower()
    how = "inline" if kind in INLINE else "attachment"
    if not name:
        return how
    if _TOKEN.fullmatch(name):
        return f"{how}; filename={name}"
    return f"{how}; filename*=utf-8''{quote(name, safe='')}"


def name_in(content_disposition: str) -> str | None:
    """The file name in somebody else's `Content-Disposition`."""
    extended = re.search(r"filename\*=utf-8''([^;\s]+)", content_disposition, re.IGNORECASE)
    if extended:
        return clean_name(unquote(extended[1], errors="replace"))
    plain = re.search(r'filename=(?:"([^"]*)"|([^;\s]+))', content_disposition, re.IGNORECASE)
    return clean_name(plain[1] or plain[2]) if plain else None


def for_file(content_type: str | None, name: str | None) -> dict[str, str]:
    """All headers of a file."""
    kind = clean_type(content_type)
    return {"Content-Type": kind, "Content-Disposition": disposition(kind, name), **SAFE}
