import asyncio
import datetime
import os
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from homeserver.config.settings import Listener, Tls
from homeserver.http.binding import bound
from homeserver.http.dispatch import Rim
from homeserver.http.limits import Limits
from homeserver.http.listeners import Door, bind, bind_unix, door
from homeserver.http.server import HttpServer
from tests.http.rig import (
    PREFIX,
    RATES,
    Clock,
    Gatekeeper,
    House,
    Wire,
    admin,
    client,
    federation,
    terms,
)


def certificate(folder: Path) -> Tls:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Tls(certificate=folder / "cert.pem", key=folder / "key.pem")


def server(doors: list[Door]) -> HttpServer:
    rim = Rim(Gatekeeper(), Limits(RATES, 1, Clock()), terms(), asyncio.Event(), lambda *_: None)
    return HttpServer(doors, bound([client, federation, admin], House()), rim)


def free_port() -> int:
    with bind(IPv4Address("127.0.0.1"), 0) as taken:
        return int(taken.getsockname()[1])


async def test_each_door_answers_what_it_serves(tmp_path: Path) -> None:
    """Four doors of one server: a port, a TLS port, a Unix socket, and one for administrators."""
    tls = certificate(tmp_path)
    plain = door(Listener(port=free_port(), serves=("client",)))
    secure = door(Listener(port=free_port(), serves=("federation", "client"), tls=tls))
    unix = Door(bind_unix(tmp_path / "hearth.sock"), frozenset({"client"}))
    private = door(Listener(port=free_port(), serves=("admin",)))
    serving = server([plain, secure, unix, private])
    await serving.start()
    trusting = ssl.create_default_context(cafile=tls.certificate)

    async def statuses(opened: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> list[int]:
        wire = Wire(*opened)
        asked = [
            await wire.ask("GET", f"{PREFIX}/page"),
            await wire.ask("GET", "/_matrix/federation/v1/send/1"),
            await wire.ask("GET", "/_synapse/admin/v1/room"),
        ]
        wire.writer.close()
        await wire.writer.wait_closed()
        return [answered.status for answered in asked]

    try:
        port = plain.socket.getsockname()[1]
        assert await statuses(await asyncio.open_connection("127.0.0.1", port)) == [200, 404, 404]
        port = secure.socket.getsockname()[1]
        opened = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
        )
        assert await statuses(opened) == [200, 405, 404]
        opened = await asyncio.open_unix_connection(tmp_path / "hearth.sock")
        assert await statuses(opened) == [200, 404, 404]
        port = private.socket.getsockname()[1]
        assert await statuses(await asyncio.open_connection("127.0.0.1", port)) == [404, 404, 401]
    finally:
        await serving.stop(1)


async def test_two_servers_share_a_socket() -> None:
    """As workers do: one ends, the other goes on."""
    shared = bind(IPv4Address("127.0.0.1"), 0)
    port = shared.getsockname()[1]
    first, second = (server([Door(half, frozenset({"client"}))]) for half in (shared, shared.dup()))
    await first.start()
    await second.start()
    await first.stop(1)
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
    assert (await wire.ask("GET", f"{PREFIX}/page")).status == 200
    wire.writer.close()
    await second.stop(1)


def test_a_unix_socket_takes_the_place_of_one_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "hearth.sock"
    bind_unix(path).close()
    with bind_unix(path, mode=0o600):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_unix_socket_takes_the_place_of_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OSError):
        bind_unix(path)
    assert path.read_text() == "mine"


def test_a_taken_port() -> None:
    with bind(IPv4Address("127.0.0.1"), 0) as taken:
        taken.listen()
        with pytest.raises(OSError):
            bind(IPv4Address("127.0.0.1"), taken.getsockname()[1])


@pytest.mark.parametrize(("address", "v6_only"), [("::", 0), ("::1", 1)])
def test_all_addresses_are_those_of_both_kinds(address: str, v6_only: int) -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110
        pytest.skip("this machine has no IPv6")
    parsed = ip_address(address)
    assert isinstance(parsed, IPv6Address)
    with bind(parsed, 0) as bound_socket:
        assert bound_socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == v6_only


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    good, other = certificate(tmp_path), certificate(tmp_path / "other")
    with pytest.raises(ssl.SSLError):
        door(Listener(port=free_port(), tls=Tls(certificate=good.certificate, key=other.key)))
