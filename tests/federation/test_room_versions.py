"""What differs between room versions, and that nobody asks for their names.

https://spec.matrix.org/v1.19/rooms/
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import federation
from federation.auth import authorise
from federation.decision import ALLOWED
from federation.errors import UnknownRoomVersionError
from federation.room_versions import (
    ROOM_VERSIONS,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
    V9,
    V10,
    V11,
    V12,
    EventIDFormat,
    RoomVersion,
    StateResolutionVersion,
    find_room_version,
)
from tests.federation.auth_cases import broken_rule, create_event, since, until
from tests.federation.rooms import ALL_VERSIONS, ANN, BOB, Room

NUMBERED = [str(number) for number in range(1, 13)]


def test_names() -> None:
    assert list(ROOM_VERSIONS) == NUMBERED
    assert [version.name for version in ROOM_VERSIONS.values()] == NUMBERED


HAS: list[tuple[str, Sequence[RoomVersion]]] = [
    ("strict_json", since(V6)),
    ("key_validity", since(V5)),
    ("create_names_creator", until(V10)),
    ("privileged_creators", since(V12)),
    ("room_id_is_create_id", since(V12)),
    ("aliases_by_domain", until(V5)),
    ("redactions_need_level", until(V2)),
    ("redacts_in_content", since(V11)),
    ("integer_power_levels", since(V10)),
    ("notification_levels", since(V6)),
]


@pytest.mark.parametrize(("name", "versions"), HAS)
def test_properties(name: str, versions: Sequence[RoomVersion]) -> None:
    assert [version for version in ALL_VERSIONS if getattr(version, name)] == list(versions)


IDS, RESOLUTION = EventIDFormat, StateResolutionVersion
EITHER = {"restricted", "knock_restricted"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("event_ids", {V1: IDS.SENT, V3: IDS.HASH, V4: IDS.URL_SAFE_HASH}),
        ("state_resolution", {V1: RESOLUTION.V1, V2: RESOLUTION.V2, V12: RESOLUTION.V2_1}),
        ("invited_join_rules", {V1: {"invite"}, V7: {"invite", "knock"}}),
        ("restricted_join_rules", {V1: set(), V8: {"restricted"}, V10: EITHER}),
        ("knock_join_rules", {V1: set(), V7: {"knock"}, V10: {"knock", "knock_restricted"}}),
    ],
)
def test_changes(name: str, changes: Mapping[RoomVersion, object]) -> None:
    """Each property's value, from the version on that brought it."""
    expected: object = None
    for version in ALL_VERSIONS:
        expected = changes.get(version, expected)
        assert getattr(version, name) == expected, version.name


KEYS_1 = {
    *("event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures"),
    *("depth", "prev_events", "prev_state", "auth_events", "origin", "origin_server_ts"),
    "membership",
}
LEVELS_1 = {
    *("ban", "events", "events_default", "kick", "redact", "state_default", "users"),
    "users_default",
}


VOUCHER = "join_authorised_via_users_server"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("m.room.member", {V1: {"membership"}, V9: {"membership", VOUCHER}}),
        ("m.room.create", {V1: {"creator"}, V11: None}),
        ("m.room.join_rules", {V1: {"join_rule"}, V8: {"join_rule", "allow"}}),
        ("m.room.power_levels", {V1: LEVELS_1, V11: LEVELS_1 | {"invite"}}),
        ("m.room.aliases", {V1: {"aliases"}, V6: "nothing"}),
        ("m.room.history_visibility", {V1: {"history_visibility"}}),
        ("m.room.redaction", {V1: "nothing", V11: {"redacts"}}),
        ("m.room.message", {V1: "nothing"}),
    ],
)
def test_redaction_of_content(kind: str, changes: Mapping[RoomVersion, object]) -> None:
    expected: object = None
    for version in ALL_VERSIONS:
        expected = changes.get(version, expected)
        assert version.redaction.content.get(kind, "nothing") == expected, version.name


