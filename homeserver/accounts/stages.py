"""The rules of user-interactive authentication, without anything around them.

A flow is a sequence of stages; whoever completes one flow in its order may do what was asked.

https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from federation.canonical_json import encode

PASSWORD = "m.login.password"  # noqa: S105
DUMMY = "m.login.dummy"
EMAIL = "m.login.email.identity"
RECAPTCHA = "m.login.recaptcha"
REGISTRATION_TOKEN = "m.login.registration_token"  # noqa: S105

Flow = tuple[str, ...]
"""Types of stages, in order."""


class Standing(Enum):
    """What a stage is to somebody who has completed some."""

    NEXT = "it may be tried"
    COMPLETED = "it is behind them"
    OUT_OF_ORDER = "it is not their turn, or in no flow of theirs"


def standing(flows: Iterable[Flow], completed: Sequence[str], stage: str) -> Standing:
    """Where `stage` stands: "the flow's stages must be completed in order"."""
    if stage in completed:
        return Standing.COMPLETED
    done = len(completed)
    ahead = (flow[done] for flow in flows if flow[:done] == tuple(completed) and len(flow) > done)
    return Standing.NEXT if stage in ahead else Standing.OUT_OF_ORDER


def is_complete(flows: Iterable[Flow], completed: Sequence[str]) -> bool:
    """Whether one of the flows was followed to its end."""
    return tuple(completed) in flows


def binding(session: str, operation: str, user: int | None, asked: Mapping[str, Any]) -> bytes:
    """What is stored of a request, to know it again.

    Keyed with the session, which is not stored: nobody can try passwords on it.

    Raises:
        CanonicalJSONError: `asked` cannot be written as JSON.

    """
    request = encode([operation, user, dict(asked)], strict=False)
    return hmac.digest(session.encode(), request, "sha256")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stage that was tried in vain; another try is allowed."""

    errcode: str
    error: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """More authentication is required: the body of a 401."""

    session: str
    flows: Sequence[Flow]
    completed: Sequence[str] = ()
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refusal: Refusal | None = None

    def body(self) -> dict[str, Any]:
        """As it is sent."""
        stages = {stage for flow in self.flows for stage in flow}
        body: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in self.flows],
            "params": {s: dict(p) for s, p in self.params.items() if s in stages},
            "session": self.session,
        }
        if self.completed:
            body["completed"] = list(self.completed)
        if self.refusal:
            body |= {"errcode": self.refusal.errcode, "error": self.refusal.error}
        return body
