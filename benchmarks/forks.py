"""How quickly a room with many unresolved forks and a large state takes in events.

    python -m benchmarks.forks FOLDER [--members N] [--forks N] [--port PORT]

A server made of `federation` alone has a room of 10,000 members, which a Hearth joins. Then the
room forks: each fork bans somebody, changes the topic, and adds an entry of its own. Prints how
long the Hearth takes to answer each, and an event that builds on twenty of them.
"""

import argparse
import asyncio
import copy
import signal
import statistics
import time
from pathlib import Path

import aiohttp

from benchmarks import server
from benchmarks.joining import Person, Resident, all_there, answering, now_ms, send, take
from benchmarks.processes import costs_of
from benchmarks.rooms import VERSION, LargeRoom, large_room
from federation.auth import select
from federation.building import Draft, Place, Signer, build
from federation.events import Event
from federation.identifiers import ServerName
from federation.signing import SigningKey
from homeserver.demo.authority import Authority

_PATIENCE = 500.0
_MOST_PARENTS = 20


async def main() -> None:
    """Measure."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(options.folder)
    name = ServerName(f"127.0.0.1:{options.port + 9}")
    host = Signer(name, SigningKey.from_seed("ed25519:h", bytes(32)))
    room = large_room(host, options.members, 0, now_ms())
    resident = Resident(room)
    running = server.start(options.folder / "first", options.port, 1, authority)
    try:
        server.wait(running)
        async with asyncio.timeout(_PATIENCE), answering(resident, authority, options.port + 9):
            await _measure(running, resident, room, options.forks)
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait()


async def _measure(
    running: server.Running, resident: Resident, room: LargeRoom, count: int
) -> None:
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        ann = Person(session, running.url)
        await ann.register("ann")
        path = f"/rooms/{room.room_id}"
        await ann.ask("POST", f"/join/{room.room_id}?via={room.host.server}", {})
        await asyncio.wait_for(resident.came.wait(), 60)
        take(room, resident.told)
        await all_there(ann, room)
        banned = [key for (kind, key), e in room.state.items() if e.membership == "join"][2:]
        tips, took = [], []
        before = costs_of(running)
        for number in range(count):
            fork = copy.copy(room)
            fork.state = dict(room.state)
            events = [
                fork.say("m.room.member", room.owner, {"membership": "ban"}, banned[number]),
                fork.say("m.room.topic", room.owner, {"topic": f"fork {number}"}, ""),
                fork.say("org.hearth.fork", room.owner, {"number": number}, f"{number}"),
            ]
            took.append(await _timed(session, running, room.host, events))
            tips.append(events[-1])
        after = costs_of(running)
        _print(f"each of {count} forks", took, (after.cpu - before.cpu) / count)
        merged = _on_top(room, tips[-_MOST_PARENTS:])
        _print("an event on top of some", [await _timed(session, running, room.host, [merged])])
        body = {"msgtype": "m.text", "body": "on top of all"}
        began = time.monotonic()
        await ann.ask("PUT", f"{path}/send/m.room.message/1", body)
        _print("a message from here", [time.monotonic() - began])


def _on_top(room: LargeRoom, tips: list[Event]) -> Event:
    content = {"msgtype": "m.text", "body": "merged"}
    cited = select("m.room.message", room.owner, None, content, VERSION)
    auth = [room.state[key] for key in cited if key in room.state]
    draft = Draft("m.room.message", room.owner, content, None, room.room_id)
    return build(draft, Place(tips, auth), VERSION, room.host, now=now_ms())


async def _timed(
    session: aiohttp.ClientSession, running: server.Running, host: Signer, events: list[Event]
) -> float:
    began = time.monotonic()
    await send(session, host, running.name, running.url, events)
    return time.monotonic() - began


def _print(what: str, took: list[float], cpu: float | None = None) -> None:
    said = f"{what:<26} median {1e3 * statistics.median(took):6.0f} ms  most {1e3 * max(took):6.0f}"
    print(said + (f" ms  CPU {1e3 * cpu:.0f} ms each" if cpu else " ms"), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where data are; must be new")
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--port", type=int, default=18108)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
