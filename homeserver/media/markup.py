"""HTML as a sequence of tags and texts, however broken or hostile it is.

No tree is made, nothing recurses, and each character is looked at a fixed number of times: the
parser of Python's library can take time that grows with the square of what a stranger sends, and
holds up everything else meanwhile. What is not closed before the end is left out.

https://html.spec.whatwg.org/multipage/parsing.html#tokenization
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

RAW = frozenset({"script", "style", "title", "textarea", "iframe", "xmp", "noembed", "noframes"})
"""Elements in which there are no tags but their own end."""

_LONGEST = 4000
"""Characters of a text or a value that are handed out."""
_MOST_ATTRIBUTES = 100
"""Of one tag; one with more ends it all."""
_NAME = re.compile(r"(/?)([a-zA-Z][^\s/>]{0,30}+)")
_ATTRIBUTE = re.compile(r"[\s/]*+(>|[^\s/>][^\s/>=]*+)(\s*+=\s*+)?+")
_BARE = re.compile(r"[^\s>]*+")
_ENDS = {name: re.compile(f"</{name}(?=[\\s/>])", re.IGNORECASE) for name in RAW}


class Tag(NamedTuple):
    """The begin of an element, or its end."""

    name: str
    """In lower case."""
    is_end: bool
    attributes: dict[str, str]
    """By name in lower case; of two of a name, the first."""


def tokens(text: str, most: int) -> Iterator[Tag | str]:
    """The first `most` tags of a document, and the texts between them."""
    at, count, raw = 0, 0, ""
    while at < len(text) and count < most:
        count += 1
        begin = _next_tag(text, at, raw)
        if begin > at:
            yield html.unescape(text[at : min(begin, at + _LONGEST)])
        found = _read(text, begin) if begin < len(text) else None
        if found is None:
            return
        token, at = found
        raw = ""
        if isinstance(token, Tag):
            raw = token.name if token.name in RAW and not token.is_end else ""
        if token:
            yield token


def _next_tag(text: str, at: int, raw: str) -> int:
    """Where the next tag begins, or the text ends."""
    if raw:
        found = _ENDS[raw].search(text, at)
        return found.start() if found else len(text)
    begin = text.find("<", at)
    return len(text) if begin < 0 else begin


def _read(text: str, begin: int) -> tuple[Tag | str, int] | None:
    """What begins with `<` here, and where it ends; `None` where it does not end."""
    if text.startswith("<!--", begin):
        return _skipped(text, "-->", begin + 2)
    if text.startswith(("<!", "<?"), begin):
        return _skipped(text, ">", begin)
    name = _NAME.match(text, begin + 1)
    if name is None:
        return "<", begin + 1
    found = _attributes(text, name.end())
    if found is None:
        return None
    attributes, end = found
    return Tag(name[2].lower(), bool(name[1]), attributes), end


def _skipped(text: str, closing: str, begin: int) -> tuple[str, int] | None:
    end = text.find(closing, begin)
    return None if end < 0 else ("", end + len(closing))


def _attributes(text: str, at: int) -> tuple[dict[str, str], int] | None:
    """The attributes of a tag, and where it ends; `None` where it does not."""
    attributes: dict[str, str] = {}
    for _ in range(_MOST_ATTRIBUTES):
        found = _ATTRIBUTE.match(text, at)
        if found is None:
            return None
        if found[1] == ">":
            return attributes, found.end(1)
        at, value = found.end(), ""
        if found[2]:
            valued = _value(text, at)
            if valued is None:
                return None
            value, at = valued
        attributes.setdefault(found[1].lower()[:_LONGEST], html.unescape(value[:_LONGEST]))
    return None


def _value(text: str, at: int) -> tuple[str, int] | None:
    quote = text[at : at + 1]
    if quote and quote in "\"'":
        end = text.find(quote, at + 1)
        return None if end < 0 else (text[at + 1 : end], end + 1)
    bare = _BARE.match(text, at)
    return (bare[0], bare.end()) if bare else None
