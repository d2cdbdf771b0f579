"""Every intended difference is one: both sides are asked, and answer as described."""

import pytest

from federation.room_versions import RoomVersion
from tests.oracle.differences import DIFFERENCES, Difference
from tests.oracle.oracle import Oracle

_CASES = [
    pytest.param(difference, version, id=f"{difference.name}-v{version.name}")
    for difference in DIFFERENCES
    for version in difference.versions
]


@pytest.mark.parametrize(("difference", "version"), _CASES)
def test_difference(oracle: Oracle, difference: Difference, version: RoomVersion) -> None:
    ours, synapse = difference.show(oracle, version)
    assert (ours, synapse) == (difference.ours, difference.synapse), difference.what
