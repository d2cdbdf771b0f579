"""Starts a Hearth, or two that federate, made for measuring; prints how to tell `hsbench` of them.

    python benchmarks/server.py FOLDER [--workers N] [--port PORT] [--pair]

Registration is open and nothing is limited; its PostgreSQL is its own and safe, as in production.
Runs until Ctrl-C. The line on standard output goes behind the harness's `--target`.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from homeserver.demo.authority import Authority

_FEDERATION = 1
"""How much higher the port is at which other servers are answered."""
_NEXT = 2
"""How much higher the ports of the second server are."""
_PATIENCE = 180
"""Seconds within which a server has to answer, on a busy machine too."""


class Running(NamedTuple):
    """A server with its processes."""

    url: str
    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def postmaster(self) -> str:
        """The process ID of its database."""
        file = self.folder / "data" / "postgres" / "data" / "postmaster.pid"
        return file.read_text().split()[0]

    @property
    def name(self) -> str:
        """What other servers know it by."""
        _, host, port = self.url.split(":")
        return f"{host[2:]}:{int(port) + _FEDERATION}"


def main() -> None:
    """Run the servers until they are told to stop."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(options.folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running = []
    for number in range(2 if options.pair else 1):
        folder, port = options.folder / str(number), options.port + number * _NEXT
        running.append(start(folder, port, options.workers, authority))
    try:
        for one in running:
            wait(one)
        print(_target(running), flush=True)
        for one in running:
            one.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for one in running:
            one.process.send_signal(signal.SIGTERM)
        for one in running:
            one.process.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where its data are; kept")
    parser.add_argument("--port", type=int, default=18008)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pair", action="store_true", help="two that federate with each other")
    return parser.parse_args()


def start(
    folder: Path,
    port: int,
    workers: int,
    authority: Authority,
    more: Mapping[str, Any] | None = None,
) -> Running:
    """Start a server, which answers clients at `port` and other servers at the next one.

    `more` are settings beside the usual ones.
    """
    folder.mkdir(exist_ok=True)
    file = folder / "hearth.yaml"
    settings = {**_settings(port, workers, folder, authority), **(more or {})}
    file.write_text(yaml.safe_dump(settings))
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "homeserver", "serve", "-c", str(file)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return Running(f"http://127.0.0.1:{port}", process, folder)


def _settings(port: int, workers: int, folder: Path, authority: Authority) -> dict[str, Any]:
    made = authority.issue(folder.name)
    tls = {"certificate": str(made.certificate), "key": str(made.key)}
    return {
        "server_name": f"127.0.0.1:{port + _FEDERATION}",
        "data_dir": str(folder / "data"),
        "workers": workers,
        "listeners": [
            {"port": port},
            {"port": port + _FEDERATION, "serves": ["federation", "key"], "tls": tls},
        ],
        "outgoing": {
            "ca_file": str(authority.file),
            "system_trust": False,
            "allowed_ranges": ["127.0.0.0/8"],
        },
        "registration": {"mode": "open"},
        "auth": {"password_hash": {"memory": "8K", "iterations": 1}},
        "presence": {"enabled": True},
        "rate_limits": {"enabled": False},
        "logging": {"level": "warning", "file": str(folder / "log")},
    }


def _target(running: list[Running]) -> str:
    first, *others = running
    found = f"hearth={first.url},pid={first.process.pid},pg={first.postmaster}"
    for one in others:
        found += f",fed={one.url},fedpid={one.process.pid},fedpg={one.postmaster}"
    return found


def wait(running: Running) -> None:
    """Return once a server answers; the process exits if it does not."""
    ends = time.monotonic() + _PATIENCE
    url = f"{running.url}/_matrix/client/versions"
    while time.monotonic() < ends and running.process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not answer")


if __name__ == "__main__":
    main()
