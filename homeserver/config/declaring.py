"""What a setting is: its name, type, default, bounds, example and documentation.

All of it is read from the declarations in `settings`, the documentation from the text below each.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

from homeserver.config.scalars import SCALARS


class Check(Protocol):
    """A rule about one value, beyond its type."""

    def refusal(self, value: Any) -> str | None:
        """Why the value cannot be used, or `None` where it can."""


@dataclass(frozen=True, slots=True)
class Example:
    """YAML that could stand after the setting's name; needed where the default shows nothing."""

    yaml: str


@dataclass(frozen=True, slots=True)
class Within:
    """The value is at least `low` and at most `high`."""

    low: Any
    high: Any

    def refusal(self, value: Any) -> str | None:
        """Name the bounds where the value is outside of them."""
        if self.low <= value <= self.high:
            return None
        return f"must be from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """The list has one element at least."""

    def refusal(self, value: Any) -> str | None:
        """Refuse an empty list."""
        return None if value else "needs at least one element"


@dataclass(frozen=True, slots=True)
class ReadableFile:
    """The path leads to a file that we may read."""

    def refusal(self, value: Path) -> str | None:
        """Try to open the file."""
        try:
            with value.open("rb"):
                return None
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type taken apart."""

    type: Any
    """Without `None` and what `Annotated` adds."""
    optional: bool
    checks: tuple[Check, ...]
    example: str | None

    @classmethod
    def of(cls, hint: Any) -> "Kind":
        """Take apart a type as it stands in a declaration."""
        notes: tuple[Any, ...] = ()
        if get_origin(hint) is Annotated:
            hint, *rest = get_args(hint)
            notes = tuple(rest)
        # A NewType makes typing's own kind of union.
        optional = get_origin(hint) in {UnionType, Union} and NoneType in get_args(hint)
        if optional:
            (hint,) = (member for member in get_args(hint) if member is not NoneType)
        examples = [note.yaml for note in notes if isinstance(note, Example)]
        checks = tuple(note for note in notes if not isinstance(note, Example))
        return cls(hint, optional, checks, next(iter(examples), None))

    @property
    def is_section(self) -> bool:
        """Whether it is a group of settings."""
        return is_dataclass(self.type) and self.type not in SCALARS

    @property
    def is_free(self) -> bool:
        """Whether it is a mapping whose keys are the administrator's."""
        return get_origin(self.type) is Mapping

    @property
    def element(self) -> Any:
        """The type of a list's elements; `None` where it is no list."""
        return get_args(self.type)[0] if get_origin(self.type) is tuple else None


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting as it is declared."""

    name: str
    kind: Kind
    default: Any
    """The value where nothing is given; `MISSING` where something must be."""
    doc: str

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING


@cache
def declared(section: type) -> tuple[Declared, ...]:
    """The settings of a section, in the order of their declaration."""
    hints = get_type_hints(section, include_extras=True)
    docs = _docs(section)
    return tuple(
        Declared(
            field.name,
            Kind.of(hints[field.name]),
            field.default_factory() if field.default_factory is not MISSING else field.default,
            docs.get(field.name, ""),
        )
        for field in fields(section)
    )


def doc_of(section: type) -> str:
    """What the section's class says about it."""
    return inspect.cleandoc(section.__doc__ or "")


def _docs(section: type) -> dict[str, str]:
    tree = ast.parse(inspect.getsource(sys.modules[section.__module__]))
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    body = next(node.body for node in classes if node.name == section.__name__)
    return dict(_documented(body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Attributes with the text that follows each."""
    for attribute, text in pairwise(body):
        match attribute, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str(doc))
            ):
                yield name, inspect.cleandoc(doc)
