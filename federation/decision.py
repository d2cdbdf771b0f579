"""The two answers a rule can give.

A refusal that the specification foresees is a value, never an exception.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Allowed:
    """No rule speaks against it."""


@dataclass(frozen=True, slots=True)
class Denied:
    """It breaks `rule`; `reason` is for the log and the admin, never for branching."""

    rule: str
    reason: str


Decision = Allowed | Denied

ALLOWED: Final = Allowed()
