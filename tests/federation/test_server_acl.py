import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.identifiers import RoomID, ServerName
from federation.server_acl import (
    PROTECTED_ENDPOINTS,
    GlobSet,
    ServerACL,
    denied_rooms,
    is_permitted,
    permitted,
    rooms_of,
)

EVIL = ServerName("evil.com")
OPEN, SHUT = RoomID("!open:one.test"), RoomID("!shut:one.test")
ACLS = {SHUT: ServerACL.from_content({"allow": ["*"], "deny": ["evil.com"]})}


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("matrix.org", "matrix.org", True),
        ("matrix.org", "matrix.orga", False),
        ("matrix.org", "amatrix.org", False),
        ("matrix.org", "matrixXorg", False),
        ("*", "matrix.org", True),
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("***", "a", True),
        ("*.org", "matrix.org", True),
        ("*.org", ".org", True),
        ("*.org", "org", False),
        ("matrix.*", "matrix.org", True),
        ("matrix.*", "matrix.", True),
        ("m*x.org", "matrix.org", True),
        ("m*x*g", "mxg", True),
        ("m*x*g", "mgx", False),
        ("*.*.org", "a.b.org", True),
        ("*.*.org", "b.org", False),
        ("matri?.org", "matrix.org", True),
        ("matri?.org", "matri.org", False),
        ("?", "", False),
        ("??", "a", False),
        ("*?", "a", True),
        ("?*?", "a", False),
        ("MATRIX.org", "matrix.ORG", True),
        ("[a-z].org", "a.org", False),
        ("[::1]", "[::1]", True),
        ("a.c", "abc", False),
        ("a+", "aa", False),
        ("a|b", "a", False),
        ("*\n", "a", False),
    ],
)
def test_glob(glob: str, text: str, expected: bool) -> None:
    assert GlobSet([glob]).matches(text) is expected
    # Its neighbours in the list change nothing.
    assert GlobSet(["never", glob, "nor this"]).matches(text) is expected


@given(
    st.lists(st.text("ab.*?", max_size=6), max_size=4),
    st.text("ab.", max_size=8),
)
def test_globs_are_those_of_fnmatch(globs: list[str], text: str) -> None:
    """The standard library's globs are ours but for brackets, which are not in this alphabet."""
    expected = any(fnmatch.fnmatchcase(text, glob) for glob in globs)
    assert GlobSet(globs).matches(text) is expected


@pytest.mark.parametrize(
    "deny",
    [
        ["*a" * 30_000 + "*b"],
        ["*a" * 120 + "*b"] * 250,
        ["*" + "a?" * 60 + "b"] * 500,
        ["*" * 60_000 + "b"],
        ["".join(map(chr, range(0x4E00, 0x9000))) + "*"],
    ],
)
def test_hostile_globs_cost_little(deny: list[str]) -> None:
    """Each of these fills an event. A backtracking matcher would not return in our lifetime."""
    acl = ServerACL.from_content({"allow": ["*"], "deny": deny})
    assert acl.permits(ServerName("a" * 250))


@pytest.mark.parametrize(
    ("content", "server", "expected"),
    [
        ({"allow": ["*"]}, "good.com", True),
        ({"allow": ["*"], "deny": ["evil.com"]}, "good.com", True),
        ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com", False),
        ({"allow": ["*"], "deny": ["evil.com"]}, "sub.evil.com", True),
        ({"allow": ["*"], "deny": ["*.evil.com"]}, "sub.evil.com", False),
        # Deny comes first, however exact the allow is.
        ({"allow": ["evil.com"], "deny": ["*"]}, "evil.com", False),
        ({"allow": ["*.org"]}, "good.com", False),
        # "the suspect server's port number must not be considered"
        ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com:8448", False),
        ({"allow": ["*"], "deny": ["evil.com:8448"]}, "evil.com:8448", True),
        ({"allow": ["good.com"]}, "good.com:1234", True),
        # "case-insensitive"
        ({"allow": ["*"], "deny": ["EVIL.com"]}, "evil.COM", False),
        ({"allow": ["*.Example.Org"]}, "Sub.example.ORG", True),
        # "If the server name is an IP address (v4 or v6) literal [...] deny."
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "[2001:db8::1]", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "[2001:db8::1]:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4.example.org", True),
        ({"allow": ["*"], "allow_ip_literals": True}, "1.2.3.4", True),
        ({"allow": ["*"]}, "[2001:db8::1]", True),
        ({"allow": ["*"], "deny": ["[2001:*]"]}, "[2001:DB8::1]:8448", False),
        ({"allow": ["1.2.3.*"]}, "1.2.3.4:99", True),
        # "This defaults to an empty list when not provided, effectively disallowing every server."
        ({}, "good.com", False),
        ({"deny": []}, "good.com", False),
    ],
)
def test_permits(content: dict[str, Any], server: str, expected: bool) -> None:
    assert ServerACL.from_content(content).permits(ServerName(server)) is expected


