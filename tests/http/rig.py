"""A small house with one endpoint of each kind, served on real sockets, and a client in bytes."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from typing import Annotated, Any, Literal

import msgspec
from multidict import CIMultiDict

from federation.canonical_json import JsonObject
from federation.identifiers import ServerName, parse_room_alias
from homeserver.config.settings import RateLimits
from homeserver.config.values import Rate
from homeserver.errors import Forbidden, GuestAccessForbidden, NotFound, UnknownToken
from homeserver.http import (
    Auth,
    BodyStream,
    Caller,
    Json,
    Limit,
    Reply,
    Request,
    Routes,
    Stream,
    redirect,
)
from homeserver.http.binding import bound
from homeserver.http.bodies import Pace
from homeserver.http.connections import Connections, Patience
from homeserver.http.decoding import check_canonical
from homeserver.http.dispatch import Rim
from homeserver.http.limits import Limits
from homeserver.http.listeners import Door, bind
from homeserver.http.requests import Terms
from homeserver.http.server import HttpServer

PREFIX = "/_matrix/client/v3"
BODY_LIMIT = 100_000


@dataclass
class House:
    """What the endpoints of the example work with: it notes what became of its requests."""

    seen: list[object] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


client = Routes("client")
federation = Routes("federation", limit="federation_requests")
admin = Routes("admin")


class Note(msgspec.Struct):
    """A body with a field that must be there."""

    text: str
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    preset: Literal["private", "public"] = "private"
    about: dict[str, Any] = {}


class Reason(msgspec.Struct):
    """A body that may be left out."""

    reason: str | None = None


class Page(msgspec.Struct):
    """A query."""

    limit: Annotated[int, msgspec.Meta(ge=0)] = 10
    direction: Literal["b", "f"] = msgspec.field(name="dir", default="f")
    full: bool = False
    via: list[str] = []
    since: str | None = None


class Needed(msgspec.Struct):
    """A query with a parameter that must be there."""

    user: str = msgspec.field(name="user_id")


@client.get(f"{PREFIX}/directory/room/{{roomAlias}}", auth=False)
async def get_room_id_by_alias(request: Request, house: House) -> Json:
    return {"alias": request.param("roomAlias", parse_room_alias)}


@client.put(f"{PREFIX}/rooms/{{roomId}}/state/{{eventType}}/{{stateKey?}}", auth=False)
async def set_room_state_with_key(request: Request, house: House, body: JsonObject) -> Json:
    check_canonical(body)
    return {**request.match_info, "body": body}


@client.get(f"{PREFIX}/pushrules/{{rest*}}", auth=False)
async def get_push_rules(request: Request, house: House) -> Json:
    return dict(request.match_info)


@client.post(f"{PREFIX}/typed", auth=False)
async def typed(request: Request, house: House, body: Note) -> Json:
    return {"text": body.text, "about": body.about}


@client.post(f"{PREFIX}/optional", auth=False)
async def optional(request: Request, house: House, body: Reason) -> Json:
    return {"reason": body.reason}


@client.post(f"{PREFIX}/absent", auth=False)
async def absent(request: Request, house: House, body: JsonObject | None) -> Json:
    return {"absent": body is None}


@client.post(f"{PREFIX}/raw", auth=False)
async def raw(request: Request, house: House, body: JsonObject) -> Json:
    return body


@client.post(f"{PREFIX}/bytes", auth=False)
async def as_bytes(request: Request, house: House, body: bytes) -> Json:
    return {"length": len(body)}


@client.post("/_matrix/media/v3/upload", auth=False, body_kind="upload")
async def upload(request: Request, house: House, body: BodyStream) -> Json:
    return {"length": sum([len(chunk) async for chunk in body]), "type": body.content_type}


@client.get(f"{PREFIX}/query", auth=False)
async def with_query(request: Request, house: House, query: Page) -> Json:
    return [query.limit, query.direction, query.full, query.via, query.since]


@client.get(f"{PREFIX}/needed", auth=False)
async def with_needed(request: Request, house: House, query: Needed) -> Json:
    return {"user": query.user}


@client.get(f"{PREFIX}/account/whoami", auth=True, also=["unstable/org.example"])
async def get_token_owner(request: Request, house: House, who: str) -> Json:
    return {"user_id": who}


@client.get(f"{PREFIX}/guests", auth=True, allows=["guest"])
async def for_guests(request: Request, house: House, who: str) -> Json:
    return {"user_id": who}


@client.get(f"{PREFIX}/anybody", auth=Auth.OPTIONAL)
async def anybody(request: Request, house: House, who: str | None) -> Json:
    return {"user_id": who}


@admin.get("/_synapse/admin/v1/room", auth=Auth.ADMINISTRATOR)
async def only_administrators(request: Request, house: House, who: str) -> Json:
    return {"user_id": who}


@client.post("/_matrix/client/v1/appservice/{appserviceId}/ping", auth=Auth.APPSERVICE)
async def ping(request: Request, house: House, who: str) -> Json:
    return {"appservice": who}


@federation.put("/_matrix/federation/v1/send/{txnId}", auth=Auth.FEDERATION)
async def send_transaction(
    request: Request, house: House, origin: ServerName, body: JsonObject
) -> Json:
    return {"origin": origin, "target": request.target, "raw": len(await request.read())}


@federation.get("/_matrix/federation/v1/waits", auth=Auth.FEDERATION)
async def waits_for_all(request: Request, house: House, origin: ServerName) -> Json:
    await house.release.wait()
    return {}


@client.put(f"{PREFIX}/limited/{{roomId}}", auth=True, limit="messages")
async def limited(request: Request, house: House, who: str) -> Json:
    return {}


@client.post(
    f"{PREFIX}/joined/{{roomId}}",
    auth=True,
    limit=[Limit("joins_per_room", by="roomId"), Limit("registration", by="address")],
)
async def limited_twice(request: Request, house: House, who: str) -> Json:
    return {}


@client.get(f"{PREFIX}/fails", auth=False)
async def fails(request: Request, house: House) -> Json:
    raise ValueError("about @somebody:example.org")


@client.get(f"{PREFIX}/disconnected", auth=False)
async def fails_to_connect(request: Request, house: House) -> Json:
    raise ConnectionRefusedError


@client.get(f"{PREFIX}/refuses", auth=False)
async def refuses(request: Request, house: House) -> Json:
    raise Forbidden("not you", room_version="12")


@client.get(f"{PREFIX}/late", auth=False, deadline=0.01)
async def late(request: Request, house: House) -> Json:
    await house.release.wait()
    return {}


@client.get(f"{PREFIX}/timeout", auth=False)
async def times_out_inside(request: Request, house: House) -> Json:
    raise TimeoutError


@client.get(f"{PREFIX}/redirect", auth=False)
async def redirects(request: Request, house: House) -> Reply:
    return redirect("https://example.org/")


@client.get(f"{PREFIX}/teapot", auth=False)
async def with_etag(request: Request, house: House) -> Reply:
    return Reply(418, {"huge": 2**70}, {"ETag": "1", "Cache-Control": "public"})


@client.get(f"{PREFIX}/page", auth=False)
async def page(request: Request, house: House) -> Reply:
    return Reply(200, b"<p>", {"Content-Type": "text/html"})


@client.get(f"{PREFIX}/stream/{{pieces}}", auth=False)
async def streamed(request: Request, house: House) -> Stream:
    pieces = request.param("pieces", int)
    return Stream(_pieces(house, pieces), {"Content-Type": "image/png"}, length=pieces * 65536)


@client.get(f"{PREFIX}/torn", auth=False)
async def torn(request: Request, house: House) -> Stream:
    return Stream(_torn(), {"Content-Type": "image/png"}, length=1_000_000)


@client.get(f"{PREFIX}/sync", auth=False)
async def sync(request: Request, house: House) -> Json:
    """A long poll: waits for the server's end."""
    house.entered.set()
    try:
        await request.stopping.wait()
    finally:
        house.left.set()
    return {"next_batch": "s1"}


