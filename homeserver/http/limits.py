"""How often somebody may do something. Time is handed in; nothing is kept on disk.

Each of N workers grants an N-th, since it sees an N-th of the requests; at least one at a time.

https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import fields

from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from homeserver.errors import LimitExceeded

MOST_KEYS = 50_000
"""How many callers one limit remembers, at some 150 bytes each."""
_ROUNDING = 1e-6
"""Milliseconds that sums of fractions may be wrong by."""


class Bucket:
    """Tokens for many callers: `rate.count` at once, and as many more in each `rate.per`.

    For each caller only the moment is kept at which its bucket will be full again, so a full
    bucket need not be kept at all.

    Args:
        rate: for all workers together.
        workers: among how many it is shared.
        most: how many callers are remembered; beyond, those that asked longest ago are forgotten.

    """

    def __init__(self, rate: Rate, workers: int = 1, most: int = MOST_KEYS) -> None:
        self._per_token = rate.per.milliseconds * workers / rate.count
        self._slack = self._per_token * (max(1.0, rate.count / workers) - 1)
        self._most = most
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: int, count: int = 1) -> int:
        """Take tokens of `key`; answers 0, or the milliseconds until there are that many.

        If more are wanted than there ever are, a full bucket is emptied.
        """
        full_at = self._full_at.pop(key, now)
        cost = min(self._per_token * count, self._slack + self._per_token)
        wait = full_at - now - self._slack - self._per_token + cost
        if wait > _ROUNDING:
            self._full_at[key] = full_at
            return math.ceil(wait)
        self._full_at[key] = max(full_at, now) + cost
        self._forget(now)
        return 0

    def wait(self, key: Hashable, now: int) -> int:
        """The milliseconds until there is a token of `key`; takes none."""
        return math.ceil(max(0.0, self._full_at.get(key, now) - now - self._slack))

    def _forget(self, now: int) -> None:
        """Drop a few that are full; they stand in the order in which they asked last."""
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._most:
                return
            if len(self._full_at) > 1:
                del self._full_at[oldest]


class Limits:
    """All rate limits of a worker.

    Args:
        settings: the rates.
        workers: among how many they are shared.
        now: milliseconds of a clock that never goes back.

    """

    def __init__(self, settings: RateLimits, workers: int, now: Callable[[], int]) -> None:
        rates = {field.name: getattr(settings, field.name) for field in fields(settings)}
        self._buckets = {
            name: Bucket(rate, workers)
            for name, rate in rates.items()
            if isinstance(rate, Rate) and settings.enabled
        }
        self._names = frozenset(rates) - {"enabled"}
        self._now = now

    def check(self, name: str, key: Hashable, count: int = 1) -> None:
        """Count one more of what `key` does.

        Args:
            name: of the setting.
            key: whoever or whatever it is counted by.
            count: how many more, if not one.

        Raises:
            LimitExceeded: not now.

        """
        bucket = self._buckets.get(name)
        if bucket is not None:
            wait = bucket.take(key, self._now(), count)
            if wait:
                raise LimitExceeded(wait)

    def is_spent(self, name: str, key: Hashable) -> bool:
        """Whether `check` would raise; nothing is counted."""
        bucket = self._buckets.get(name)
        return bucket is not None and bucket.wait(key, self._now()) > 0

    def has(self, name: str) -> bool:
        """Whether there is a setting of this name, switched on or off."""
        return name in self._names