@pytest.mark.parametrize(
    ("content", "server", "expected"),
    [
        ({"allow": "*"}, "good.com", False),
        ({"allow": {"*": "*"}}, "good.com", False),
        ({"allow": None}, "good.com", False),
        ({"allow": [1, None, ["*"], {"*": 1}]}, "good.com", False),
        ({"allow": [7, "*"], "deny": [None, "evil.com", []]}, "good.com", True),
        ({"allow": [7, "*"], "deny": [None, "evil.com", []]}, "evil.com", False),
        ({"allow": ["*"], "deny": "evil.com"}, "evil.com", True),
        # "Defaults to true if missing or otherwise not a boolean."
        ({"allow": ["*"], "allow_ip_literals": 0}, "1.2.3.4", True),
        ({"allow": ["*"], "allow_ip_literals": "false"}, "1.2.3.4", True),
        ({"allow": ["*"], "allow_ip_literals": None}, "1.2.3.4", True),
        # The Kelvin sign lowers to an ASCII k, but is none.
        ({"allow": ["*"], "deny": ["\u212a.com"]}, "k.com", True),
    ],
)
def test_content_of_wrong_types(content: dict[str, Any], server: str, expected: bool) -> None:
    assert ServerACL.from_content(content).permits(ServerName(server)) is expected


def test_a_room_without_acl_is_open() -> None:
    assert is_permitted(EVIL, None)
    assert not is_permitted(EVIL, ACLS[SHUT])


def test_denied_rooms() -> None:
    assert denied_rooms(EVIL, [OPEN, SHUT, SHUT], ACLS.get) == {SHUT}
    assert denied_rooms(ServerName("good.com"), [OPEN, SHUT], ACLS.get) == frozenset()


def typing(room_id: object) -> dict[str, Any]:
    content = {"room_id": room_id, "user_id": "@eve:evil.com", "typing": True}
    return {"edu_type": "m.typing", "content": content}


def receipts(*room_ids: str) -> dict[str, Any]:
    mark = {"m.read": {"@eve:evil.com": {"event_ids": ["$1"], "data": {"ts": 1}}}}
    return {"edu_type": "m.receipt", "content": dict.fromkeys(room_ids, mark)}


@pytest.mark.parametrize(
    ("edu", "expected"),
    [
        (typing(OPEN), typing(OPEN)),
        (typing(SHUT), None),
        (receipts(OPEN), receipts(OPEN)),
        (receipts(SHUT), None),
        (receipts(SHUT, OPEN), receipts(OPEN)),
        ({"edu_type": "m.presence", "content": {"push": []}},) * 2,
        # Not local to a room, whatever it says.
        ({"edu_type": "m.direct_to_device", "content": {"room_id": SHUT}},) * 2,
        # Malformed ones are left to whoever reads them.
        (typing(None),) * 2,
        ({"edu_type": "m.typing", "content": [SHUT]},) * 2,
        ({"edu_type": "m.receipt"},) * 2,
        ({"content": {"room_id": SHUT}},) * 2,
        ({"edu_type": ["m.typing"], "content": {}},) * 2,
    ],
)
def test_edus(edu: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert permitted(edu, EVIL, ACLS.get) == expected
    assert permitted(edu, ServerName("good.com"), ACLS.get) == edu


def test_filtering_leaves_the_edu_as_it_was() -> None:
    edu = receipts(SHUT, OPEN)
    permitted(edu, EVIL, ACLS.get)
    assert edu == receipts(SHUT, OPEN)


def test_rooms_of() -> None:
    assert rooms_of(typing(SHUT)) == {SHUT}
    assert rooms_of(receipts(SHUT, OPEN)) == {SHUT, OPEN}
    assert rooms_of(typing(5)) == frozenset()
    assert rooms_of({"edu_type": "m.presence", "content": {"room_id": SHUT}}) == frozenset()


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("send_join", "v1 v2"),
        ("send_leave", "v1 v2"),
        ("invite", "v1 v2"),
        ("make_join", "v1"),
        ("make_leave", "v1"),
        ("make_knock", "v1"),
        ("send_knock", "v1"),
        ("state", "v1"),
        ("state_ids", "v1"),
        ("backfill", "v1"),
        ("event_auth", "v1"),
        ("get_missing_events", "v1"),
        ("send", ""),
        ("event", ""),
        ("query", ""),
    ],
)
def test_protected_endpoints(name: str, versions: str) -> None:
    found = [p.split("/")[3] for p in PROTECTED_ENDPOINTS if p.rpartition("/")[2] == name]
    assert " ".join(sorted(found)) == versions
