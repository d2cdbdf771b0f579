"""How long a large room of other servers takes to be joined, and what that costs.

    python -m benchmarks.joining FOLDER [--members N] [--servers N] [--rate R] [--whole]

A server made of `federation` alone has a room of 20,000 members of 500 servers, none of which can
be reached. A Hearth joins it; prints when its user can read and write, when all members are known,
and the CPU and memory of the Hearth until then. Then a second Hearth joins through the first.

With `--rate`, the room is told no faster than so many megabytes a second, as over a network; with
`--whole`, all of it is told at once, as by servers that never leave the members out.
"""

import argparse
import asyncio
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from aiohttp import web

from benchmarks import server
from benchmarks.processes import Costs, costs_of
from benchmarks.rooms import VERSION, LargeRoom, joined, large_room
from federation import x_matrix
from federation.building import Draft, Signer, template
from federation.canonical_json import JsonObject
from federation.events import Event, parse
from federation.identifiers import EventID, ServerName, UserID
from federation.server_keys import build_document, notarise, parse_document
from federation.signing import SigningKey
from homeserver.demo.authority import Authority

_V3 = "/_matrix/client/v3"
_DAY = 86_400_000
_AT_ONCE = 1 << 17
"""Bytes that are sent in one go where the rate matters."""
_PATIENCE = 500.0
"""Seconds within which everything has to be done."""


