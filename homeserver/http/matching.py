"""Which row a request's path leads to.

The path is matched as it was sent, segment by segment, and each segment is decoded once: an
encoded slash (`%2F`) in a room alias stays inside its segment, and `%2525` is `%25`. Literals win
over parameters, wherever they stand.
"""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from homeserver.errors import InvalidParam, MatrixError, MethodNotAllowed, Unrecognized

T = TypeVar("T")


class Match(NamedTuple, Generic[T]):
    """What a path leads to, and the values of its parameters."""

    target: T
    values: dict[str, str]


class _Leaf(NamedTuple, Generic[T]):
    target: T
    names: tuple[str, ...]
    """Of the parameters on the way; one more than there are if the last one is left out."""


class _Node(Generic[T]):
    """What may follow after some segments."""

    __slots__ = ("leaves", "literals", "parameter", "tail")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.tail: _Node[T] | None = None
        self.leaves: dict[str, _Leaf[T]] = {}


class Matcher(Generic[T]):
    """Templates of paths, each with what it leads to, by method."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, template: str, target: T) -> None:
        """Let a template lead somewhere.

        Raises:
            ValueError: the template is malformed, or leads somewhere already.

        """
        if not template.startswith("/"):
            raise ValueError(f"not a path: {template}")
        *before, last = template.split("/")[1:]
        names = tuple(name[1:-1].rstrip("?*") for name in [*before, last] if name[:1] == "{")
        if len(set(names)) < len(names):
            raise ValueError(f"two parameters of one name: {template}")
        node = self._root
        for segment in before:
            node = _child(node, segment)
        leaf = _Leaf(target, names)
        for place in _places(node, last):
            if place.leaves.setdefault(method, leaf) is not leaf:
                raise ValueError(f"two rows for {method} {template}")

    def find(self, method: str, path: str) -> Match[T]:
        """What a path, as it was sent, without its query, leads to.

        Raises:
            Unrecognized: nowhere.
            MethodNotAllowed: somewhere, with another method.
            InvalidParam: somewhere, but what it encodes is not UTF-8.

        """
        segments = path.split("/")
        if "%" in path:
            segments = [_decoded(segment) if "%" in segment else segment for segment in segments]
        length = len(segments)
        allowed: set[str] = set()
        # Where to go on if this way leads nowhere; what was put there last is tried first.
        pending: list[tuple[_Node[T], int, tuple[str, ...]]] = [(self._root, 1, ())]
        while pending:
            node, depth, values = pending.pop()
            if depth == length:
                leaf = node.leaves.get(method)
                if leaf is not None:
                    return Match(leaf.target, _named(leaf.names, values, path))
                allowed.update(node.leaves)
                continue
            segment = segments[depth]
            if node.tail is not None:
                pending.append((node.tail, length, (*values, path.split("/", depth)[depth])))
            if node.parameter is not None and segment:
                pending.append((node.parameter, depth + 1, (*values, segment)))
            if (literal := node.literals.get(segment)) is not None:
                pending.append((literal, depth + 1, values))
        raise _nothing_for(allowed)


def _decoded(segment: str) -> str:
    # Not `unquote`, which takes twice as long.
    raw = unquote_to_bytes(segment.encode(errors="surrogateescape"))
    return raw.decode(errors="surrogateescape")


def _nothing_for(allowed: set[str]) -> MatrixError:
    if not allowed:
        return Unrecognized()
    error = MethodNotAllowed()
    error.headers = {"Allow": ", ".join(sorted({*allowed, "OPTIONS"}))}
    return error


def _child(node: _Node[T], segment: str) -> _Node[T]:
    if segment[:1] != "{":
        return node.literals.setdefault(segment, _Node())
    if segment[-1] != "}" or segment[-2] in "?*":
        raise ValueError(f"not a parameter, or not at the end: {segment}")
    if node.parameter is None:
        node.parameter = _Node()
    return node.parameter


def _places(node: _Node[T], last: str) -> list[_Node[T]]:
    """Where a template with this last segment ends."""
    if last.endswith("?}"):
        return [node, _child(node, ""), _child(node, last.replace("?", ""))]
    if last.endswith("*}"):
        if node.tail is None:
            node.tail = _Node()
        return [node.tail]
    return [_child(node, last)]


def _named(names: tuple[str, ...], values: tuple[str, ...], path: str) -> dict[str, str]:
    found = dict(zip(names, values, strict=False))
    if len(names) > len(values):
        found[names[-1]] = ""
    if "%" in path or not path.isascii():
        _check_unicode(found)
    return found


def _check_unicode(values: Mapping[str, str]) -> None:
    text = "".join(values.values())
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParam("the path is not UTF-8") from None
