"""How long messages are kept: what a room asks for, within what the server allows.

Only messages have a lifetime; state has none. What is older is shown to nobody, and `expiring`
deletes it.

https://github.com/matrix-org/matrix-spec-proposals/pull/1763

So it is with a message that says itself when it vanishes, where that is wanted.

https://github.com/matrix-org/matrix-spec-proposals/pull/2228
"""

from collections.abc import Callable
from typing import NamedTuple

from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from homeserver.config.settings import Retention
from homeserver.storage.history import Placed

STABLE: StateKey = ("m.room.retention", "")
UNSTABLE: StateKey = ("org.matrix.msc1763.retention", "")
KEYS = (STABLE, UNSTABLE)
"""The entries of a room's state that say it; the first that is there counts."""
FOREVER = 2**53 - 1
"""What a room asks for that wants no end."""

VANISH = ("m.self_destruct_after", "org.matrix.self_destruct_after")
"""The keys of a content that say when; the first that does counts."""

_TYPES = frozenset({STABLE[0], UNSTABLE[0]})


def is_about_lifetimes(kind: str) -> bool:
    """Whether an event of this type may change how long a room's messages are kept."""
    return kind in _TYPES


def asked_for(entry: Callable[[StateKey], Event | None]) -> int | None:
    """How long a room wants its messages kept, in milliseconds; `None`: it does not say."""
    for key in KEYS:
        event = entry(key)
        if event is not None and (said := _read(event.content)) is not None:
            return said
    return None


def _read(content: JsonObject) -> int | None:
    """What an entry says; `None`: nothing that makes sense."""
    if not content.keys() & {"max_lifetime", "min_lifetime"}:
        return None
    least, most = content.get("min_lifetime"), content.get("max_lifetime")
    if not all(one is None or _is_span(one) for one in (least, most)):
        return None
    if most is None:
        return FOREVER
    # "max_lifetime must always be higher or equal to min_lifetime"
    return None if least is not None and most < least else most


def _is_span(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= FOREVER


def vanishes_at(event: Event) -> int | None:
    """When a message vanishes, in milliseconds since the epoch, if it says so."""
    if event.is_state:
        return None
    for name in VANISH:
        ts = event.content.get(name)
        if isinstance(ts, int) and not isinstance(ts, bool) and 0 <= ts < 2**53:
            return ts
    return None


class Range(NamedTuple):
    """What the server allows, in milliseconds each; `None`: it does not care."""

    least: int | None
    most: int | None
    default: int | None
    """What rooms get that ask for nothing."""

    @classmethod
    def of(cls, settings: Retention) -> "Range":
        """As it is set."""
        default = settings.default or settings.maximum
        return cls(
            settings.minimum.milliseconds if settings.minimum else None,
            settings.maximum.milliseconds if settings.maximum else None,
            default.milliseconds if default else None,
        )

    def lifetime(self, asked: int | None) -> int | None:
        """How long messages of a room are kept that asks for this; `None`: for ever."""
        if asked is None:
            return self.default
        within = max(asked, self.least or 0)
        if self.most is not None:
            within = min(within, self.most)
        return None if within >= FOREVER else within


class Lifetimes:
    """Says which messages are too old to be shown.

    Args:
        allowed: by this server.
        now: milliseconds since the epoch.
        lets_vanish: whether messages may say themselves when they vanish.

    """

    def __init__(
        self, allowed: Range, now: Callable[[], int], *, lets_vanish: bool = False
    ) -> None:
        self.allowed = allowed
        self._now = now
        self._lets_vanish = lets_vanish

    def is_past(self, ts: int, asked: int | None) -> bool:
        """Whether a message of this time is too old, in a room that asks for this."""
        lifetime = self.allowed.lifetime(asked)
        return lifetime is not None and ts < self._now() - lifetime

    def is_expired(self, event: Placed) -> bool:
        """Whether an event is nobody's to see any more."""
        if event.event.state_key is not None:
            return False
        if self.has_vanished(event.event):
            return True
        return self.is_past(event.event.origin_server_ts, event.lifetime)

    def has_vanished(self, event: Event) -> bool:
        """Whether the time is over that a message gave itself."""
        until = vanishes_at(event) if self._lets_vanish else None
        return until is not None and until <= self._now()
