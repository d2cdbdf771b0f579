"""Starts a Hearth that is made for measuring, and prints how `hsbench` is to be told of it.

    python benchmarks/server.py FOLDER [--workers N] [--port PORT]

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
from pathlib import Path

SETTINGS = """\
server_name: "127.0.0.1:{port}"
data_dir: data
workers: {workers}
listeners: [{{port: {port}}}]
registration: {{mode: open}}
auth: {{password_hash: {{memory: 8K, iterations: 1}}}}
presence: {{enabled: true}}
rate_limits: {{enabled: false}}
logging: {{level: warning, file: log}}
"""


def main() -> None:
    """Run the server until it is told to stop."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "hearth.yaml"
    file.write_text(SETTINGS.format(port=options.port, workers=options.workers))
    server = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "homeserver", "serve", "-c", str(file)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _wait(server, f"http://127.0.0.1:{options.port}/_matrix/client/versions")
        print(_target(options, server.pid), flush=True)
        server.wait()
    except KeyboardInterrupt:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where its data are; kept")
    parser.add_argument("--port", type=int, default=18008)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def _target(options: argparse.Namespace, pid: int) -> str:
    postmaster = options.folder / "data" / "postgres" / "data" / "postmaster.pid"
    return (
        f"hearth=http://127.0.0.1:{options.port},pid={pid},pg={postmaster.read_text().split()[0]}"
    )


def _wait(server: "subprocess.Popen[bytes]", url: str) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not answer")


if __name__ == "__main__":
    main()
