"""A small Internet on 127.0.0.1: names, addresses, certificates, servers and proxies.

Public addresses exist in `Internet.routes` only: `dial` connects to a loopback port instead, and
writes down where the connection was meant to go.
"""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from federation.errors import DiscoveryError
from federation.identifiers import ServerName
from federation.net.addresses import AddressPolicy, IPAddress
from federation.net.client import FederationClient
from federation.net.discovery import Discovery
from federation.net.dns import SrvRecord
from federation.net.tls import TlsSettings
from federation.net.transport import Limits, Transport
from federation.net.well_known import WellKnown
from federation.signing import SigningKey

OUR_NAME = ServerName("hearth.example")
OUR_KEY = SigningKey.from_seed("ed25519:1", b"\1" * 32)


class Clock:
    """Unix time in seconds, standing still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Authority:
    """A certificate authority that nobody but these tests trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Loopback CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _certificate(self._name, self._name, self._key.public_key())
        certificate = builder.add_extension(constraints, critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._issued: dict[tuple[str, ...], Path] = {}

    def server_context(self, *names: str) -> ssl.SSLContext:
        """TLS for a server with a certificate for `names`, DNS names or IP addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(*names))
        return context

    def certificate(self, *names: str) -> Path:
        """A file with a key and a certificate for `names`."""
        if names not in self._issued:
            self._issued[names] = self._issue(names)
        return self._issued[names]

    def _issue(self, names: tuple[str, ...]) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(x509.Name([]), self._name, key.public_key())
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        certificate = builder.add_extension(alternatives, critical=True).sign(
            self._key, hashes.SHA256()
        )
        file = self._folder / f"{len(self._issued)}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return file


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class FakeDns:
    """A `Resolver` whose records the test writes; several answers for one host come in turn."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[Sequence[str]]] = {}
        self.services: dict[str, Sequence[SrvRecord]] = {}
        self.failing: set[str] = set()
        self.asked: list[str] = []

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        self._ask(host)
        answers = self.hosts.get(host, [()])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ipaddress.ip_address(text) for text in answer]

    async def srv(self, name: str) -> Sequence[SrvRecord]:
        self._ask(name)
        return self.services.get(name, ())

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self.failing:
            raise DiscoveryError(f"the DNS did not answer for {name}: SERVFAIL")


@dataclass(frozen=True)
class Seen:
    """A request as a server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    sni: str | None
    connection: int


Respond = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


def http(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A response on the wire."""
    fields = {"Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answering(*responses: bytes) -> Respond:
    """Give the responses in turn, the last one again and again."""
    left = list(responses)

    async def respond(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return respond


class Listener:
    """A TCP server on a loopback port whose connections end with it."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Any:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._context, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except (OSError, EOFError):
            pass  # the other side went away
        finally:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Server(Listener):
    """An HTTPS server that writes down what it sees."""

    def __init__(self, context: ssl.SSLContext, respond: Respond) -> None:
        super().__init__(context)
        context.sni_callback = self._remember_sni
        self._respond = respond
        self._names: dict[ssl.SSLObject, str | None] = {}
        self.seen: list[Seen] = []
        self.connections = 0

    def _remember_sni(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._names[tls] = name

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        sni = self._names.get(writer.get_extra_info("ssl_object"))
        while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
            request, *lines = head.strip().split("\r\n")
            method, target, _ = request.split(" ")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            seen = Seen(method, target, headers, body, sni, connection)
            self.seen.append(seen)
            await self._respond(seen, writer)
            await writer.drain()


class _ProxyServer(Listener):
    def __init__(self, routes: dict[tuple[str, int], int]) -> None:
        super().__init__()
        self._routes = routes
        self.asked: list[tuple[str, int]] = []

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        where: tuple[str, int],
        agreed: bytes,
        refused: bytes,
    ) -> None:
        self.asked.append(where)
        if where not in self._routes:
            writer.write(refused)
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._routes[where])
        writer.write(agreed)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.transport.abort()


class ConnectProxy(_ProxyServer):
    """An HTTP proxy that knows CONNECT only."""

    def __init__(self, routes: dict[tuple[str, int], int]) -> None:
        super().__init__(routes)
        self.authorizations: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.authorizations += [
            line.partition(": ")[2]
            for line in head.split("\r\n")
            if line.startswith("Proxy-Authorization")
        ]
        host, _, port = head.split(" ")[1].rpartition(":")
        agreed, refused = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 502 No\r\n\r\n"
        await self._join(reader, writer, (host, int(port)), agreed, refused)


class SocksProxy(_ProxyServer):
    """A SOCKS5 proxy without authentication (RFC 1928)."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\5\0")
        *_, kind = await reader.readexactly(4)
        if kind == 3:  # a name
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        bound = b"\0\1" + bytes(6)
        await self._join(reader, writer, (host, port), b"\5\0" + bound, b"\5\5" + bound)


@dataclass
class Internet:
    """Everything that a test needs to reach servers, and what has been reached."""

    authority: Authority
    stack: AsyncExitStack
    dns: FakeDns = field(default_factory=FakeDns)
    clock: Clock = field(default_factory=Clock)
    routes: dict[tuple[str, int], int] = field(default_factory=dict)
    """The loopback port behind a host or address and its port."""
    dialled: list[tuple[str, int]] = field(default_factory=list)

    async def serve(
        self, names: str | tuple[str, ...], address: str, port: int, respond: Respond | bytes
    ) -> Server:
        """Start a server with a certificate for `names` that is reached at `address`."""
        context = self.authority.server_context(*([names] if isinstance(names, str) else names))
        if isinstance(respond, bytes):
            respond = answering(respond)
        server: Server = await self.stack.enter_async_context(Server(context, respond))
        self.routes[address, port] = server.port
        return server

    async def dial(self, addresses: Sequence[IPAddress], port: int) -> socket.socket:
        for address in addresses:
            where = (str(address), port)
            self.dialled.append(where)
            if where in self.routes:
                sock = socket.socket()
                sock.setblocking(False)
                target = ("127.0.0.1", self.routes[where])
                await asyncio.get_running_loop().sock_connect(sock, target)
                return sock
        raise ConnectionRefusedError(f"nobody listens at {addresses} {port}")

    def transport(self, policy: AddressPolicy = AddressPolicy(), **options: Any) -> Transport:  # noqa: B008
        """A transport that trusts our authority, closed with the test."""
        options.setdefault("dial", self.dial)
        tls = TlsSettings(ca_file=self.authority.file, system_trust=False)
        transport = Transport(self.dns, policy, **{"tls": tls, **options})
        self.stack.push_async_callback(transport.close)
        return transport

    def well_known(self, transport: Transport | None = None, **options: Any) -> WellKnown:
        well_known = WellKnown(transport or self.transport(), self.clock, **options)
        self.stack.push_async_callback(well_known.close)
        return well_known

    def discovery(self, transport: Transport | None = None) -> Discovery:
        return Discovery(self.dns, self.well_known(transport), Random(1))

    def client(
        self,
        transport: Transport | None = None,
        limits: Limits = Limits(),  # noqa: B008
    ) -> FederationClient:
        transport = transport or self.transport()
        return FederationClient(
            server_name=OUR_NAME,
            key=OUR_KEY,
            discovery=self.discovery(transport),
            transport=transport,
            limits=limits,
        )
