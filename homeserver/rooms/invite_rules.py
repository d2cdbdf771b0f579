"""Whose invitations somebody wants. Pure.

Three lists say so: the ignored users, a switch that is on or off (MSC4380), and globs for users and
servers (MSC4155).

https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
https://spec.matrix.org/v1.19/client-server-api/#invite-permission
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import orjson

from federation.errors import IdentifierError
from federation.identifiers import split_server_name
from federation.server_acl import GlobSet

BLOCKING: Final = ("m.invite_permission_config", "org.matrix.msc4380.invite_permission_config")
"""Account data with the switch."""
FILTERING: Final = "org.matrix.msc4155.invite_permission_config"
"""Account data with the globs."""


class Verdict(Enum):
    """What becomes of an invitation."""

    ALLOW = "allow"
    IGNORE = "ignore"
    """It is taken, and not shown."""
    BLOCK = "block"
    """It is refused, and not shown if it is there."""


_ORDER = (
    ("allowed", Verdict.ALLOW),
    ("ignored", Verdict.IGNORE),
    ("blocked", Verdict.BLOCK),
)


@dataclass(frozen=True, slots=True)
class InviteRules:
    """What somebody wants of invitations; by default all are welcome."""

    ignored: frozenset[str] = frozenset()
    blocks_all: bool = False
    users: Mapping[Verdict, GlobSet] = field(default_factory=dict)
    """Globs for user IDs, in the order in which they are asked."""
    servers: Mapping[Verdict, GlobSet] = field(default_factory=dict)
    """The same for the names of servers."""
    speaker: str | None = None
    """Who speaks for the server, whose invitations nobody can refuse."""

    @property
    def are_open(self) -> bool:
        """Whether every invitation is welcome."""
        return not (self.ignored or self.blocks_all or self.users or self.servers)

    def judge(self, sender: str) -> Verdict:
        """What becomes of an invitation by somebody."""
        if sender == self.speaker:
            return Verdict.ALLOW
        if sender in self.ignored:
            return Verdict.IGNORE
        if self.blocks_all:
            return Verdict.BLOCK
        if self.users or self.servers:
            for rules, name in ((self.users, sender), (self.servers, _host_of(sender))):
                for verdict, globs in rules.items():
                    if globs.matches(name):
                        return verdict
        return Verdict.ALLOW

    def hides(self, sender: str | None) -> bool:
        """Whether an invitation is not shown; of some, nobody knows whose they are."""
        return self.judge(sender or "") is not Verdict.ALLOW


OPEN: Final = InviteRules()


def read_rules(
    ignored: frozenset[str], data: Mapping[str, bytes], speaker: str | None = None
) -> InviteRules:
    """Read account data by its type, which may hold anything."""
    if not ignored and not data:
        return OPEN
    found = {kind: orjson.loads(content) for kind, content in data.items()}
    blocks_all = any(found.get(kind, {}).get("default_action") == "block" for kind in BLOCKING)
    wanted = found.get(FILTERING, {})
    if wanted.get("enabled") is False or not _is_valid(wanted):
        wanted = {}
    users, servers = _globs(wanted, "users"), _globs(wanted, "servers")
    return InviteRules(ignored, blocks_all, users, servers, speaker)


def _is_valid(config: Mapping[str, Any]) -> bool:
    """What is there is a list of strings, or all of it counts for nothing."""
    lists = [
        config.get(f"{word}_{what}", []) for word, _ in _ORDER for what in ("users", "servers")
    ]
    return all(
        isinstance(found, list) and all(isinstance(glob, str) for glob in found) for found in lists
    )


def _globs(config: Mapping[str, Any], what: str) -> dict[Verdict, GlobSet]:
    # What is not ASCII matches nobody, and would cost memory for each of its characters.
    listed = {
        verdict: [glob for glob in config.get(f"{word}_{what}", []) if glob.isascii()]
        for word, verdict in _ORDER
    }
    return {verdict: GlobSet(globs) for verdict, globs in listed.items() if globs}


def _host_of(user_id: str) -> str:
    """The server's name without its port; the brackets of IPv6 stay."""
    name = user_id.partition(":")[2]
    try:
        host = split_server_name(name).host
    except IdentifierError:
        return name
    return f"[{host}]" if ":" in host else host
