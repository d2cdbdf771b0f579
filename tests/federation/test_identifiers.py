from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import IdentifierError
from federation.identifiers import (
    HostAndPort,
    ServerName,
    domain_of,
    is_hashed_id,
    is_user_id,
    key_algorithm,
    localpart_of,
    new_room_alias,
    new_user_id,
    parse_event_id,
    parse_key_id,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
    split_server_name,
)

HASH = "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
HASH_V3 = "acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"
ONE = ServerName("one.test")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The examples of the specification.
        ("matrix.org", HostAndPort("matrix.org", None, False)),
        ("matrix.org:8888", HostAndPort("matrix.org", 8888, False)),
        ("1.2.3.4", HostAndPort("1.2.3.4", None, True)),
        ("1.2.3.4:1234", HostAndPort("1.2.3.4", 1234, True)),
        ("[1234:5678::abcd]", HostAndPort("1234:5678::abcd", None, True)),
        ("[1234:5678::abcd]:5678", HostAndPort("1234:5678::abcd", 5678, True)),
        # And more.
        ("localhost", HostAndPort("localhost", None, False)),
        ("MATRIX.org", HostAndPort("MATRIX.org", None, False)),
        ("a", HostAndPort("a", None, False)),
        ("xn--mnchen-3ya.example", HostAndPort("xn--mnchen-3ya.example", None, False)),
        ("1.2.3", HostAndPort("1.2.3", None, False)),
        ("1.2.3.4.example", HostAndPort("1.2.3.4.example", None, False)),
        ("[::]:1", HostAndPort("::", 1, True)),
        ("[::ffff:1.2.3.4]", HostAndPort("::ffff:1.2.3.4", None, True)),
        ("a:65535", HostAndPort("a", 65535, False)),
        ("a:00080", HostAndPort("a", 80, False)),
        ("a" * 255, HostAndPort("a" * 255, None, False)),
    ],
)
def test_server_names(name: str, expected: HostAndPort) -> None:
    assert split_server_name(name) == expected
    assert parse_server_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        ":8448",
        "a:",
        "a:b",
        "a:123456",
        "a:65536",
        "a:0",
        "a:-1",
        "a:+1",
        "a: 1",
        "a:1:2",
        "a:\u0663",  # a digit, but not an ASCII one
        "1.2.3.\u0664",
        "a b",
        " a",
        "a\n",
        "a\0",
        "a/b",
        "a_b",
        "user@a",
        "a%eth0",
        "m\u00fcnchen.example",
        "a" * 256,
        "\ud800",
        # "a sequence of four decimal numbers in the range 0 to 255"
        "256.1.1.1",
        "999.1.1.1:80",
        "01.2.3.4",
        # "surrounded with square brackets"
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[1.2.3.4]",
        "[::1]8448",
        "[::1]:",
        "[fe80::1%eth0]",
        "[1:2:3:4:5:6:7:8:9]",
        "[:::]",
        "[matrix.org]",
        "[" + "0" * 46 + "]",
    ],
)
def test_no_server_names(name: str) -> None:
    with pytest.raises(IdentifierError):
        parse_server_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "@ann:one.test",
        "@a.b_c=d-e/f+1:one.test",
        "@ann:one.test:8448",
        "@ann:[::1]:8448",
        "@ann:1.2.3.4",
        # "any legal non-surrogate Unicode code points except for : and NUL (U+0000), including
        # other control characters and the empty string"
        "@:one.test",
        "@Ann:one.test",
        "@Ann Smith:one.test",
        "@\u00e4nn:one.test",
        "@\U0001f600:one.test",
        "@\x01\n\x7f:one.test",
        "@@ann:one.test",
        "@" + "a" * 245 + ":one.test",
    ],
)
def test_user_ids(text: str) -> None:
    assert parse_user_id(text) == text
    assert is_user_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann:one.test",
        "ann",
        "@ann",
        "@ann:",
        "@:",
        "@ann:one test",
        "@ann:one.test:",
        "@ann:one.test:port",
        "@ann:b:one.test",
        "@ann\0:one.test",
        "@ann:one.test\0",
        "@ann\ud800:one.test",
        "#ann:one.test",
        " @ann:one.test",
        "@ann:one.test\n",
        "@" + "a" * 246 + ":one.test",
    ],
)
def test_no_user_ids(text: str) -> None:
    with pytest.raises(IdentifierError):
        parse_user_id(text)
    assert not is_user_id(text)


