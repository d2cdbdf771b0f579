"""Reading the registration files of application services, complaining of everything at once.

https://spec.matrix.org/v1.19/application-service-api/#registration
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from federation.errors import IdentifierError
from federation.identifiers import ServerName, UserID, parse_user_id
from homeserver.accounts.app_services import AppService, AppServices, Namespace, Namespaces
from homeserver.config.settings import Settings
from homeserver.config.tree import Fields, Items, Node, Scalar, read_yaml
from homeserver.config.values import Secret
from homeserver.errors import ConfigError, Problem

_EPHEMERAL = (
    "receive_ephemeral",
    "push_ephemeral",
    # COMPAT(bridges) the name before it was stable.
    "de.sorunome.msc2409.push_ephemeral",
)
_ENCRYPTION = "org.matrix.msc3202"
_SENDER = re.compile(r"[A-Za-z0-9._=/+-]+", re.ASCII)
_NAMESPACES = {"users": "@_irc_.*", "aliases": "#_irc_.*", "rooms": "!abc:example.org"}
_POSIX = {
    "[:alpha:]": "a-zA-Z",
    "[:digit:]": "0-9",
    "[:alnum:]": "a-zA-Z0-9",
    "[:upper:]": "A-Z",
    "[:lower:]": "a-z",
    "[:xdigit:]": "0-9a-fA-F",
    "[:space:]": r"\s",
}
"""Classes of POSIX regular expressions, and how Python writes them."""


def load_app_services(settings: Settings) -> AppServices:
    """Read all registration files that the settings name.

    Raises:
        ConfigError: naming all that is wrong, with file and line.

    """
    problems: list[Problem] = []
    read = [_read_file(file, settings.server_name, problems) for file in settings.appservices.files]
    services = [service for service in read if service is not None]
    _refuse_twins(services, problems)
    older = set(settings.appservices.token_in_query)
    for unknown in sorted(older - {service.id for service in services}) if not problems else ():
        reason = "there is no registration of this id"
        problems.append(Problem("appservices.token_in_query", reason, repr(unknown)))
    if problems:
        raise ConfigError(problems)
    return AppServices([replace(one, token_in_query=one.id in older) for one in services])


def _read_file(file: Path, server: ServerName, problems: list[Problem]) -> AppService | None:
    try:
        text = file.read_text(encoding="utf-8")
        root = read_yaml(text, str(file), problems)
    except OSError as error:
        problems.append(Problem("", f"{file} cannot be read ({error.strerror or error})"))
    except UnicodeDecodeError:
        problems.append(Problem("", f"{file} is not UTF-8 text"))
    except ConfigError as error:
        problems.extend(error.problems)
    else:
        return _Registration(root, server, problems).read()
    return None


def _refuse_twins(services: Sequence[AppService], problems: list[Problem]) -> None:
    """https://spec.matrix.org/v1.19/application-service-api/#registration"""
    ids = Counter(service.id for service in services)
    for twin in (name for name, count in ids.items() if count > 1):
        reason = f"{ids[twin]} registrations have the same, which is {twin!r}"
        problems.append(Problem("id", reason, example="id: irc2"))
    tokens: dict[bytes, str] = {}
    for service in services:
        other = tokens.setdefault(service.as_token_hash, service.id)
        if other != service.id:
            reason = f"{other!r} and {service.id!r} have the same"
            problems.append(Problem("as_token", reason, example="as_token: another random text"))


