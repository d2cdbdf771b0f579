"""Mistakes of ours that the comparison found, each in its simplest form; Synapse is not asked.

Kept so that a change that brings one back is told what it broke by a line, not by a random event.
"""

import json
from typing import Any

import pytest

from federation.auth import auth_events_for, authorise
from federation.decision import Denied
from federation.errors import EventFormatError
from federation.events import parse
from federation.room_versions import ROOM_VERSIONS, V1, V5, V8, V12, RoomVersion
from federation.signatures import required_signers
from tests.oracle.rooms import ANN, BOB
from tests.oracle.scenes import fields_of, plain_room, sent

ALL_VERSIONS = pytest.mark.parametrize(
    "version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}"
)


@ALL_VERSIONS
def test_without_power_levels_state_needs_level_50(version: RoomVersion) -> None:
    """ "... or there is no m.room.power_levels event, the state_default is 50."

    https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
    """
    room = plain_room(version)
    del room.state["m.room.power_levels", ""]
    verdict = authorise(sent(room, "m.room.topic", BOB, {"topic": "t"}, ""), room.state)
    assert isinstance(verdict, Denied)
    assert verdict.rule == "sender.level"


@ALL_VERSIONS
@pytest.mark.parametrize("membership", [["join"], {"membership": "join"}], ids=["list", "object"])
def test_membership_that_cannot_be_hashed_selects_nothing(
    version: RoomVersion, membership: Any
) -> None:
    """An event from a hostile server is denied; it must not raise."""
    room = plain_room(version)
    event = room.make.make("m.room.member", ANN, {"membership": membership}, ANN)
    assert ("m.room.join_rules", "") not in auth_events_for(event)


@pytest.mark.parametrize("version", [V8, V12], ids=["v8", "v12"])
def test_authoriser_that_is_null_is_still_a_key(version: RoomVersion) -> None:
    """ "If content has a join_authorised_via_users_server key": nobody can have signed for null."""
    room = plain_room(version)
    content = {"membership": "join", "join_authorised_via_users_server": None}
    event = room.make.make("m.room.member", ANN, content, ANN)
    assert not required_signers(event) <= {"a.example"}


@pytest.mark.parametrize("version", [V1, V5], ids=["v1", "v5"])
@pytest.mark.parametrize("timestamp", [2**63, -(2**63) - 1, 10**30])
def test_timestamp_beyond_64_bits_is_no_event(version: RoomVersion, timestamp: int) -> None:
    """The event format has it as an int64, and so has every database."""
    room = plain_room(version)
    fields = {**fields_of(room.create), "origin_server_ts": timestamp}
    with pytest.raises(EventFormatError):
        parse(json.dumps(fields).encode(), version)


@ALL_VERSIONS
@pytest.mark.parametrize("unsigned", [None, True, 1, "x", []])
def test_unsigned_that_is_no_object_is_no_event(version: RoomVersion, unsigned: Any) -> None:
    """The event format has it as an object."""
    room = plain_room(version)
    fields = {**fields_of(room.create), "unsigned": unsigned}
    with pytest.raises(EventFormatError):
        parse(json.dumps(fields).encode(), version)
