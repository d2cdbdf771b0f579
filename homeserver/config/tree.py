"""Settings as they were written, each remembering where: a YAML file with variables laid over it.

Values stay text until it is known what they should be, so that `off`, `22:30` or a password of
digits are not taken for something else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from homeserver.errors import ConfigError, Problem

PREFIX = "HEARTH__"
"""How variables that hold settings begin; two underscores lead into a section."""

_YAML_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `is_raw` ones come from a variable: they may turn out to be YAML."""

    text: str
    where: str
    is_null: bool = False
    is_raw: bool = False
    is_refused: bool = False
    """Stands for something of which we complained already."""
    plain: Any = None
    """What YAML itself takes it for."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: tuple["Node", ...]
    where: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Values by name."""

    nodes: Mapping[str, "Node"]
    where: str


Node = Scalar | Items | Fields


def read_yaml(text: str, source: str, problems: list[Problem], *, path: str = "") -> Node:
    """Read one YAML document; `source` names it in messages, `path` is what it will be.

    What can be skipped goes to `problems`.

    Raises:
        ConfigError: it is not YAML at all.

    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return Scalar("", source, is_null=True)
        return _Composed(source, problems).node(root, path)
    except yaml.YAMLError as error:
        # Not str(error): it quotes the file, secrets included.
        mark = getattr(error, "problem_mark", None)
        where = source if mark is None else f"{source}, line {mark.line + 1}"
        reason = f"not YAML: {getattr(error, 'problem', None) or 'characters that it has not'}"
    except RecursionError:
        where, reason = source, "nested too deeply"
    raise ConfigError([Problem(path, reason, where=where)])


def overlay(root: Node, variables: Mapping[str, str], problems: list[Problem]) -> Node:
    """Lay the variables that begin with `PREFIX` over what the file says."""
    for name in sorted(name for name in variables if name.startswith(PREFIX)):
        steps = name.removeprefix(PREFIX).lower().split("__")
        root = _put(root, steps, Scalar(variables[name], name, is_raw=True), problems)
    return root


def plain(node: Node) -> Any:
    """The value as YAML has it, for settings whose keys are the administrator's."""
    match node:
        case Scalar():
            return node.plain
        case Items():
            return [plain(item) for item in node.nodes]
        case Fields():
            return {name: plain(item) for name, item in node.nodes.items()}


def opened(node: Node, problems: list[Problem], path: str) -> Node:
    """The node itself, or what a variable's text holds as YAML."""
    if isinstance(node, Scalar) and node.is_raw:
        return read_yaml(node.text, node.where, problems, path=path)
    return node


def _put(
    node: Node, steps: list[str], value: Scalar, problems: list[Problem], path: str = ""
) -> Node:
    if not steps:
        return value
    node = opened(node, problems, path)
    if isinstance(node, Items):
        reason = "a list is given whole, as YAML or JSON in one variable"
        problems.append(Problem(path, reason, where=value.where))
        return node
    nodes = node.nodes if isinstance(node, Fields) else {}
    step, *rest = steps
    below = nodes.get(step, Scalar("", value.where, is_null=True))
    put = _put(below, rest, value, problems, f"{path}.{step}" if path else step)
    return Fields({**nodes, step: put}, node.where if nodes else value.where)


class _Composed:
    """Turns YAML's nodes into ours, setting aside what we do not take."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self._source = source
        self._problems = problems
        self._open: set[int] = set()

    def node(self, node: yaml.Node, path: str) -> Node:
        if not node.tag.startswith(_YAML_TAG):
            return self._refused(node, path, f"the tag {node.tag} means nothing here")
        if isinstance(node, yaml.ScalarNode):
            value = _plain(node)
            return Scalar(node.value, self._where(node), is_null=value is None, plain=value)
        if id(node) in self._open:
            return self._refused(node, path, "contains itself")
        self._open.add(id(node))
        converted = self._collection(node, path)
        self._open.discard(id(node))
        return converted

    def _collection(self, node: yaml.Node, path: str) -> Node:
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            nodes = tuple(self.node(item, f"{path}[{number}]") for number, item in items)
            return Items(nodes, self._where(node))
        return Fields(self._fields(node.value, path), self._where(node))

    def _fields(self, pairs: list[tuple[yaml.Node, yaml.Node]], path: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key, value in pairs:
            if not isinstance(key, yaml.ScalarNode):
                self._refused(key, path, "a list or mapping cannot be a name")
                continue
            below = f"{path}.{key.value}" if path else key.value
            if key.value in found:
                self._refused(key, below, f"given twice; first in {found[key.value].where}")
                continue
            found[key.value] = self.node(value, below)
        return found

    def _where(self, node: yaml.Node) -> str:
        return f"{self._source}, line {node.start_mark.line + 1}"

    def _refused(self, node: yaml.Node, path: str, reason: str) -> Scalar:
        self._problems.append(Problem(path, reason, where=self._where(node)))
        return Scalar("", self._where(node), is_refused=True)


def _plain(node: yaml.ScalarNode) -> Any:
    """What YAML takes the value for, if JSON has that too; else its text."""
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node, deep=True)
    except (ValueError, yaml.YAMLError):
        return node.value
    finally:
        loader.dispose()
    is_json = value is None or isinstance(value, str | int) or _is_finite(value)
    return value if is_json else node.value


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)