def test_redaction_of_keys() -> None:
    for version in ALL_VERSIONS:
        gone = set() if version in until(V10) else {"prev_state", "origin", "membership"}
        assert version.redaction.keys == KEYS_1 - gone
        assert version.redaction.third_party_signed == (version in since(V11))


FOUND: list[tuple[dict[str, Any], RoomVersion]] = [
    ({}, V1),
    *(({"room_version": version.name}, version) for version in ALL_VERSIONS),
]


@pytest.mark.parametrize(("content", "version"), FOUND)
def test_find(content: dict[str, Any], version: RoomVersion) -> None:
    assert find_room_version(content) is version


@pytest.mark.parametrize(
    "name", ["", "0", "13", "01", " 1", "1 ", "1.0", "v1", "\u0661", 1, 1.0, None, True, ["1"], {}]
)
def test_find_nothing(name: object) -> None:
    with pytest.raises(UnknownRoomVersionError):
        find_room_version({"room_version": name})


def test_versions_are_themselves() -> None:
    """A copy is another version, even under the same name: it might differ in anything."""
    assert replace(V11) != V11
    assert len({V11, replace(V11)}) == 2


QUIET = replace(V12, name="org.example.quiet", knock_join_rules=frozenset())
KNOWN: Mapping[str, RoomVersion] = {**ROOM_VERSIONS, QUIET.name: QUIET}


def test_experimental_version() -> None:
    """A version of one's own is found, and works like the one that it was made from, but for what
    was replaced. Nobody else knows it."""
    content = {"room_version": QUIET.name}
    assert find_room_version(content, KNOWN) is QUIET
    with pytest.raises(UnknownRoomVersionError):
        find_room_version(content)
    create = create_event(QUIET, content, room_id=None)
    assert authorise(create, {}, KNOWN) is ALLOWED
    assert broken_rule(_knock(QUIET)) == "member.unknown"
    assert _knock(V12) is ALLOWED


def _knock(version: RoomVersion) -> Any:
    room = Room(version, bare=True, room_version="12")
    room.join_rule(ANN, "knock")
    return authorise(room.fork().member(BOB, BOB, "knock", check=False), room.state)


def _sources() -> Iterator[tuple[str, ast.Module]]:
    """Every module of `federation` but the one that knows the versions."""
    root = Path(federation.__file__).parent
    for file in sorted(root.rglob("*.py")):
        if file.name != "room_versions.py":
            yield str(file.relative_to(root)), ast.parse(file.read_text())


def _is_version(node: ast.AST) -> bool:
    """Whether an expression is a version's name or a number like one, or asks for it."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value in NUMBERED
    if isinstance(node, ast.Attribute) and node.attr == "name":
        return "version" in ast.unparse(node.value)
    if isinstance(node, ast.Attribute | ast.Name):
        return ast.unparse(node).removeprefix("room_versions.") in {f"V{n}" for n in NUMBERED}
    return isinstance(node, ast.Tuple | ast.List | ast.Set) and any(map(_is_version, node.elts))


def _comparisons(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(_is_version, [node.left, *node.comparators])):
            yield ast.unparse(node)
        if isinstance(node, ast.MatchValue) and _is_version(node.value):
            yield ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module == "federation.room_versions":
            yield from (a.name for a in node.names if a.name.removeprefix("V") in NUMBERED)


def test_no_code_compares_versions() -> None:
    """It asks a version for the property that matters, so that a new one needs one line."""
    found = {name: list(_comparisons(tree)) for name, tree in _sources()}
    assert len(found) > 20
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "source",
    [
        'version.name == "11"',
        "event.version.name != other",
        'name in ("1", "2")',
        "event.version is V11",
        "version not in {V1, V2}",
        "version is room_versions.V11",
        'match name:\n    case "11": pass',
        "from federation.room_versions import ROOM_VERSIONS, V11",
    ],
)
def test_comparisons_are_seen(source: str) -> None:
    """The test above would notice these."""
    assert list(_comparisons(ast.parse(source)))
