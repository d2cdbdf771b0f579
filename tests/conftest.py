"""How many random inputs the property tests try.

"ci", the default, is quick and the same each time; HYPOTHESIS_PROFILE=nightly tries many, and
others each night.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=100, database=None)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=10_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

pytest_plugins = ["tests.database", "tests.lending", "tests.servers", "tests.statements"]


@pytest.fixture(scope="session")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the locks that the processes which run the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, turns: Path) -> Iterator[None]:
    """Tests marked `alone` run while no other does."""
    is_alone = request.node.get_closest_marker("alone") is not None
    with (turns / "gate").open("a") as gate, (turns / "running").open("a") as running:
        # Who waits to be alone keeps the gate, so that nobody starts meanwhile.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
