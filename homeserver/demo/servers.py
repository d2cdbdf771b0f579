"""Two Hearths on loopback, each a process with a folder of its own."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from homeserver.demo.authority import Authority
from homeserver.errors import HearthError

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


class DemoError(HearthError):
    """Something did not go as it has to."""


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two."""

    name: str
    """With its port, as it is federated with."""
    url: str
    folder: Path
    trust: ssl.SSLContext
    process: "subprocess.Popen[bytes]"

    @property
    def data(self) -> Path:
        """All that its operator has."""
        return self.folder

    def stop(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_STOP_SECONDS)


@contextmanager
def two_servers(folder: Path) -> Iterator[tuple[Server, Server]]:
    """Start both, and end them in any case."""
    authority = Authority(folder)
    with ExitStack() as stack:
        servers = []
        for name in ("one", "two"):
            servers.append(_launch(folder / name, name, authority))
            stack.callback(_end, servers[-1])
        for server in servers:
            _wait(server)
        yield servers[0], servers[1]


def _launch(folder: Path, name: str, authority: Authority) -> Server:
    folder.mkdir(mode=0o700)
    certificate = authority.issue(name)
    port = _free_port()
    settings = {
        "server_name": f"127.0.0.1:{port}",
        "data_dir": str(folder / "data"),
        "listeners": [
            {
                "port": port,
                "serves": ["client", "federation", "media", "key"],
                "tls": {"certificate": str(certificate.certificate), "key": str(certificate.key)},
            }
        ],
        "outgoing": {
            "ca_file": str(authority.file),
            "system_trust": False,
            "allowed_ranges": ["127.0.0.0/8"],
        },
        "registration": {"mode": "open"},
        "auth": {"password_hash": {"memory": "8K", "iterations": 1}},
        "logging": {"file": str(folder / "log"), "level": "debug"},
    }
    file = folder / "hearth.yaml"
    file.write_text(yaml.safe_dump(settings))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "homeserver", "serve", "-c", str(file)],
            stdout=output,
            stderr=output,
            env={key: value for key, value in os.environ.items() if "HEARTH_" not in key},
            start_new_session=True,
        )
    trust = ssl.create_default_context(cafile=str(authority.file))
    return Server(f"127.0.0.1:{port}", f"https://127.0.0.1:{port}", folder, trust, process)


def _wait(server: Server) -> None:
    """Until it accepts connections."""
    port = int(server.name.rpartition(":")[2])
    ends = time.monotonic() + _START_SECONDS
    log = server.folder / "log"
    while not (log.exists() and "serving" in log.read_text()):
        if server.process.poll() is not None or time.monotonic() > ends:
            said = (server.folder / "output").read_text(errors="replace")
            raise DemoError(f"the server at port {port} does not start:\n{said}")
        time.sleep(0.05)


def _end(server: Server) -> None:
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