@client.post(f"{PREFIX}/stubborn", auth=False)
async def stubborn(request: Request, house: House) -> Json:
    """Writes something, and takes its time."""
    house.entered.set()
    try:
        await house.release.wait()
        house.seen.append("written")
    finally:
        house.left.set()
    return {}


async def _pieces(house: House, count: int) -> AsyncGenerator[bytes, None]:
    try:
        for _ in range(count):
            yield bytes(65536)
    finally:
        house.left.set()


async def _torn() -> AsyncGenerator[bytes, None]:
    yield bytes(1000)
    raise NotFound("the disk")


class Gatekeeper:
    """Knows ann, guests, an administrator, a bridge, and a server that signs with its name."""

    async def user(self, request: Request, token: str) -> Caller:
        if token == "guest" and "guest" not in request.route.allows:
            raise GuestAccessForbidden
        if token not in {"ann", "admin", "guest"}:
            raise UnknownToken(soft_logout=False)
        return Caller(token, token, is_limited=token != "admin")

    async def administrator(self, request: Request, token: str) -> Caller:
        if token != "admin":
            raise Forbidden
        return Caller(token, token)

    async def appservice(self, request: Request, token: str) -> Caller:
        if token != "bridge":
            raise UnknownToken
        return Caller("irc", "irc", is_limited=False)

    async def server(self, request: Request) -> Caller:
        """The "signature" is the length of target and body, to show that both are at hand."""
        signed = len(request.target) + len(await request.read())
        if request.headers.get("Authorization") != f"X-Matrix {signed}":
            raise Forbidden("unsigned")
        return Caller("peer.example", "peer.example")


