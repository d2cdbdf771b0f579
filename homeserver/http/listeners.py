"""Where requests come in: sockets, bound before the workers are made, and what each one answers.

A socket is bound once, by the parent; each worker listens and accepts on what it inherits.
"""

import socket
import ssl
import stat
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from federation.net.addresses import IPAddress
from homeserver.config.settings import Listener, Service, Tls


@dataclass(frozen=True, slots=True)
class Door:
    """A bound socket, and what is answered there."""

    socket: socket.socket
    serves: frozenset[Service]
    tls: ssl.SSLContext | None = None


def door(listener: Listener) -> Door:
    """Bind what a setting says.

    Raises:
        OSError: the address is taken, or none of ours.
        ssl.SSLError: the certificate and its key cannot be used.

    """
    tls = None if listener.tls is None else tls_context(listener.tls)
    return Door(bind(listener.address, listener.port), frozenset(listener.serves), tls)


def bind(address: IPAddress, port: int) -> socket.socket:
    """Bind a TCP port; 0 is any. `::` is all addresses, IPv4 too."""
    is_v6 = isinstance(address, IPv6Address)
    bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not _is_any(address)))
        bound.bind((str(address), port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_unix(path: Path, mode: int = 0o660) -> socket.socket:
    """Bind a Unix socket for a proxy on this machine, in place of one that was left behind.

    Raises:
        OSError: something else is there, or the folder is not ours.

    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        bound.bind(str(path))
        path.chmod(mode)
    except OSError:
        bound.close()
        raise
    return bound


def tls_context(settings: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later with a listener's own certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_any(address: IPAddress) -> bool:
    return address.is_unspecified
