from collections.abc import Mapping
from typing import Any

import pytest

from federation.history_visibility import (
    HistoryVisibility,
    ServerFacts,
    UserFacts,
    is_redacted_for,
    read_visibility,
    server_may_see,
    user_may_see,
)

WORLD_READABLE = HistoryVisibility.WORLD_READABLE
SHARED = HistoryVisibility.SHARED
INVITED = HistoryVisibility.INVITED
JOINED = HistoryVisibility.JOINED

MEMBERSHIPS = [None, "leave", "ban", "knock", "invite", "join", "no such membership"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"history_visibility": "world_readable"}, WORLD_READABLE),
        ({"history_visibility": "shared"}, SHARED),
        ({"history_visibility": "invited"}, INVITED),
        ({"history_visibility": "joined"}, JOINED),
        (None, SHARED),
        ({}, SHARED),
        ({"history_visibility": "JOINED"}, SHARED),
        ({"history_visibility": "org.example.friends"}, SHARED),
        ({"history_visibility": None}, SHARED),
        ({"history_visibility": ["joined"]}, SHARED),
        ({"history_visibility": {"joined": 1}}, SHARED),
    ],
)
def test_reading(content: Mapping[str, Any] | None, expected: HistoryVisibility) -> None:
    assert read_visibility(content) is expected


@pytest.mark.parametrize("membership", MEMBERSHIPS)
@pytest.mark.parametrize("joined_later", [False, True])
@pytest.mark.parametrize("visibility", HistoryVisibility)
def test_users(visibility: HistoryVisibility, membership: str | None, joined_later: bool) -> None:
    """The five rules, as one table of what is allowed."""
    allowed = {
        WORLD_READABLE: True,
        SHARED: membership == "join" or joined_later,
        INVITED: membership in {"invite", "join"},
        JOINED: membership == "join",
    }[visibility]
    assert user_may_see(UserFacts([visibility], [membership], joined_later)) is allowed


@pytest.mark.parametrize(
    ("before", "after", "membership", "expected"),
    [
        (WORLD_READABLE, JOINED, None, True),
        (JOINED, WORLD_READABLE, None, True),
        (INVITED, JOINED, "invite", True),
        (JOINED, INVITED, "invite", True),
        (JOINED, INVITED, None, False),
        (SHARED, JOINED, "leave", False),
    ],
)
def test_events_that_change_the_visibility(
    before: HistoryVisibility, after: HistoryVisibility, membership: str | None, expected: bool
) -> None:
    facts = UserFacts([before, after], [membership], joined_later=False)
    assert user_may_see(facts) is expected


@pytest.mark.parametrize(
    ("visibility", "before", "after", "expected"),
    [
        (JOINED, None, "join", True),
        (JOINED, "invite", "join", True),
        (JOINED, "join", "leave", True),
        (JOINED, "join", "ban", True),
        (JOINED, None, "invite", False),
        (JOINED, "invite", "leave", False),
        (INVITED, None, "invite", True),
        (INVITED, "invite", "leave", True),
        (INVITED, "leave", "ban", False),
        (INVITED, "leave", "knock", False),
        (SHARED, "leave", "ban", False),
    ],
)
def test_own_membership_events(
    visibility: HistoryVisibility, before: str | None, after: str, expected: bool
) -> None:
    facts = UserFacts([visibility], [before, after], joined_later=False)
    assert user_may_see(facts) is expected


def test_nothing_known_is_nothing_seen() -> None:
    assert not user_may_see(UserFacts([], ["join"], joined_later=True))
    assert not user_may_see(UserFacts([WORLD_READABLE], [], joined_later=True))
    assert not server_may_see(ServerFacts([], ["join"], is_in_room=True))


@pytest.mark.parametrize(
    ("visibility", "memberships", "is_in_room", "expected"),
    [
        ([WORLD_READABLE], [], True, True),
        ([WORLD_READABLE], [], False, False),
        ([SHARED], [], True, True),
        ([SHARED], [], False, False),
        ([SHARED], ["join"], False, True),
        ([INVITED], [], True, False),
        ([INVITED], ["leave", "knock", "ban"], True, False),
        ([INVITED], ["leave", "invite"], True, True),
        ([INVITED], ["join"], True, True),
        ([JOINED], [], True, False),
        ([JOINED], ["invite", "leave"], True, False),
        ([JOINED], ["leave", "join"], True, True),
        ([JOINED, SHARED], [], True, True),
        ([JOINED, INVITED], ["invite"], True, True),
        ([JOINED, INVITED], ["leave"], True, False),
    ],
)
def test_servers(
    visibility: list[HistoryVisibility], memberships: list[str], is_in_room: bool, expected: bool
) -> None:
    assert server_may_see(ServerFacts(visibility, memberships, is_in_room)) is expected


@pytest.mark.parametrize("membership", MEMBERSHIPS)
def test_what_a_server_may_have_is_what_a_user_on_it_may_see(membership: str | None) -> None:
    """For a server in the room with a single user, who joined after all of this."""
    for visibility in HistoryVisibility:
        memberships = [] if membership is None else [membership]
        server = server_may_see(ServerFacts([visibility], memberships, is_in_room=True))
        user = user_may_see(UserFacts([visibility], [membership], joined_later=True))
        assert server is user


@pytest.mark.parametrize(
    ("memberships", "erased", "expected"),
    [
        (["join"], True, False),
        (["invite", "join"], True, False),
        (["invite"], True, True),
        ([None], True, True),
        ([], True, True),
        ([], False, False),
        (["join"], False, False),
    ],
)
def test_erased_senders(memberships: list[str | None], erased: bool, expected: bool) -> None:
    assert is_redacted_for(memberships, sender_is_erased=erased) is expected
