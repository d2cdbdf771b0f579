"""What a web page says of itself: in OpenGraph's words, in others', or by what stands on it.

https://ogp.me/
"""

import re
from dataclasses import dataclass, field

from homeserver.media.markup import Tag, tokens

_MOST_TOKENS = 50_000
_MOST_PROPERTIES = 40
_LONGEST_NAME = 64
_LONGEST_VALUE = 1000
_ENOUGH = 2000
"""Characters of the text on a page that are looked at."""
_SUMMARY = 300
"""Characters of a description that is made of it."""
_PROPERTY = re.compile(r"og:[a-z][a-z0-9_:-]*", re.ASCII)
_TWITTER = {
    "twitter:title": "og:title",
    "twitter:description": "og:description",
    "twitter:image": "og:image",
    "twitter:image:src": "og:image",
}
_HEADINGS = ("title", "h1", "h2", "h3")
"""What may serve as a title, the best first."""
_SILENT = frozenset(
    (
        "aside",
        "button",
        "canvas",
        "footer",
        "header",
        "iframe",
        "nav",
        "noscript",
        "picture",
        "script",
        "select",
        "style",
        "svg",
        "textarea",
        "title",
        "video",
    )
)
"""Elements whose text is not what a page is about."""
_SMALLEST = 10
"""Pixels of a picture's side; what is smaller counts the readers."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a page says of itself."""

    properties: dict[str, str]
    """Without those of its picture."""
    image: str | None
    """The URL of its picture; it may be relative."""


def describe(page: str) -> Description:
    """Read a page."""
    reader = _Reader()
    for token in tokens(page, _MOST_TOKENS):
        if isinstance(token, str):
            reader.hear(token)
        elif token.is_end:
            reader.end(token.name)
        else:
            reader.begin(token)
    return reader.description()


@dataclass(slots=True)
class _Reader:
    """What was read up to here."""

    given: dict[str, str] = field(default_factory=dict)
    """OpenGraph's properties."""
    others: dict[str, str] = field(default_factory=dict)
    """The same, as others call them."""
    headings: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    length: int = 0
    silence: int = 0
    """So many silent elements are open."""
    heading: str = ""
    """The one that is open."""
    is_body: bool = False
    first_image: str = ""
    largest: tuple[float, str] = (0.0, "")
    icon: str = ""

    def begin(self, tag: Tag) -> None:
        if tag.name == "meta":
            self._meta(tag.attributes)
        elif tag.name == "img":
            self._image(tag.attributes)
        elif tag.name == "link":
            self._link(tag.attributes)
        elif tag.name in _HEADINGS and tag.name not in self.headings:
            self.heading = tag.name
        if tag.name in _SILENT:
            self.silence += 1
        self.is_body = self.is_body or tag.name == "body"

    def end(self, name: str) -> None:
        if name in _SILENT and self.silence:
            self.silence -= 1
        if name == self.heading:
            self.heading = ""

    def hear(self, text: str) -> None:
        if self.heading:
            before = self.headings.get(self.heading, "")
            self.headings[self.heading] = (before + text)[:_LONGEST_VALUE]
        elif self.is_body and not self.silence and self.length < _ENOUGH:
            words = text.split()
            self.words += words
            self.length += sum(map(len, words)) + len(words)

    def description(self) -> Description:
        found = {**self.others, **self.given}
        if "og:title" not in found:
            found["og:title"] = next(filter(None, map(self._title, _HEADINGS)), "")
        if "og:description" not in found:
            found["og:description"] = _summary(self.words)
        image = found.get("og:image") or self.largest[1] or self.first_image or self.icon
        properties = {
            name: _clean(value)
            for name, value in found.items()
            if value and not name.startswith("og:image")
        }
        return Description(properties, image.strip() or None)

    def _title(self, heading: str) -> str:
        return " ".join(self.headings.get(heading, "").split())

    def _meta(self, attributes: dict[str, str]) -> None:
        # Pages mix up `property` and `name`.
        called = (attributes.get("property") or attributes.get("name") or "").strip().lower()
        content = attributes.get("content", "").strip()
        if not content:
            return
        if _PROPERTY.fullmatch(called[: _LONGEST_NAME + 1]) and len(called) <= _LONGEST_NAME:
            if len(self.given) < _MOST_PROPERTIES or called == "og:image":
                self.given.setdefault(called, content)
        elif called in _TWITTER:
            self.others.setdefault(_TWITTER[called], content)
        elif called == "description":
            self.others.setdefault("og:description", content)
        elif attributes.get("itemprop", "").lower() == "image":
            self.others.setdefault("og:image", content)

    def _image(self, attributes: dict[str, str]) -> None:
        source = attributes.get("src", "").strip()
        if not source or source[:5].lower() == "data:":
            return
        self.first_image = self.first_image or source
        width, height = (_pixels(attributes.get(side, "")) for side in ("width", "height"))
        if min(width, height) > _SMALLEST and width * height > self.largest[0]:
            self.largest = (width * height, source)

    def _link(self, attributes: dict[str, str]) -> None:
        if "icon" in attributes.get("rel", "").lower().split():
            self.icon = self.icon or attributes.get("href", "").strip()


def _pixels(text: str) -> int:
    found = re.match(r"\s{0,9}(\d{1,5})", text, re.ASCII)
    return int(found[1]) if found else 0


def _summary(words: list[str]) -> str:
    """The first words, whole ones where that is possible."""
    text = " ".join(words)
    if len(text) <= _SUMMARY:
        return text
    short = text[:_SUMMARY]
    return f"{short[: short.rfind(' ')] if ' ' in short else short}…"


def _clean(value: str) -> str:
    short = value[:_LONGEST_VALUE].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return short.encode(errors="replace").decode()
