"""`hearth serve` as people run it: a process of its own, with all its children."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.federation.net.loopback import Authority


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Serving:
    """A server that runs, or ran, in a folder; with an authority it federates on loopback."""

    folder: Path
    port: int
    workers: int = 1
    authority: Authority | None = None
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}" if self.authority else "one.test"

    @property
    def url(self) -> str:
        return f"{'https' if self.authority else 'http'}://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def postmaster(self) -> int | None:
        """The first process of its PostgreSQL."""
        file = self.folder / "hearth-data" / "postgres" / "data" / "postmaster.pid"
        words = file.read_text().split() if file.exists() else []
        return int(words[0]) if words else None

    def settings(self) -> dict[str, Any]:
        """As they are written to the file."""
        listener: dict[str, Any] = {"port": self.port}
        settings: dict[str, Any] = {
            "server_name": self.name,
            "workers": self.workers,
            "listeners": [listener],
            "registration": {"mode": "open"},
            "rate_limits": {"enabled": False},
            "auth": {"password_hash": {"memory": "8K", "iterations": 1}},
        }
        if self.authority:
            file = str(self.authority.certificate("127.0.0.1"))
            listener["tls"] = {"certificate": file, "key": file}
            settings["outgoing"] = {
                "ca_file": str(self.authority.file),
                "system_trust": False,
                "allowed_ranges": ["127.0.0.0/8"],
            }
            settings["federation"] = {"retry_minimum": "100ms", "retry_maximum": "1s"}
        return settings

    def launch(self) -> None:
        """Start the command."""
        (self.folder / "hearth.yaml").write_text(yaml.safe_dump(self.settings()))
        with (self.folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "homeserver", "serve", "-c", "hearth.yaml"],
                cwd=self.folder,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                start_new_session=True,
            )

    async def answers(self, within: float = 90.0) -> float:
        """Wait until it answers; how many seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + within:
            assert self.process
            assert self.process.poll() is None, self.log
            if await self.is_there():
                return loop.time() - began
            await asyncio.sleep(0.02)
        raise AssertionError(self.log)

    async def is_there(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/_matrix/client/versions", ssl=False) as response,
            ):
                return response.status in {200, 404}
        except aiohttp.ClientError:
            return False

    def processes(self) -> list[int]:
        """All children of the server, its database's too."""
        assert self.process
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def ended(self, within: float = 30.0) -> int:
        """Wait until it has ended; its exit status."""
        assert self.process
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while self.process.poll() is None:
            assert loop.time() < deadline, self.log
            await asyncio.sleep(0.02)
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)


@asynccontextmanager
async def serving(
    folder: Path, workers: int = 1, authority: Authority | None = None
) -> AsyncIterator[Serving]:
    """A server that answers, ended in any case."""
    folder.mkdir(exist_ok=True)
    server = Serving(folder, free_port(), workers, authority)
    server.launch()
    try:
        await server.answers()
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.send(signal.SIGTERM)
            await server.ended()
