"""The demo as people run it: it is the first encrypted conversation between two servers."""

import asyncio
import json
import os
import sys
from pathlib import Path


async def test_the_demo_holds(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "homeserver", "demo", "--json", "--folder", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
    )
    async with asyncio.timeout(90):
        said, errors = await process.communicate()
    logs = "".join(log.read_text() for log in tmp_path.glob("*/log"))
    assert process.returncode == 0, (errors.decode(), logs[-5000:])
    report = json.loads(said)
    assert report["holds"]
    assert [server["leaked"] for server in report["servers"]] == [[], []]
    assert all(server["readable"] for server in report["servers"])
    assert "Traceback" not in logs
