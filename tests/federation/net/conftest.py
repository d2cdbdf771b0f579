from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.federation.net.loopback import Authority, Internet


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def internet(authority: Authority) -> AsyncIterator[Internet]:
    async with AsyncExitStack() as stack:
        yield Internet(authority, stack)