class Resident:
    """Answers as the server in the room does; most answers are made before anybody asks."""

    def __init__(self, room: LargeRoom, rate: float = 0, *, is_whole: bool = False) -> None:
        self._room = room
        self._rate, self._is_whole = rate, is_whole
        self._state = list(room.state.values())
        chain = room.chain(self._state)
        raw, raw_chain = _raw(self._state), _raw(chain)
        self._whole = b'{"pdus":%s,"auth_chain":%s}' % (raw, raw_chain)
        ids = {"pdu_ids": _ids(self._state), "auth_chain_ids": _ids(chain)}
        self._ids = json.dumps(ids).encode()
        self.told: list[JsonObject] = []
        """Events that were sent to it."""
        self.came = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        what, *names = request.path.split("/")[4:]
        body = await request.json() if request.can_read_body else {}
        if what == "state":
            return await self._reply(request, self._whole)
        if what == "state_ids":
            return await self._reply(request, self._ids)
        if what == "send_join":
            is_partial = request.query.get("omit_members") == "true" and not self._is_whole
            return await self._reply(request, self._send_join(body, is_partial))
        return web.json_response(self._small(what, names, body))

    async def _reply(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Answer at the rate that was asked for."""
        if not self._rate:
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(body), _AT_ONCE):
            await response.write(body[at : at + _AT_ONCE])
            await asyncio.sleep(_AT_ONCE / self._rate / 1e6)
        return response

    def _small(self, what: str, names: list[str], body: Any) -> Any:
        room = self._room
        if what == "make_join":
            user, content = UserID(names[1]), {"membership": "join"}
            place = room.place("m.room.member", user, user, content)
            draft = Draft("m.room.member", user, content, user, room.room_id)
            made = template(draft, place, VERSION, now_ms())
            return {"event": made, "room_version": VERSION.name}
        if what == "server":
            return build_document(room.host.server, [room.host.key], [], now_ms() + _DAY)
        if what == "query":
            return {"server_keys": [self._keys(name) for name in body["server_keys"]]}
        if what == "send":
            self.told += body["pdus"]
            self.came.set()
            return {"pdus": {}}
        if what == "event":
            return {"pdus": [json.loads(room.events[EventID(names[0])].json)]}
        if what == "event_auth":
            chain = room.chain([room.events[EventID(names[1])]])
            return {"auth_chain": [json.loads(event.json) for event in chain]}
        return {"events": [], "pdus": []}

    def _keys(self, name: str) -> JsonObject:
        signer = self._room.signers[ServerName(name)]
        fields = build_document(signer.server, [signer.key], [], now_ms() + _DAY)
        document = parse_document(fields, signer.server, now_ms())
        return notarise(document, self._room.host.server, [self._room.host.key])

    def _send_join(self, body: Any, is_partial: bool) -> bytes:
        event = parse(json.dumps(body).encode(), VERSION).event
        self._room.add(event)
        kept = self._state
        if is_partial:
            kept = [one for one in kept if one.type != "m.room.member"]
        servers = sorted({one.sender.partition(":")[2] for one in joined(self._state)})
        rest = {"members_omitted": is_partial, "servers_in_room": servers, "event": body}
        told = b'"state":%s,"auth_chain":%s,' % (_raw(kept), _raw(self._room.chain(kept)))
        return b"{" + told + json.dumps(rest).encode()[1:]


class Person:
    """Somebody at a Hearth."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._headers: dict[str, str] = {}
        self.user_id = ""

    async def register(self, name: str) -> None:
        """Make an account."""
        auth = {"type": "m.login.dummy"}
        body = {"username": name, "password": "a good long password", "auth": auth}
        answer = await self.ask("POST", "/register", body)
        self._headers = {"Authorization": f"Bearer {answer['access_token']}"}
        self.user_id = answer["user_id"]

    async def ask(
        self, method: str, path: str, body: Any = None, *, passing: int | None = None
    ) -> Any:
        """Make a request, which has to be answered with 200; `None` for a failure that passes."""
        async with self._session.request(
            method, self._url + _V3 + path, json=body, headers=self._headers
        ) as response:
            found = await response.json()
            if response.status == passing:
                return None
            if response.status != 200:
                sys.exit(f"{method} {path}: {response.status} {found}")
            return found

    async def read(self, room_id: str, text: str, since: str) -> None:
        """Return once the text is in the room, by `/sync`."""
        while True:
            synced = await self.ask("GET", f"/sync?since={quote(since)}&timeout=10000")
            since = synced["next_batch"]
            told = synced["rooms"].get("join", {}).get(room_id, {}) if "rooms" in synced else {}
            if text in json.dumps(told.get("timeline", {})):
                return


class Times(NamedTuple):
    """Seconds since somebody asked to join."""

    answered: float
    usable: float
    """They have sent a message, and read one of another server's member."""
    complete: float
    """They were told all members."""


async def _join(person: Person, room: LargeRoom, via: str, say: Any) -> Times:
    began = time.monotonic()
    path = quote(room.room_id)
    await person.ask("POST", f"/join/{path}?via={via}", {})
    answered = time.monotonic() - began
    body = {"msgtype": "m.text", "body": "I am here"}
    since = (await person.ask("GET", "/sync?timeout=0"))["next_batch"]
    await person.ask("PUT", f"/rooms/{path}/send/m.room.message/1", body)
    await say()
    await person.read(room.room_id, "welcome", since)
    usable = time.monotonic() - began
    await all_there(person, room)
    return Times(answered, usable, time.monotonic() - began)


async def all_there(person: Person, room: LargeRoom) -> None:
    """Return once somebody is told all members of the room."""
    while True:
        found = await person.ask("GET", f"/rooms/{quote(room.room_id)}/joined_members", passing=502)
        if found and len(found["joined"]) >= len(joined(room.state.values())):
            return
        await asyncio.sleep(0.1)


async def main() -> None:
    """Measure."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(options.folder)
    host = Signer(
        ServerName(f"127.0.0.1:{options.port + 9}"), SigningKey.from_seed("ed25519:h", bytes(32))
    )
    began = time.monotonic()
    room = large_room(host, options.members, options.servers, now_ms())
    resident = Resident(room, options.rate, is_whole=options.whole)
    size = f"{len(room.state)} of state, {len(room.chain(room.state.values()))} behind them"
    print(f"made in {time.monotonic() - began:.1f} s: {size}", flush=True)
    running = [
        server.start(options.folder / name, options.port + at, 1, authority)
        for name, at in (("first", 0), ("second", 2))[: 1 if options.alone else 2]
    ]
    try:
        for one in running:
            server.wait(one)
        async with asyncio.timeout(_PATIENCE), answering(resident, authority, options.port + 9):
            await _measure(running, resident, room)
    finally:
        for one in running:
            one.process.send_signal(signal.SIGTERM)
        for one in running:
            one.process.wait()


async def _measure(running: list[server.Running], resident: Resident, room: LargeRoom) -> None:
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        first, *others = (Person(session, one.url) for one in running)
        await first.register("ann")
        before = costs_of(running[0])

        async def welcome() -> None:
            member = next(e for e in room.state.values() if "m00007" in (e.state_key or ""))
            await asyncio.wait_for(resident.came.wait(), 30)
            take(room, resident.told)
            text = {"msgtype": "m.text", "body": "welcome"}
            sent = room.say("m.room.message", UserID(member.sender), text)
            name = running[0].name
            await send(session, room.host, name, running[0].url, [sent])

        times = await _join(first, room, room.host.server, welcome)
        _print("from another server", times, before, costs_of(running[0]))

        if not others:
            return
        (second,) = others
        await second.register("bob")

        async def welcome_again() -> None:
            text = {"msgtype": "m.text", "body": "welcome"}
            await first.ask("PUT", f"/rooms/{quote(room.room_id)}/send/m.room.message/2", text)

        before, answering = costs_of(running[1]), costs_of(running[0])
        room.add(room.say("m.room.topic", room.owner, {"topic": second.user_id}, ""))
        times = await _join(second, room, running[0].name, welcome_again)
        _print("from the first Hearth", times, before, costs_of(running[1]))
        _print("  which answered", None, answering, costs_of(running[0]))


def take(room: LargeRoom, told: Iterable[JsonObject]) -> None:
    """What others say is part of the room."""
    for one in told:
        event = parse(json.dumps(one).encode(), VERSION).event
        if event.event_id not in room.events:
            room.add(event)


async def send(
    session: aiohttp.ClientSession, host: Signer, to: str, url: str, events: list[Event]
) -> None:
    """Send events to a Hearth, which has to take them."""
    path = f"/_matrix/federation/v1/send/{now_ms()}"
    body = {
        "origin": host.server,
        "origin_server_ts": now_ms(),
        "pdus": [json.loads(event.json) for event in events],
    }
    header = x_matrix.sign_request(
        key=host.key,
        origin=host.server,
        destination=ServerName(to),
        method="PUT",
        uri=path,
        content=body,
    )
    headers = {"Authorization": header}
    async with session.put(f"https://{to}{path}", json=body, headers=headers) as response:
        found = await response.json()
        if any(found["pdus"].values()):
            sys.exit(f"{url} refuses events: {found}")


@asynccontextmanager
async def answering(resident: Resident, authority: Authority, port: int) -> AsyncIterator[None]:
    """Have the resident answer at a port."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", resident.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    made = authority.issue("resident")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _print(what: str, times: Times | None, before: Costs, after: Costs) -> None:
    said = f"{what:<22}"
    if times:
        said += f" answered {times.answered:5.2f} s  usable {times.usable:5.2f} s"
        said += f"  complete {times.complete:5.2f} s"
    cpu, database = after.cpu - before.cpu, after.database - before.database
    print(f"{said}  CPU {cpu:.1f} s + database {database:.1f} s", end="")
    print(f"  peak memory {after.peak >> 20} MB", flush=True)


def _raw(events: Iterable[Event]) -> bytes:
    return b"[" + b",".join(event.json for event in events) + b"]"


def _ids(events: Iterable[Event]) -> list[str]:
    return [event.event_id for event in events]


def now_ms() -> int:
    """The time, in milliseconds."""
    return time.time_ns() // 1_000_000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where data are; must be new")
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument("--servers", type=int, default=500)
    parser.add_argument("--port", type=int, default=18108)
    parser.add_argument("--rate", type=float, default=0, help="megabytes a second")
    parser.add_argument("--whole", action="store_true", help="no members are left out")
    parser.add_argument("--alone", action="store_true", help="without the second Hearth")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
