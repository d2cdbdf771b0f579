"""Hashing passwords with argon2id, off the event loop.

A few threads of their own do the work, so that many logins at a time cost memory for a few only.
Somebody who does not exist is refused as slowly as somebody whose password is wrong.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from homeserver.errors import LimitExceeded

LONGEST = 512
"""Characters of the longest password that is looked at."""

_T = TypeVar("_T")


class Passwords:
    """Makes and checks password hashes.

    Args:
        memory: bytes for one hash (`auth.password_hash.memory`).
        iterations: passes over that memory.
        threads: how many hashes are computed at a time.
        most: how many may be wanted at a time.

    """

    def __init__(self, memory: int, iterations: int, *, threads: int = 2, most: int = 200) -> None:
        self._hasher = PasswordHasher(
            time_cost=iterations, memory_cost=max(8, memory // 1024), parallelism=1
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._nobody: str | None = None
        self._most = most
        self._wanted = 0

    async def hash(self, password: str) -> str | None:
        """The hash to store; `None` if this cannot be a password.

        Raises:
            LimitExceeded: too many are wanted already.

        """
        secret = _normalised(password)
        if secret is None:
            return None
        return await self._in_thread(lambda: self._hasher.hash(secret))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right; nothing is for somebody without a hash.

        Raises:
            LimitExceeded: too many are wanted already.

        """
        secret = _normalised(password)
        return await self._in_thread(lambda: self._check(secret, password_hash))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made at another cost than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """End the threads, once they are done."""
        self._threads.shutdown()

    def _check(self, secret: bytes | None, password_hash: str | None) -> bool:
        known = password_hash is not None and secret is not None
        try:
            self._hasher.verify((password_hash if known else None) or self._decoy(), secret or b"")
        except (VerificationError, InvalidHashError):
            return False
        return known

    def _decoy(self) -> str:
        if self._nobody is None:
            self._nobody = self._hasher.hash(b"")
        return self._nobody

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._wanted >= self._most:
            raise LimitExceeded(retry_after_ms=2000)
        self._wanted += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._wanted -= 1


def _normalised(password: str) -> bytes | None:
    """The same bytes for what looks the same, however a keyboard composes it."""
    if len(password) > LONGEST:
        return None
    try:
        return unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None
