"""What is allowed in a registration and may yet be a mistake. Pure.

https://spec.matrix.org/v1.19/application-service-api/#registration
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from federation.identifiers import ServerName
from homeserver.accounts.app_services import AppService, includes

KNOWN = frozenset(
    {
        "id",
        "url",
        "as_token",
        "hs_token",
        "sender_localpart",
        "namespaces",
        "rate_limited",
        "protocols",
        "receive_ephemeral",
        "push_ephemeral",
        "de.sorunome.msc2409.push_ephemeral",
        "org.matrix.msc3202",
        "io.element.msc4190",
    }
)
"""What a registration may say that means something here."""
_SHORTEST = 32
"""Characters of a token that nobody guesses, as bridges make them."""
_STRANGER = "qzv7-nobody-of-this-bridge"
"""A name that is in no namespace but those of everything."""


class Risk(NamedTuple):
    """Something to look at again."""

    path: str
    """Where in the registration."""
    reason: str


def risks(service: AppService, keys: Iterable[str], server: ServerName) -> Iterator[Risk]:
    """What is risky about a registration.

    Args:
        service: as it was read.
        keys: the names at the top of the file.
        server: this one.

    """
    yield from _unknown(keys)
    yield from _tokens(service)
    yield from _way(service)
    yield from _users(service, server)
    for kind, namespaces, name in (
        ("aliases", service.aliases, f"#{_STRANGER}:{server}"),
        ("rooms", service.rooms, f"!{_STRANGER}:{server}"),
    ):
        if includes(namespaces, name):
            yield Risk(f"namespaces.{kind}", f"takes in all {kind}, those of others too")


def _unknown(keys: Iterable[str]) -> Iterator[Risk]:
    for key in sorted(set(keys) - KNOWN):
        yield Risk(key[:80], "means nothing here; perhaps a slip of the pen")


def _tokens(service: AppService) -> Iterator[Risk]:
    given = {"as_token": service.as_token.reveal(), "hs_token": service.hs_token.reveal()}
    for name, token in given.items():
        if len(token) < _SHORTEST:
            yield Risk(name, f"shorter than {_SHORTEST} characters: it might be guessed")
    if given["as_token"] == given["hs_token"]:
        reason = "the same as as_token: whoever is sent the one can use the other"
        yield Risk("hs_token", reason)


def _way(service: AppService) -> Iterator[Risk]:
    if service.url is None:
        if service.wants_ephemeral or service.wants_encryption:
            yield Risk("url", "null, so nothing is sent, and what it wants to hear of least of all")
        return
    parts = urlsplit(service.url)
    if parts.scheme == "http" and not _is_near(parts.hostname or ""):
        yield Risk("url", "http to another host: messages and tokens can be read on the way")


def _is_near(host: str) -> bool:
    """Whether what is sent there stays in the house; names without a dot are containers'."""
    if host == "localhost" or ("." not in host and ":" not in host):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private


def _users(service: AppService, server: ServerName) -> Iterator[Risk]:
    for number, namespace in enumerate(service.users):
        path = f"namespaces.users[{number}]"
        if namespace.includes(f"@{_STRANGER}:{server}"):
            what = "nobody else can register" if namespace.exclusive else "it may act as anybody"
            yield Risk(f"{path}.regex", f"takes in everybody of this server: {what}")
        elif not namespace.exclusive:
            reason = "not exclusive: anybody may register a name that looks like a ghost's"
            yield Risk(f"{path}.exclusive", reason)
