"""Whom we trust to vouch for other servers' names.

https://spec.matrix.org/v1.19/server-server-api/#tls
"""

import ssl
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Which certificates are accepted."""

    ca_file: Path | None = None
    """Further certificate authorities, PEM."""

    system_trust: bool = True
    """Whether the authorities of the operating system are trusted."""

    unverified: tuple[str, ...] = ()
    """Names (`*.onion`) whose certificates are not looked at. Only where something else proves
    who answers, or in tests: whoever is on the way can read and write all that is exchanged."""


class TlsContexts:
    """One context that verifies certificates and one that does not, and which name takes which."""

    def __init__(self, settings: TlsSettings) -> None:
        self._unverified_names = tuple(pattern.lower() for pattern in settings.unverified)
        self._verified = _verified(settings)
        self._unverified = _unverified()

    def context_for(self, name: str) -> ssl.SSLContext:
        """The context for a server that should present a certificate for `name`."""
        folded = name.lower()
        if any(fnmatchcase(folded, pattern) for pattern in self._unverified_names):
            return self._unverified
        return self._verified


def _verified(settings: TlsSettings) -> ssl.SSLContext:
    context = _context()
    if settings.system_trust:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.ca_file:
        context.load_verify_locations(settings.ca_file)
    return context


def _unverified() -> ssl.SSLContext:
    context = _context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
