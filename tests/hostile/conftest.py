"""What holds in every test of hostile peers: nothing of it reaches the log as a fault of ours."""

import gc
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.stdlib import ProcessorFormatter

from homeserver.config.settings import Logging
from homeserver.logs import configure
from tests.server_server.conftest import federated, scene

__all__ = ["federated", "log_lines", "quiet", "scene"]

_PERSONAL = re.compile(r"[@!#][\w.=/+-]*:127\.0\.0\.1|\$[\w-]{43}")
"""Names of people, rooms and events of the servers in these tests."""


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """What is written at level info, as one object per line."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.level, logging.raiseExceptions
    configure(Logging(format="json"), stream)
    yield stream
    for handler in list(root.handlers):
        if isinstance(handler.formatter, ProcessorFormatter):
            root.removeHandler(handler)
            handler.close()
    root.level, logging.raiseExceptions = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def quiet(log_lines: io.StringIO) -> Iterator[None]:
    """No error, no traceback and no name of anybody is logged, whatever a peer does."""
    yield
    gc.collect()  # tasks that failed while nobody looked tell so at their end
    text = log_lines.getvalue()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    lines = [line for line in lines if line["logger"] != "aiohttp.server"]  # the peer's own
    loud = [one for one in lines if one["level"] in {"error", "critical"} or "exception" in one]
    assert not loud, "\n".join(str(one.get("exception", one)) for one in loud)
    assert _PERSONAL.findall(text) == []
