"""Arrows point one way: a module imports from its own package and from rows below.

`federation/` is pure but for `federation/net/`, and knows nothing of `homeserver/`. Within the
latter, only `app.py` and the command line see everything.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROWS: tuple[frozenset[str], ...] = (
    frozenset({"client_server", "server_server", "admin"}),
    frozenset({"http"}),
    frozenset({"sync"}),
    frozenset({"rooms", "e2ee", "push", "media", "appservices"}),
    frozenset({"accounts", "moderation"}),
    frozenset({"peers"}),
    frozenset({"storage"}),
)
"""The packages of `homeserver`, top to bottom; those in one row are strangers to each other."""

ROW_OF = {package: number for number, packages in enumerate(ROWS) for package in packages}

SEES_ALL = frozenset({"app", "cli", "commands", "demo", "__main__"})
"""What puts the parts of `homeserver` together; nobody imports it but itself."""

SEEN_BY_ALL = frozenset({"errors", "config", "logs", "ending", "portions"})
"""What is below every row of `homeserver`, and knows only its own kind of it."""

PURE_IMPORTS = """
    abc base64 binascii bisect collections concurrent.futures contextlib dataclasses enum fnmatch
    functools hashlib heapq hmac ipaddress itertools json math operator re string struct types
    typing unicodedata urllib.parse
    federation msgspec nacl orjson signedjson
"""
"""All that code without I/O may import: no clock, no randomness, no socket, no log."""

IMPURE_BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint"})

PURE_EXCEPT = "federation.net"


def imports_of(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """What a module imports, as full dotted names; `from a import b` is `a.b`."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def may_import(module: str, imported: str) -> bool:
    """Whether the picture allows `module` to import `imported`; both are full dotted names."""
    if is_within(module, ["federation"]):
        if is_within(module, [PURE_EXCEPT]):
            return not is_within(imported, ["homeserver"])
        return is_within(imported, PURE_IMPORTS.split()) and not is_within(imported, [PURE_EXCEPT])
    if is_within(imported, ["homeserver"]):
        return _may_see(*(name.split(".")[1:2] for name in (module, imported)))
    return True


def _may_see(importer: list[str], imported: list[str]) -> bool:
    if not importer or importer == imported or importer[0] in SEES_ALL:
        return True
    if not imported or imported[0] in SEES_ALL:
        return False
    if imported[0] in SEEN_BY_ALL:
        return True
    return importer[0] not in SEEN_BY_ALL and ROW_OF[importer[0]] < ROW_OF[imported[0]]


def impurities(tree: ast.AST) -> Iterator[str]:
    """What touches the world without an import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"line {node.lineno}: asynchronous"
        elif isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            yield f"line {node.lineno}: {node.id}"


def modules() -> list[Path]:
    folders = [ROOT / name for name in ("federation", "homeserver")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports(path: Path) -> None:
    module = name_of(path)
    tree = ast.parse(path.read_bytes())
    found = imports_of(tree, module, is_package=path.name == "__init__.py")
    assert [name for name in found if not may_import(module, name)] == []
    if is_within(module, ["federation"]) and not is_within(module, [PURE_EXCEPT]):
        assert list(impurities(tree)) == []


def test_every_part_of_the_homeserver_has_its_place() -> None:
    parts = {name_of(path).split(".")[1] for path in (ROOT / "homeserver").glob("*/**/*.py")}
    parts |= {path.stem for path in (ROOT / "homeserver").glob("*.py")} - {"__init__"}
    assert parts <= SEES_ALL | SEEN_BY_ALL | ROW_OF.keys()


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("federation.events", "federation.hashing.content_hash", True),
        ("federation.events", "msgspec", True),
        ("federation.events", "nacl.bindings", True),
        ("federation.events", "homeserver.rooms", False),
        ("federation.events", "federation.net.client", False),
        ("federation.events", "asyncio", False),
        ("federation.events", "aiohttp.web", False),
        ("federation.events", "socket", False),
        ("federation.events", "ssl", False),
        ("federation.events", "time.monotonic", False),
        ("federation.events", "random", False),
        ("federation.events", "secrets.token_bytes", False),
        ("federation.events", "datetime", False),
        ("federation.events", "logging", False),
        ("federation.events", "jsonschema", False),
        ("federation.auth.rules", "os.path", False),
        ("federation.network", "asyncio", False),
        ("federation.net.client", "asyncio", True),
        ("federation.net.client", "federation.signing", True),
        ("federation.net", "homeserver.config", False),
        ("homeserver.client_server.rooms", "homeserver.rooms.intake", True),
        ("homeserver.client_server.rooms", "homeserver.http.route", True),
        ("homeserver.client_server.rooms", "homeserver.server_server.send", False),
        ("homeserver.client_server.rooms", "homeserver.client_server.errors", True),
        ("homeserver.http.route", "homeserver.client_server.rooms", False),
        ("homeserver.sync.room", "homeserver.rooms.history", True),
        ("homeserver.rooms.intake", "homeserver.sync.room", False),
        ("homeserver.rooms.intake", "homeserver.push.rules", False),
        ("homeserver.rooms.intake", "homeserver.accounts.users", True),
        ("homeserver.rooms.intake", "federation.verdict", True),
        ("homeserver.rooms.intake", "asyncio", True),
        ("homeserver.accounts.users", "homeserver.moderation.acl", False),
        ("homeserver.peers.sender", "homeserver.storage.events", True),
        ("homeserver.storage.events", "homeserver.peers.sender", False),
        ("homeserver.storage.events", "homeserver.errors.MatrixError", True),
        ("homeserver.errors", "homeserver.storage.events", False),
        ("homeserver.app", "homeserver.client_server.rooms", True),
        ("homeserver.__main__", "homeserver.app", True),
        ("homeserver.storage.events", "homeserver.app", False),
    ],
)
def test_the_picture(module: str, imported: str, allowed: bool) -> None:
    assert may_import(module, imported) is allowed


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("from a.b import c, d", ["a.b.c", "a.b.d"]),
        ("from . import sibling", ["federation.auth.sibling"]),
        ("from .sibling import x", ["federation.auth.sibling.x"]),
        ("from ..events import Event", ["federation.events.Event"]),
        ("def f():\n    import time", ["time"]),
        ("if TYPE_CHECKING:\n    from ssl import SSLContext", ["ssl.SSLContext"]),
    ],
)
def test_reading_imports(source: str, found: list[str]) -> None:
    tree = ast.parse(source)
    assert list(imports_of(tree, "federation.auth.rules", is_package=False)) == found


@pytest.mark.parametrize(
    ("source", "count"),
    [("open('x')", 1), ("async def f(): await g()", 2), ("x.open()", 0), ("f = print", 1)],
)
def test_reading_impurities(source: str, count: int) -> None:
    assert len(list(impurities(ast.parse(source)))) == count
