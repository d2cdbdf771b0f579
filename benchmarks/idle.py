"""What many clients cost that wait and hear nothing: memory, and CPU between their time-outs.

    python benchmarks/idle.py FOLDER [--polls N] [--accounts N] [--seconds N] [--port PORT]

Starts a server of `server.py`, lets each account's devices wait in `/sync` over plain HTTP, one
connection each, and prints what all processes of the server, PostgreSQL's too, take meanwhile.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

_TICKS = os.sysconf("SC_CLK_TCK")
_WAIT = 120
"""Seconds for which a client wants to wait: the longest that the server waits."""
_AT_A_TIME = 200
"""Connections that are opened together: fewer than a listener keeps in its queue."""
_SPARE_FILES = 200
_SETTLING = 20
_QUIET = 0.05
"""Seconds of CPU in a second in which no request is being read."""


class Cost(NamedTuple):
    """What processes take."""

    bytes: int
    """Proportional set size: shared pages count once."""
    seconds: float
    """Of CPU since they began."""


class Poll(asyncio.Protocol):
    """One request, and whether it was answered."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep what comes, though nothing should."""
        self.answer += data


def main() -> None:
    """Start the server, measure, and end it."""
    options = _options()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < options.polls + _SPARE_FILES:
        sys.exit(f"only {hard} files may be open: `ulimit -Hn` says so")
    command = [sys.executable, str(Path(__file__).with_name("server.py")), str(options.folder)]
    server = subprocess.Popen(  # noqa: S603 - ourselves
        [*command, "--port", str(options.port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        if not line:
            sys.exit("the server did not start")
        target = dict(part.split("=", 1) for part in line.split(","))
        asyncio.run(_measure(options, target["hearth"], [int(target["pid"]), int(target["pg"])]))
    finally:
        server.terminate()
        server.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the server's data are; kept")
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--accounts", type=int, default=200, help="whose clients wait")
    parser.add_argument("--seconds", type=int, default=30, help="for which it is measured")
    parser.add_argument("--port", type=int, default=18018)
    return parser.parse_args()


async def _measure(options: argparse.Namespace, url: str, pids: Sequence[int]) -> None:
    requests = await _requests(url, options.accounts)
    before = _cost(pids)
    began = time.monotonic()
    polls = await _open(url, [requests[n % len(requests)] for n in range(options.polls)])
    opened = time.monotonic() - began
    settled = await _settled(pids)
    await asyncio.sleep(options.seconds)
    after = _cost(pids)
    if time.monotonic() - began > _WAIT:
        sys.exit("the first time-outs came before the end: measure for fewer seconds")
    answered = sum(bool(poll.answer) for poll in polls)
    if answered:
        sys.exit(f"{answered} were answered: {next(p.answer for p in polls if p.answer)[:200]!r}")
    used = (after.seconds - settled.seconds) / options.seconds
    taken, opening = after.bytes - before.bytes, settled.seconds - before.seconds
    print(f"{len(polls)} polls, opened in {opened:.1f} s", end=", ")
    print(f"for {opening / len(polls) * 1000:.2f} ms of CPU each")
    print(
        f"memory: {before.bytes / 1e6:.0f} MB before, {after.bytes / 1e6:.0f} MB with them",
        end=", ",
    )
    print(f"{taken / len(polls) / 1000:.1f} kB each")
    print(f"CPU between time-outs: {used * 100:.2f} % of a core")


async def _requests(url: str, accounts: int) -> list[bytes]:
    """What the clients of new accounts ask, who know what is new."""
    host = urlsplit(url).netloc
    made: list[bytes] = []
    async with aiohttp.ClientSession(url) as session:
        for number in range(accounts):
            name = f"idle_{os.getpid()}_{number}"
            body = {"username": name, "password": name, "auth": {"type": "m.login.dummy"}}
            async with session.post("/_matrix/client/v3/register", json=body) as answer:
                token = (await answer.json())["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            query = "/_matrix/client/v3/sync?set_presence=offline"
            async with session.get(query, headers=headers) as answer:
                since = (await answer.json())["next_batch"]
            made.append(
                f"GET {query}&since={since}&timeout={_WAIT * 1000} HTTP/1.1\r\nHost: {host}\r\n"
                f"Authorization: Bearer {token}\r\n\r\n".encode()
            )
    return made


async def _open(url: str, requests: Sequence[bytes]) -> list[Poll]:
    loop, place = asyncio.get_running_loop(), urlsplit(url)

    async def ask(request: bytes) -> Poll:
        poll = Poll(request)
        await loop.create_connection(lambda: poll, place.hostname or "", place.port or 80)
        return poll

    polls: list[Poll] = []
    for start in range(0, len(requests), _AT_A_TIME):
        some = requests[start : start + _AT_A_TIME]
        polls += await asyncio.gather(*[ask(request) for request in some])
    return polls


async def _settled(pids: Sequence[int]) -> Cost:
    """What was taken once the last of them was read, and all of them wait."""
    now = _cost(pids)
    for _ in range(_SETTLING):
        before = now
        await asyncio.sleep(1)
        now = _cost(pids)
        if now.seconds - before.seconds < _QUIET:
            break
    return now


def _cost(pids: Sequence[int]) -> Cost:
    found = {pid for top in pids for pid in _tree(top)}
    return Cost(sum(map(_memory, found)), sum(map(_cpu, found)))


def _tree(pid: int) -> Iterator[int]:
    """A process with all that came of it."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            yield from _tree(int(child))


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
