"""The oracle's process, one for each test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.oracle import Oracle, oracle_python


@pytest.fixture(scope="session")
def synapse_python() -> Path:
    return oracle_python()


@pytest.fixture(scope="module")
def oracle(synapse_python: Path) -> Iterator[Oracle]:
    asked = Oracle(synapse_python)
    yield asked
    asked.close()
