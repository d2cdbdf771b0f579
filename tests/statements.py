"""Counting the statements that the database is asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest


class Asked:
    """The statements of endpoints; what goes on behind does not count."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def note(self, statement: str) -> None:
        if "duties" not in statement and " log" not in statement:
            self.statements.append(" ".join(statement.split()))

    async def by(self, request: Callable[[], Awaitable[Any]]) -> list[str]:
        """By a request that was made before."""
        await request()
        self.statements.clear()
        await request()
        return list(self.statements)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found, fetch = Asked(), asyncpg.Connection.fetch

    async def noted(self: Any, query: str, *args: Any, **more: Any) -> Any:
        found.note(query)
        return await fetch(self, query, *args, **more)

    monkeypatch.setattr(asyncpg.Connection, "fetch", noted)
    return found
