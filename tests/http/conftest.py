import io
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from homeserver import logs
from homeserver.config.settings import Logging
from tests.http.rig import Rig, served


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with served() as rig:
        yield rig


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is written at level info."""
    written = io.StringIO()
    logs.configure(Logging(format="json"), written)
    yield written
    structlog.reset_defaults()
    logging.getLogger().handlers = [
        handler
        for handler in logging.getLogger().handlers
        if not isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(False)
