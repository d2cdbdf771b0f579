"""How long an HTTP answer may be kept: `Cache-Control`, `Age` and `Expires`, nothing else.

https://www.rfc-editor.org/rfc/rfc9111#section-4.2
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime


def lifetime(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds for which the answer is fresh; 0 if it must not be kept, `None` if it does not say.

    Args:
        headers: of the answer, by case-insensitive name.
        now: Unix time in seconds; stands in for a missing `Date`.

    """
    directives = _directives(headers.get("Cache-Control", ""))
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    if "max-age" in directives:
        return max(0.0, _seconds(directives["max-age"]) - _seconds(headers.get("Age", "0")))
    if "Expires" in headers:
        expires = _unix_time(headers["Expires"])
        # "A cache recipient MUST interpret invalid date formats, especially the value "0", as
        # representing a time in the past (i.e., "already expired")."
        if expires is None:
            return 0.0
        date = _unix_time(headers.get("Date", ""))
        return max(0.0, expires - (now if date is None else date))
    return None


def _directives(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _seconds(text: str) -> float:
    """Read a number of seconds; what is none counts as 0, thus as stale or as new."""
    return float(text[:10]) if text.isascii() and text.isdecimal() else 0.0


def _unix_time(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError):
        return None
