"""Counting the statements that the database is asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

_BEHIND = (
    "duties",
    " log",
    "a.is_guest",
    "device_updates",
    "remote_device_lists",
    "unwanted_media",
    "SELECT DISTINCT room_nid FROM memberships",
)
"""In what is asked by nobody's request: whose turn it is, what happened, which guests are where,
whose devices are otherwise, whose lists are followed no more, which files are wanted no more, and
where people are."""


class Asked:
    """The statements of endpoints; what goes on behind does not count."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def note(self, statement: str) -> None:
        flat = " ".join(statement.split())
        if not any(word in flat for word in _BEHIND):
            self.statements.append(flat)

    async def by(self, request: Callable[[], Awaitable[Any]]) -> list[str]:
        """By a request that was made before; sorted, as some are asked at the same moment."""
        await request()
        self.statements.clear()
        await request()
        return sorted(self.statements)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    # All ways to ask go through it: for rows, for one of them, for a value, for nothing.
    found, execute = Asked(), asyncpg.Connection._execute

    async def noted(self: Any, query: str, *args: Any, **more: Any) -> Any:
        found.note(query)
        return await execute(self, query, *args, **more)

    monkeypatch.setattr(asyncpg.Connection, "_execute", noted)
    return found