class Clock:
    """Milliseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return msgspec.json.decode(self.body)

    @property
    def errcode(self) -> str:
        found = self.json
        assert isinstance(found["error"], str)
        return str(found["errcode"])


class Wire:
    """One connection, in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: example.org"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    async def receive(self, *, head: bool = False) -> Answered:
        async with asyncio.timeout(10):
            return await self._receive(head=head)

    async def _receive(self, *, head: bool) -> Answered:
        begin = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = begin.decode("latin-1").splitlines()[:-1]
        headers = CIMultiDict[str]()
        for line in lines:
            name, _, value = line.partition(": ")
            headers.add(name, value)
        length = 0 if head else int(headers.get("Content-Length", 0))
        return Answered(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> Answered:
        self.send(method, target, body, **headers)
        return await self.receive(head=method == "HEAD")

    async def is_closed(self) -> bool:
        """Read on until the other side closes."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        return True


@dataclass
class Rig:
    """The house, served."""

    house: House
    server: HttpServer
    clock: Clock
    port: int
    observed: list[tuple[str, int]]
    _wires: list[Wire] = field(default_factory=list)

    async def connect(self, **how: Any) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **how)
        self._wires.append(Wire(reader, writer))
        return self._wires[-1]

    async def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> Answered:
        """One request over a connection of its own."""
        wire = await self.connect()
        return await wire.ask(method, target, body, **headers)

    @property
    def connections(self) -> Connections:
        return self.server._connections[0]

    async def close(self) -> None:
        self.house.release.set()
        await self.server.stop(within=2.0)
        for wire in self._wires:
            wire.writer.close()


RATES = RateLimits(
    messages=Rate.parse("2/10s"),
    joins_per_room=Rate.parse("1/1s"),
    registration=Rate.parse("3/1m"),
    federation_requests=Rate.parse("2/1s"),
)


def terms(**changes: Any) -> Terms:
    sizes = {"client": BODY_LIMIT, "federation": 2 * BODY_LIMIT, "upload": 10 * BODY_LIMIT}
    given: Mapping[str, Any] = {
        "trusted_proxies": (ip_network("127.0.0.0/8"),),
        "largest": sizes,
        "pace": Pace(patience=5.0),
        **changes,
    }
    return Terms(**given)


@asynccontextmanager
async def served(
    *,
    rates: RateLimits = RATES,
    patience: Patience = Patience(),  # noqa: B008 - immutable
    serves: tuple[Literal["client", "federation", "admin"], ...] = ("client", "federation"),
    tls: ssl.SSLContext | None = None,
    **changed_terms: Any,
) -> AsyncIterator[Rig]:
    """Serve the house at a port of its own."""
    house, clock = House(), Clock()
    observed: list[tuple[str, int]] = []
    rim = Rim(
        authenticator=Gatekeeper(),
        limits=Limits(rates, 1, clock),
        terms=terms(**changed_terms),
        stopping=asyncio.Event(),
        observe=lambda template, status, _: observed.append((template, status)),
    )
    door = Door(bind(IPv4Address("127.0.0.1"), 0), frozenset(serves), tls)
    endpoints = bound([client, federation, admin], house)
    server = HttpServer([door], endpoints, rim, patience)
    await server.start()
    rig = Rig(house, server, clock, door.socket.getsockname()[1], observed)
    try:
        yield rig
    finally:
        await rig.close()