class _Registration:
    """One file that is being read."""

    def __init__(self, root: Node, server: ServerName, problems: list[Problem]) -> None:
        self._root = root
        self._server = server
        self._problems = problems
        self._before = len(problems)

    def read(self) -> AppService | None:
        """The registration; `None` where something is wrong with it."""
        if not isinstance(self._root, Fields):
            self._wrong("", "not a registration: no mapping of names to values", self._root)
            return None
        read: dict[str, Any] = {
            "id": self._text("id", "irc"),
            "url": self._url(),
            "as_token": Secret(self._text("as_token", "a long random text", secret=True)),
            "hs_token": Secret(self._text("hs_token", "another long random text", secret=True)),
            "sender": self._sender(),
            **self._namespaces(),
            "rate_limited": self._flag("rate_limited", default=True),
            "protocols": self._protocols(),
            "wants_ephemeral": any(self._flag(name, default=False) for name in _EPHEMERAL),
            "wants_encryption": self._flag(_ENCRYPTION, default=False),
        }
        return AppService(**read) if len(self._problems) == self._before else None

    def _node(self, name: str) -> Node | None:
        return self._root.nodes.get(name) if isinstance(self._root, Fields) else None

    def _text(self, name: str, example: str, *, secret: bool = False) -> str:
        node = self._node(name)
        if node is None:
            self._wrong(name, "missing", self._root, f"{name}: {example}", shown=False)
        elif not isinstance(node, Scalar) or node.is_null or not node.text.strip():
            self._wrong(name, "not a text", node, f"{name}: {example}", shown=not secret)
        else:
            return node.text
        return ""

    def _url(self) -> str | None:
        node = self._node("url")
        if isinstance(node, Scalar) and (node.is_null or not node.text):
            return None  # COMPAT(matrix-appservice-irc) an empty text means the same
        url = self._text("url", "http://127.0.0.1:9999  # or null, to be told nothing")
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if url and (not good or parts.query or parts.fragment):
            self._wrong("url", "not an http or https URL", node, "url: http://127.0.0.1:9999")
        return url.rstrip("/")

    def _sender(self) -> UserID:
        localpart = self._text("sender_localpart", "ircbot") or "x"
        try:
            sender = parse_user_id(f"@{localpart}:{self._server}")
        except IdentifierError:
            sender = None
        # COMPAT(mautrix) its names are random letters, capitals too, as names of old may have them.
        if sender is not None and _SENDER.fullmatch(localpart):
            return sender
        reason = "a name holds letters, digits and . _ = - / + only, no @ and no server"
        node = self._node("sender_localpart")
        self._wrong("sender_localpart", reason, node, "sender_localpart: ircbot")
        return UserID("")

    def _flag(self, name: str, *, default: bool) -> bool:
        node = self._node(name)
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return default
        if isinstance(node, Scalar) and isinstance(node.plain, bool):
            return node.plain
        self._wrong(name, "neither true nor false", node, f"{name}: true")
        return default

    def _protocols(self) -> tuple[str, ...]:
        node = self._node("protocols")
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return ()
        items = node.nodes if isinstance(node, Items) else (node,)
        texts = tuple(item.text for item in items if isinstance(item, Scalar))
        if not isinstance(node, Items) or len(texts) < len(items):
            self._wrong("protocols", "not a list of texts", node, "protocols: [irc]")
            return ()
        return texts

    def _namespaces(self) -> dict[str, Namespaces]:
        node = self._node("namespaces")
        if not isinstance(node, Fields):
            reason = "missing" if node is None else "not a mapping"
            example = "namespaces: {users: [{regex: '@_irc_.*', exclusive: true}]}"
            self._wrong("namespaces", reason, node or self._root, example, shown=node is not None)
            return {}
        for name, unknown in node.nodes.items():
            if name not in _NAMESPACES:
                reason = f"no such namespace; there are {', '.join(_NAMESPACES)}"
                self._wrong(f"namespaces.{name}", reason, unknown, shown=False)
        return {kind: self._namespace_list(kind, node.nodes.get(kind)) for kind in _NAMESPACES}

    def _namespace_list(self, kind: str, node: Node | None) -> Namespaces:
        path, example = f"namespaces.{kind}", f"{kind}: [{{regex: '{_NAMESPACES[kind]}'}}]"
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return ()
        if not isinstance(node, Items):
            self._wrong(path, "not a list", node, example)
            return ()
        found = [self._namespace(f"{path}[{n}]", kind, item) for n, item in enumerate(node.nodes)]
        return tuple(one for one in found if one is not None)

    def _namespace(self, path: str, kind: str, node: Node) -> Namespace | None:
        example = f"{{regex: '{_NAMESPACES[kind]}', exclusive: true}}"
        regex = node.nodes.get("regex") if isinstance(node, Fields) else None
        if not isinstance(node, Fields) or not isinstance(regex, Scalar) or not regex.text:
            self._wrong(path, "not a mapping with a regex", node, example, shown=False)
            return None
        exclusive = node.nodes.get("exclusive")
        value = exclusive.plain if isinstance(exclusive, Scalar) else exclusive
        if not isinstance(value, bool | None):
            self._wrong(f"{path}.exclusive", "neither true nor false", exclusive, example)
        try:
            return Namespace(_compiled(regex.text), bool(value))
        except re.error as error:
            reason = f"not a regular expression: {error.msg}"
            self._wrong(f"{path}.regex", reason, regex, f"regex: '{_NAMESPACES[kind]}'")
            return None

    def _wrong(
        self,
        path: str,
        reason: str,
        node: Node | None,
        example: str | None = None,
        *,
        shown: bool = True,
    ) -> None:
        at = node or self._root
        found = repr(at.text[:60]) if shown and isinstance(at, Scalar) else None
        self._problems.append(Problem(path, reason, found, at.where, example))


def _compiled(regex: str) -> re.Pattern[str]:
    for posix, python in _POSIX.items():
        regex = regex.replace(posix, python)
    return re.compile(regex)