@pytest.mark.parametrize("thing", [None, 5, ["@ann:one.test"], b"@ann:one.test"])
def test_what_is_no_string_is_no_user_id(thing: object) -> None:
    assert not is_user_id(thing)


@pytest.mark.parametrize(
    ("text", "parse"),
    [
        ("!abc:one.test", parse_room_id),
        ("!abc:one.test:8448", parse_room_id),
        (f"!{HASH}", parse_room_id),  # "Room IDs can now appear without a domain"
        ("!a", parse_room_id),
        ("!\u00e4 \n:one.test", parse_room_id),
        ("$abc:one.test", parse_event_id),  # room versions 1 and 2
        (f"${HASH_V3}", parse_event_id),  # room version 3, any base64
        (f"${HASH}", parse_event_id),  # since room version 4
        ("$a", parse_event_id),
        ("#room:one.test", parse_room_alias),
        ("#r\u00f6\u00f6m 1:one.test:8448", parse_room_alias),
        ("#:one.test", parse_room_alias),
    ],
)
def test_other_identifiers(text: str, parse: Callable[[str], str]) -> None:
    assert parse(text) == text


@pytest.mark.parametrize(
    ("text", "parse"),
    [
        ("", parse_room_id),
        ("!", parse_room_id),
        ("abc:one.test", parse_room_id),
        ("#abc:one.test", parse_room_id),
        ("!a\0:one.test", parse_room_id),
        ("!a\udfff", parse_room_id),
        ("", parse_event_id),
        ("$", parse_event_id),
        (HASH, parse_event_id),
        (f"!{HASH}", parse_event_id),
        ("$\0", parse_event_id),
        ("$\ud83d:one.test", parse_event_id),
        ("#", parse_room_alias),
        ("#room", parse_room_alias),
        ("#room:", parse_room_alias),
        ("room:one.test", parse_room_alias),
        ("#ro:om:one.test", parse_room_alias),
        ("#ro\0om:one.test", parse_room_alias),
    ],
)
def test_no_other_identifiers(text: str, parse: Callable[[str], str]) -> None:
    with pytest.raises(IdentifierError):
        parse(text)


@pytest.mark.parametrize(
    ("sigil", "parse"),
    [("@", parse_user_id), ("!", parse_room_id), ("$", parse_event_id), ("#", parse_room_alias)],
)
@pytest.mark.parametrize("character", ["a", "\u00e4", "\u65e5", "\U0001f600"])
def test_the_limit_is_in_bytes(sigil: str, parse: Callable[[str], str], character: str) -> None:
    """255 of them, sigil and domain included, however many characters that are."""
    left = 255 - len(f"{sigil}:one.test")
    size = len(character.encode())
    most = character * (left // size) + "x" * (left % size)
    parse(f"{sigil}{most}:one.test")
    with pytest.raises(IdentifierError):
        parse(f"{sigil}{most}x:one.test")


@pytest.mark.parametrize("localpart", ["ann", "a.b_c=d-e/f+1", "0"])
def test_new_user_ids(localpart: str) -> None:
    assert new_user_id(localpart, ONE) == f"@{localpart}:one.test"


@pytest.mark.parametrize(
    "localpart", ["", "Ann", "\u00e4nn", "a b", "a:b", "ann\n", "a*", "@ann", "\u0661", "a" * 246]
)
def test_no_new_user_ids(localpart: str) -> None:
    with pytest.raises(IdentifierError):
        new_user_id(localpart, ONE)


@pytest.mark.parametrize("localpart", ["room", "R\u00f6\u00f6m 1", "#"])
def test_new_room_aliases(localpart: str) -> None:
    assert parse_room_alias(new_room_alias(localpart, ONE)) == f"#{localpart}:one.test"


@pytest.mark.parametrize("localpart", ["", "a:b", "a\0", "\ud800", "a" * 246, "\u00e4" * 123])
def test_no_new_room_aliases(localpart: str) -> None:
    with pytest.raises(IdentifierError):
        new_room_alias(localpart, ONE)


@pytest.mark.parametrize("text", ["ed25519:1", "ed25519:a_B9", "ed25519:policy_server", "x.y-z:0"])
def test_key_ids(text: str) -> None:
    assert parse_key_id(text) == text
    assert key_algorithm(text) == text.split(":")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "ed25519",
        "ed25519:",
        ":1",
        "ed25519:a b",
        "ed25519:a-b",
        "ed25519:a:b",
        "ed25519:\u00e4",
        "ed25519:1\n",
        "Ed25519:1",
        "ed25519:" + "a" * 248,
    ],
)
def test_no_key_ids(text: str) -> None:
    with pytest.raises(IdentifierError):
        parse_key_id(text)


