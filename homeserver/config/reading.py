"""From what was written to the declared types, complaining of everything at once."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from homeserver.config.declaring import Declared, Kind, declared
from homeserver.config.scalars import SCALARS, ScalarKind
from homeserver.config.showing import as_yaml
from homeserver.config.tree import Fields, Items, Node, Scalar, opened, plain
from homeserver.errors import ConfigError, Problem

WRONG: Final = object()
"""Stands for a value of which the reader complains."""

_LONGEST_SHOWN = 60


class Reader:
    """Reads values of the declared types; relative paths start at `folder`."""

    def __init__(self, root: type, folder: Path, problems: list[Problem]) -> None:
        self._known = list(setting_paths(root))
        self._folder = folder
        self._problems = problems

    def section(self, section: type, node: Node, path: str = "") -> Any:
        """Read a section with all below it; `WRONG` where something in it is."""
        if isinstance(node, Scalar) and _is_null(node):
            node = Fields({}, node.where)
        if not isinstance(node, Fields):
            return self._wrong(path, "not a section with settings below it", node)
        settings = declared(section)
        self._refuse_unknown(node, [setting.name for setting in settings], path)
        values = {s.name: self._setting(s, node, _below(path, s.name)) for s in settings}
        if any(value is WRONG for value in values.values()):
            return WRONG
        return section(**values)

    def _setting(self, setting: Declared, within: Fields, path: str) -> Any:
        example = f"{setting.name}: {example_of(setting)}"
        node = within.nodes.get(setting.name)
        if node is not None:
            return self._read(setting.kind, node, path, example)
        if setting.is_required:
            problem = Problem(path, "missing", where=within.where, example=example)
            self._problems.append(problem)
            return WRONG
        default = setting.default
        return self._folder / default if isinstance(default, Path) else default

    def _read(self, kind: Kind, node: Node, path: str, example: str | None) -> Any:
        if kind.type not in SCALARS:
            node = self._opened(node, path)
        if isinstance(node, Scalar):
            if node.is_refused:
                return WRONG
            if kind.optional and _is_null(node):
                return None
        value = self._typed(kind, node, path, example)
        if value is WRONG:
            return WRONG
        for check in kind.checks:
            if (refusal := check.refusal(value)) is not None:
                return self._wrong(path, refusal, node, example)
        return value

    def _typed(self, kind: Kind, node: Node, path: str, example: str | None) -> Any:
        if kind.is_section:
            return self.section(kind.type, node, path)
        if isinstance(node, Scalar) and node.is_null:
            return self._wrong(path, "nothing is given", node, example)
        if kind.element is not None:
            return self._list(Kind.of(kind.element), node, path, example)
        if kind.is_free:
            return self._free(node, path, example)
        if get_origin(kind.type) is Literal:
            return self._choice(get_args(kind.type), node, path, example)
        return self._scalar(SCALARS[kind.type], node, path, example)

    def _list(self, element: Kind, node: Node, path: str, example: str | None) -> Any:
        if not isinstance(node, Items):
            return self._wrong(path, "not a list", node, example)
        values = [
            self._read(element, item, f"{path}[{number}]", example)
            for number, item in enumerate(node.nodes)
        ]
        return WRONG if any(value is WRONG for value in values) else tuple(values)

    def _free(self, node: Node, path: str, example: str | None) -> Any:
        if not isinstance(node, Fields):
            return self._wrong(path, "not a mapping", node, example)
        return plain(node)

    def _choice(self, choices: tuple[str, ...], node: Node, path: str, example: str | None) -> Any:
        if isinstance(node, Scalar) and node.text in choices:
            return node.text
        return self._wrong(path, f"not one of {', '.join(choices)}", node, example)

    def _scalar(self, kind: ScalarKind, node: Node, path: str, example: str | None) -> Any:
        try:
            text = self._secret_text(node) if kind.is_secret else None
            if text is None and not isinstance(node, Scalar):
                return self._wrong(path, "not a single value", node, example)
            value = kind.parse(node.text if isinstance(node, Scalar) else text or "")
        except ValueError as error:
            return self._wrong(path, str(error), None if kind.is_secret else node, example, node)
        return self._folder / value if isinstance(value, Path) else value

    def _secret_text(self, node: Node) -> str | None:
        """What is in the file that `{file: path}` names; `None` where it is not of that form."""
        if not isinstance(node, Fields) or list(node.nodes) != ["file"]:
            return None
        path = node.nodes["file"]
        if not isinstance(path, Scalar) or not path.text:
            raise ValueError("`file` is not a path")
        try:
            return (self._folder / path.text).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"{path.text} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError:
            raise ValueError(f"{path.text} is not text") from None

    def _refuse_unknown(self, node: Fields, known: list[str], path: str) -> None:
        for name, below in node.nodes.items():
            if name not in known:
                reason = f"no such setting; {self._advice(name, known, path)}"
                self._problems.append(Problem(_below(path, name), reason, where=below.where))

    def _advice(self, name: str, known: list[str], path: str) -> str:
        # Perhaps it stands in the wrong section, or has the name that another server gives it:
        # registration_shared_secret.
        elsewhere = {other.rpartition(".")[2]: other for other in self._known}
        elsewhere |= {other.replace(".", "_"): other for other in self._known}
        if name not in elsewhere and (close := _closest(name, known, 0.6)):
            return f"did you mean {_below(path, close)}?"
        if close := _closest(name, elsewhere, 0.7):
            return f"did you mean {elsewhere[close]}?"
        return f"known here are {', '.join(known)}"

    def _opened(self, node: Node, path: str) -> Node:
        try:
            return opened(node, self._problems, path)
        except ConfigError as error:
            self._problems.extend(error.problems)
            return Scalar("", node.where, is_refused=True)

    def _wrong(
        self,
        path: str,
        reason: str,
        found: Node | None,
        example: str | None = None,
        at: Node | None = None,
    ) -> object:
        where = (found or at or Scalar("", "")).where
        shown = None if found is None else _shown(found)
        self._problems.append(Problem(path, reason, shown, where or None, example))
        return WRONG


def setting_paths(section: type, path: str = "") -> Iterator[str]:
    """Every setting and section below `section`, as `auth.password_hash.memory`."""
    for setting in declared(section):
        below = _below(path, setting.name)
        yield below
        if setting.kind.is_section:
            yield from setting_paths(setting.kind.type, below)


def example_of(setting: Declared) -> str:
    """YAML that could stand after the setting's name."""
    if setting.kind.example is not None:
        return setting.kind.example
    if setting.kind.is_section and (setting.is_required or setting.default is None):
        parts = (f"{below.name}: {example_of(below)}" for below in declared(setting.kind.type))
        return f"{{{', '.join(parts)}}}"
    return as_yaml(setting.default)


def _closest(name: str, known: Iterable[str], likeness: float) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), known, 1, likeness)), None)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_null(node: Scalar) -> bool:
    return node.is_null or (node.is_raw and node.text in {"", "~", "null"})


def _shown(node: Node) -> str | None:
    match node:
        case Items():
            return "a list"
        case Fields():
            return "a mapping"
        case Scalar(is_null=True):
            return None
    text = node.text if len(node.text) <= _LONGEST_SHOWN else f"{node.text[:_LONGEST_SHOWN]}…"
    return repr(text)
