"""One Hearth and one Synapse for all tests of a module: Synapse takes seconds to start."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.interop.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def between(
    postgres: Server, tmp_path_factory: pytest.TempPathFactory, loopback_authority: Authority
) -> AsyncIterator[World]:
    """Both servers."""
    async with world(postgres, tmp_path_factory.mktemp("between"), loopback_authority) as found:
        yield found
