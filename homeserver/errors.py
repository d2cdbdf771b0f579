"""Everything `homeserver` can raise, on one screen."""

from collections.abc import Sequence
from typing import NamedTuple


class HearthError(Exception):
    """The common ancestor; catching it catches all of ours and nothing else."""


class Problem(NamedTuple):
    """One setting that cannot be used; texts for the administrator, without secrets."""

    path: str
    """Where in the settings, as `listeners[0].port`; empty where it is the whole file."""
    reason: str
    found: str | None = None
    """What stands there instead."""
    where: str | None = None
    """The line or variable that says so."""
    example: str | None = None
    """YAML that would be right."""

    def __str__(self) -> str:
        said = f"{self.path}: {self.reason}" if self.path else self.reason
        found = f"; found {self.found}" if self.found else ""
        origin = f" ({self.where})" if self.where else ""
        example = f"\n    for example: {self.example}" if self.example else ""
        return f"{said}{found}{origin}{example}"


class ConfigError(HearthError):
    """The settings cannot be used; the text tells all that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
