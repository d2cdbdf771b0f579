"""That the tables are complete: every rule of every version is kept and broken in some row."""

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

import federation.auth
from federation.room_versions import V2, V5, V7, V8, V10, V11, V12, RoomVersion
from tests.federation import (
    test_auth_create,
    test_auth_events,
    test_auth_membership,
    test_auth_power_levels,
    test_auth_redactions,
    test_auth_senders,
    test_auth_third_party_invites,
)
from tests.federation.auth_cases import Case, since, until
from tests.federation.rooms import ALL_VERSIONS

_TABLES = (
    test_auth_create,
    test_auth_events,
    test_auth_membership,
    test_auth_power_levels,
    test_auth_redactions,
    test_auth_senders,
    test_auth_third_party_invites,
)
CASES: list[Case] = [case for table in _TABLES for case in table.CASES]

# The rules, in the order of version 12, each with the versions that have it.
RULES: dict[str, Sequence[RoomVersion]] = {
    "create.prev_events": ALL_VERSIONS,
    "create.room_id": ALL_VERSIONS,
    "create.room_version": ALL_VERSIONS,
    "create.creator": until(V10),
    "create.additional_creators": since(V12),
    "auth_events.duplicate": ALL_VERSIONS,
    "auth_events.unexpected": ALL_VERSIONS,
    "auth_events.rejected": ALL_VERSIONS,
    "auth_events.create": until(V11),
    "auth_events.room": ALL_VERSIONS,
    "federate": ALL_VERSIONS,
    "aliases.state_key": until(V5),
    "aliases.domain": until(V5),
    "member.malformed": ALL_VERSIONS,
    "join.sender": ALL_VERSIONS,
    "join.banned": ALL_VERSIONS,
    "join.join_rule": ALL_VERSIONS,
    "join.authoriser": since(V8),
    "invite.third_party.banned": ALL_VERSIONS,
    "invite.third_party.signed": ALL_VERSIONS,
    "invite.third_party.properties": ALL_VERSIONS,
    "invite.third_party.mxid": ALL_VERSIONS,
    "invite.third_party.token": ALL_VERSIONS,
    "invite.third_party.sender": ALL_VERSIONS,
    "invite.third_party.signature": ALL_VERSIONS,
    "invite.sender": ALL_VERSIONS,
    "invite.target": ALL_VERSIONS,
    "invite.level": ALL_VERSIONS,
    "leave.membership": ALL_VERSIONS,
    "leave.sender": ALL_VERSIONS,
    "leave.unban": ALL_VERSIONS,
    "leave.level": ALL_VERSIONS,
    "ban.sender": ALL_VERSIONS,
    "ban.level": ALL_VERSIONS,
    "knock.join_rule": since(V7),
    "knock.sender": since(V7),
    "knock.membership": since(V7),
    "member.unknown": ALL_VERSIONS,
    "sender.membership": ALL_VERSIONS,
    "third_party_invite.level": ALL_VERSIONS,
    "sender.level": ALL_VERSIONS,
    "state_key": ALL_VERSIONS,
    "power_levels.integers": since(V10),
    "power_levels.users": ALL_VERSIONS,
    "power_levels.creators": since(V12),
    "power_levels.change": ALL_VERSIONS,
    "power_levels.user": ALL_VERSIONS,
    "power_levels.malformed": ALL_VERSIONS,
    "redaction": until(V2),
}

_WITHOUT_ROWS = {"state.create", "state.room"}
"""Of these no rule speaks; `test_auth_events` has a test each."""


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
def test_every_rule_is_broken_and_kept(version: RoomVersion) -> None:
    expected = {rule for rule, versions in RULES.items() if version in versions}
    denying = {case.rule for case in CASES if not case.allows and version in case.versions}
    allowing = {case.rule for case in CASES if case.allows and version in case.versions}
    assert denying == expected
    assert expected <= allowing


def test_names() -> None:
    """The rules named in the code are those of the tables, no more and no fewer."""
    assert _names_in_code() == RULES.keys() | _WITHOUT_ROWS


def _names_in_code() -> set[str]:
    """What stands first in a `Denied(...)` anywhere in `federation/auth`."""
    found = set()
    for file in Path(federation.auth.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Denied":
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{file.name}: a rule without a fixed name"
                found.add(str(name.value))
    return found