@pytest.mark.parametrize(
    ("identifier", "localpart", "domain"),
    [
        ("@ann:one.test", "ann", "one.test"),
        ("@ann:one.test:8448", "ann", "one.test:8448"),
        ("@ann:[::1]:8448", "ann", "[::1]:8448"),
        ("@:one.test", "", "one.test"),
        (f"${HASH}", HASH, ""),
        (f"!{HASH}", HASH, ""),
    ],
)
def test_parts(identifier: str, localpart: str, domain: str) -> None:
    assert localpart_of(identifier) == localpart
    assert domain_of(identifier) == domain


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (f"${HASH}", True),
        (f"!{HASH}", True),
        (f"${HASH_V3}", True),
        (f"${HASH}:one.test", False),
        (f"${HASH[1:]}", False),
        (f"${HASH}=", False),
        ("$abc:one.test", False),
    ],
)
def test_hashed_ids(identifier: str, expected: bool) -> None:
    assert is_hashed_id(identifier) is expected


PARSERS = [
    parse_user_id,
    parse_room_id,
    parse_event_id,
    parse_room_alias,
    parse_server_name,
    parse_key_id,
]
PIECES = [
    *("@", "!", "$", "#", ":", "[", "]", ".", "a", "Z", "0", "255", "::1", "one.test", "8448"),
    *("\0", "\ud800", "\u00e4", "\U0001f600", "%", "-", "_", "\n", " ", HASH, "a" * 250),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=8).map("".join)))
def test_any_text_is_taken_as_it_is_or_refused(text: str) -> None:
    for parse in PARSERS:
        try:
            assert parse(text) == text
        except IdentifierError:
            continue
        assert "\0" not in text
        assert len(text.encode()) <= 255 + len(":65535")


@given(st.from_regex(r"[a-z0-9._=/+-]{1,240}", fullmatch=True))
def test_new_user_ids_parse(localpart: str) -> None:
    user_id = new_user_id(localpart, ONE)
    assert parse_user_id(user_id) == user_id
    assert (localpart_of(user_id), domain_of(user_id)) == (localpart, ONE)


def _is_server_name(name: str) -> bool:
    try:
        return bool(parse_server_name(name))
    except IdentifierError:
        return False


_PIECES = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


@given(st.one_of(st.text(), _PIECES), st.one_of(st.text("a9.-:Z"), _PIECES))
def test_user_ids_are_what_their_parts_are(localpart: str, server: str) -> None:
    text = f"@{localpart}:{server}"
    is_text = not any("\ud800" <= one <= "\udfff" or one in "\0:" for one in localpart)
    is_short = is_text and len(text.encode(errors="replace")) <= 255
    assert is_user_id(text) is (is_short and _is_server_name(server))
