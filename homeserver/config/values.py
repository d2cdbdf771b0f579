"""What settings are made of, besides plain text and numbers.

Each kind is read from the text an administrator writes (`5m`, `50M`, `10/1m`) and writes itself
the same way, so that `hearth config show` prints what could stand in the file. Reading raises
`ValueError` with a reason that can be shown.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType
from urllib.parse import urlsplit

from federation.room_versions import ROOM_VERSIONS

HttpUrl = NewType("HttpUrl", str)
"""An absolute `http://` or `https://` URL with a host, without user, query and fragment."""

EmailAddress = NewType("EmailAddress", str)
"""Something with one `@` and no spaces; only a letter to it can prove more."""

RoomVersionName = NewType("RoomVersionName", str)
"""The name of a stable room version that we know."""

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)", re.ASCII)
_UNITS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_MAX_DURATION = 100 * 365 * _UNITS["d"]

_SIZE = re.compile(r"(\d+)([KMGT]?)", re.ASCII)
_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

HIDDEN = "(hidden)"
"""What is shown in place of a secret."""


@dataclass(frozen=True, order=True, slots=True)
class Duration:
    """A length of time, written `250ms`, `30s`, `5m`, `12h`, `1d` or `2w`."""

    milliseconds: int

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read one number with its unit."""
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError("not a duration: a whole number and ms, s, m, h, d or w")
        milliseconds = int(found[1]) * _UNITS[found[2]]
        if milliseconds > _MAX_DURATION:
            raise ValueError("more than a hundred years")
        return cls(milliseconds)

    @property
    def seconds(self) -> float:
        """The same in seconds, as asyncio and aiohttp want it."""
        return self.milliseconds / 1000

    @property
    def timedelta(self) -> timedelta:
        """The same as PostgreSQL's intervals want it."""
        return timedelta(milliseconds=self.milliseconds)

    def __str__(self) -> str:
        if not self.milliseconds:
            return "0s"
        unit = next(u for u in reversed(_UNITS) if not self.milliseconds % _UNITS[u])
        return f"{self.milliseconds // _UNITS[unit]}{unit}"

    def __bool__(self) -> bool:
        return bool(self.milliseconds)


class Size(int):
    """A number of bytes, written `512K`, `50M` or `2G`; K is 1024."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read one number with its unit, or a plain number of bytes."""
        found = _SIZE.fullmatch(text.upper())
        if found is None:
            raise ValueError("not a size: a whole number of bytes, or one with K, M, G or T")
        return cls(int(found[1]) * _SIZE_UNITS[found[2]])

    def __str__(self) -> str:
        unit = next(u for u in reversed(_SIZE_UNITS) if not self % _SIZE_UNITS[u])
        return f"{int(self) // _SIZE_UNITS[unit]}{unit}" if self else "0"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may happen, written `10/1m`: ten at once, and ten more per minute.

    A bucket that holds `count` and is refilled evenly over `per`.
    """

    count: int
    per: Duration

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read a count, a slash and a duration."""
        count, slash, per = text.partition("/")
        if not slash or not re.fullmatch(r"\d{1,9}", count, re.ASCII):
            raise ValueError("not a rate: a count, a slash and a duration")
        rate = cls(int(count), Duration.parse(per))
        if not rate.count or not rate.per:
            raise ValueError("a rate is above zero; `null` switches the limit off")
        return rate

    @property
    def per_second(self) -> float:
        """How much of the bucket comes back every second."""
        return self.count / self.per.seconds

    def __str__(self) -> str:
        return f"{self.count}/{self.per}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is never printed; `reveal` hands it to whoever needs it."""

    _text: str

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN


@dataclass(frozen=True, slots=True)
class DatabaseUrl(Secret):
    """Where PostgreSQL is; shown without its password."""

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        """Read `postgresql://user:password@host:port/database`."""
        try:
            parts = urlsplit(text)
            good = parts.scheme in {"postgresql", "postgres"} and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("not a URL that begins with postgresql://")
        return cls(text)

    def __repr__(self) -> str:
        parts = urlsplit(self.reveal())
        credentials, at, place = parts.netloc.rpartition("@")
        user, colon, _ = credentials.partition(":")
        password = f":{HIDDEN}" if colon else ""
        # The query may hold a password too.
        return f"{parts.scheme}://{user}{password}{at}{place}{parts.path}"


def parse_http_url(text: str) -> HttpUrl:
    """Accept an absolute URL that requests can go to."""
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in {"http", "https"} or re.search(r"[\s\\]", text):
        raise ValueError("not a URL that begins with https:// or http://")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("a URL with a user, a query or a fragment")
    return HttpUrl(text)


def parse_email_address(text: str) -> EmailAddress:
    """Accept what may be an e-mail address."""
    if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text):
        raise ValueError("not an e-mail address")
    return EmailAddress(text)


def parse_room_version(text: str) -> RoomVersionName:
    """Accept the name of a room version that we know."""
    if text not in ROOM_VERSIONS:
        raise ValueError(f"not a room version that is known here: {', '.join(ROOM_VERSIONS)}")
    return RoomVersionName(text)
