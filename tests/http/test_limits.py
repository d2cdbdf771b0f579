import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from homeserver.errors import LimitExceeded
from homeserver.http.limits import Bucket, Limits


def granted(bucket: Bucket, key: str, now: int, tries: int = 100) -> int:
    return sum(bucket.take(key, now) == 0 for _ in range(tries))


@pytest.mark.parametrize(
    ("rate", "workers", "at_once", "per_minute"),
    [
        ("10/1m", 1, 10, 10),
        ("10/1m", 2, 5, 5),
        ("10/1m", 4, 2, 2),  # of 2.5
        ("10/1m", 10, 1, 1),
        ("3/1m", 12, 1, 0),  # one every four minutes
    ],
)
def test_a_bucket(rate: str, workers: int, at_once: int, per_minute: int) -> None:
    bucket = Bucket(Rate.parse(rate), workers)
    assert granted(bucket, "a", 0) == at_once
    assert granted(bucket, "b", 0) == at_once
    assert granted(bucket, "a", 60_000) in {per_minute, per_minute + 1}
    assert granted(bucket, "b", 10**9) == at_once


@given(
    st.integers(1, 20),
    st.integers(1, 8),
    st.lists(st.integers(0, 5000), min_size=1, max_size=60),
)
def test_all_workers_together_grant_no_more(count: int, workers: int, pauses: list[int]) -> None:
    """Within any minute: a full bucket, and what came back into it, by all of them."""
    buckets = [Bucket(Rate.parse(f"{count}/1m"), workers) for _ in range(workers)]
    now, times = 0, []
    for pause in pauses:
        now += pause
        times += [now for bucket in buckets if bucket.take("a", now) == 0]
    for start in times:
        within = sum(start <= time < start + 60_000 for time in times)
        assert within <= max(count, workers) + count + workers


def test_the_wait_is_as_long_as_it_says() -> None:
    bucket = Bucket(Rate.parse("3/1s"))
    assert [bucket.take("a", 7) for _ in range(4)] == [0, 0, 0, 334]
    assert bucket.take("a", 340) == 1
    assert bucket.take("a", 341) == 0


def test_several_at_once() -> None:
    """Who wants more than there ever is empties a full bucket, and no other."""
    bucket = Bucket(Rate.parse("4/4s"))
    assert bucket.take("a", 0, 3) == 0
    assert bucket.take("a", 0, 2) == 1000
    assert bucket.take("a", 0) == 0
    assert bucket.take("a", 0) == 1000
    assert bucket.take("a", 3999, 100) == 1
    assert bucket.take("a", 4000, 100) == 0
    assert bucket.take("a", 4000) == 1000
    for _ in range(3):
        assert bucket.take("b", 0) == 0


def test_memory_is_bounded() -> None:
    bucket = Bucket(Rate.parse("1/1h"), most=100)
    for number in range(1000):
        bucket.take(str(number), number)
    assert len(bucket) == 100
    assert bucket.take("999", 1000) > 0
    assert bucket.take("0", 1000) == 0


def test_what_is_full_again_is_forgotten() -> None:
    bucket = Bucket(Rate.parse("10/1s"))
    for number in range(100):
        bucket.take(str(number), 0)
    for turn in range(101):
        bucket.take("a", 10_000 + turn * 100)
    assert len(bucket) == 1


def test_settings() -> None:
    limits = Limits(RateLimits(messages=Rate.parse("1/1s"), joins=None), 1, lambda: 0)
    limits.check("messages", "a")
    with pytest.raises(LimitExceeded) as caught:
        limits.check("messages", "a")
    assert caught.value.extra == {"retry_after_ms": 1000}
    assert caught.value.headers == {"Retry-After": "1"}
    for _ in range(1000):
        limits.check("joins", "a")


def test_one_switch_for_all() -> None:
    limits = Limits(RateLimits(enabled=False), 1, lambda: 0)
    for _ in range(1000):
        limits.check("messages", "a")
    assert limits.has("messages")
    assert not limits.has("enabled")
