"""What 1,000 servers that never answer cost the one that shares a room with them.

    python -m benchmarks.dead_destinations FOLDER [--servers N] [--seconds N] [--port PORT]

A Hearth joins a room with members of servers that cannot be reached, and says something there.
Prints what turning to all of them for the first time costs, what they cost in peace once they are
left alone for a day, and what each message costs then.
"""

import argparse
import asyncio
import signal
import time
from pathlib import Path
from urllib.parse import quote

import aiohttp

from benchmarks import server
from benchmarks.joining import Person, Resident, answering
from benchmarks.processes import Costs, costs_of
from benchmarks.rooms import LargeRoom, large_room
from federation.building import Signer
from federation.identifiers import ServerName
from federation.signing import SigningKey
from homeserver.demo.authority import Authority
from homeserver.peers.pauses import INTERVAL

_MESSAGES = 20
_MOST = 600.0
"""Seconds within which all have been tried."""
_SETTINGS = {"federation": {"retry_minimum": "1d", "retry_maximum": "1d"}}
"""As they are after some hours, at once."""


async def main() -> None:
    """Measure."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(options.folder)
    key = SigningKey.from_seed("ed25519:h", bytes(32))
    host = Signer(ServerName(f"127.0.0.1:{options.port + 9}"), key)
    room = large_room(host, options.servers + 1, options.servers, time.time_ns() // 1_000_000)
    running = server.start(options.folder / "one", options.port, 1, authority, _SETTINGS)
    try:
        server.wait(running)
        async with answering(Resident(room), authority, options.port + 9):
            connector = aiohttp.TCPConnector(ssl=False)
            async with aiohttp.ClientSession(connector=connector) as session:
                person = Person(session, running.url)
                await person.register("ann")
                await _measure(person, room, running, options)
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait()


async def _measure(
    person: Person, room: LargeRoom, running: server.Running, options: argparse.Namespace
) -> None:
    path, body = quote(room.room_id), {"msgtype": "m.text", "body": "hello"}
    await person.ask("POST", f"/join/{path}?via={room.host.server}", {})
    await person.ask("GET", f"/rooms/{path}/joined_members")
    before, began = costs_of(running), time.monotonic()
    await person.ask("PUT", f"/rooms/{path}/send/m.room.message/first", body)
    await asyncio.sleep(options.servers * INTERVAL)
    await _quiet(running)
    _print("turning to all", before, costs_of(running), time.monotonic() - began, options.servers)
    before = costs_of(running)
    await asyncio.sleep(options.seconds)
    _print("in peace", before, costs_of(running), options.seconds, 0)
    before, began = costs_of(running), time.monotonic()
    for number in range(_MESSAGES):
        await person.ask("PUT", f"/rooms/{path}/send/m.room.message/{number}", body)
    await asyncio.sleep(1)
    _print("messages", before, costs_of(running), time.monotonic() - began, _MESSAGES)


async def _quiet(running: server.Running) -> None:
    """Return once next to nothing was done for five seconds."""
    async with asyncio.timeout(_MOST):
        while True:
            before = costs_of(running)
            await asyncio.sleep(5)
            if _total(costs_of(running)) - _total(before) < 0.1:
                return


def _total(costs: Costs) -> float:
    return costs.cpu + costs.database


def _print(what: str, before: Costs, after: Costs, seconds: float, count: int) -> None:
    cpu, database = after.cpu - before.cpu, after.database - before.database
    said = f"{what:<15} {seconds:6.1f} s  CPU {cpu:.2f} s + database {database:.2f} s"
    said += f"  {100 * (cpu + database) / seconds:.2f} % of a core"
    if count:
        said += f"  {1000 * (cpu + database) / count:.1f} ms each"
    print(said, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where data are; must be new")
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of peace")
    parser.add_argument("--port", type=int, default=18208)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
