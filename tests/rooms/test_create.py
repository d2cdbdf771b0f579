"""What a new room begins with, by the table and the order of the specification."""

from typing import Any

import pytest

from federation.identifiers import RoomAlias, RoomID
from federation.room_versions import V1, V11, V12, RoomVersion
from homeserver.rooms.create import InitialState, NewRoom, Preset, create_event, first_events
from tests.federation.rooms import ANN, BOB, CAT

ROOM = RoomID("!r:one.test")


def content(version: RoomVersion, kind: str, **wanted: Any) -> Any:
    """The content of the only event of that type; `None` if there is none."""
    new = NewRoom(ANN, version, **{"preset": Preset.PRIVATE, **wanted})
    found = [draft.content for draft in first_events(new, ROOM) if draft.type == kind]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.parametrize(
    ("preset", "join_rule", "visibility", "guests"),
    [
        (Preset.PRIVATE, "invite", "shared", "can_join"),
        (Preset.TRUSTED, "invite", "shared", "can_join"),
        (Preset.PUBLIC, "public", "shared", "forbidden"),
    ],
)
def test_presets(preset: Preset, join_rule: str, visibility: str, guests: str) -> None:
    assert content(V12, "m.room.join_rules", preset=preset) == {"join_rule": join_rule}
    assert content(V12, "m.room.history_visibility", preset=preset) == {
        "history_visibility": visibility
    }
    assert content(V12, "m.room.guest_access", preset=preset) == {"guest_access": guests}


def test_the_order() -> None:
    new = NewRoom(
        ANN,
        V12,
        Preset.PUBLIC,
        name="Hall",
        topic="All",
        alias=RoomAlias("#hall:one.test"),
        invites=[BOB],
        initial_state=[InitialState("m.room.avatar", {"url": "mxc://one.test/a"})],
    )
    assert [draft.type for draft in first_events(new, ROOM)] == [
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.guest_access",
        "m.room.avatar",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ]


@pytest.mark.parametrize(("version", "names"), [(V1, True), (V11, False), (V12, False)])
def test_the_creator(version: RoomVersion, names: bool) -> None:
    """ "The server will overwrite the following keys: creator, room_version." """
    given = {"creator": BOB, "room_version": "9", "m.federate": False}
    new = NewRoom(ANN, version, Preset.PUBLIC, creation_content=given)
    draft = create_event(new, ROOM)
    expected = {"room_version": version.name, "m.federate": False}
    assert draft.content == (expected | {"creator": ANN} if names else expected)
    assert (draft.type, draft.sender, draft.state_key) == ("m.room.create", ANN, "")


def test_trusted_invitees() -> None:
    """Before version 12 they get the creator's level, since then they are creators."""
    trusted = {"preset": Preset.TRUSTED, "invites": [BOB, CAT]}
    assert content(V11, "m.room.power_levels", **trusted)["users"] == {ANN: 100, BOB: 100, CAT: 100}
    assert content(V12, "m.room.power_levels", **trusted)["users"] == {}
    more = {"additional_creators": [CAT]}
    new = NewRoom(ANN, V12, Preset.TRUSTED, invites=[BOB, CAT], creation_content=more)
    assert create_event(new, None).content["additional_creators"] == [CAT, BOB]
    private = NewRoom(ANN, V12, Preset.PRIVATE, invites=[BOB])
    assert "additional_creators" not in create_event(private, None).content


@pytest.mark.parametrize(("version", "level"), [(V11, 100), (V12, 150)])
def test_tombstones(version: RoomVersion, level: int) -> None:
    assert content(version, "m.room.power_levels")["events"]["m.room.tombstone"] == level


def test_the_override_wins() -> None:
    found = content(V11, "m.room.power_levels", invite_level=50, levels={"invite": 0, "ban": 75})
    assert (found["invite"], found["ban"], found["kick"]) == (0, 75, 50)
    assert content(V11, "m.room.power_levels", invite_level=50)["invite"] == 50


def test_initial_state_wins_over_the_preset_and_loses_to_name_and_topic() -> None:
    given = [
        InitialState("m.room.join_rules", {"join_rule": "knock"}),
        InitialState("m.room.name", {"name": "given"}),
        InitialState("m.room.topic", {"topic": "given"}),
    ]
    assert content(V12, "m.room.join_rules", initial_state=given) == {"join_rule": "knock"}
    assert content(V12, "m.room.name", initial_state=given, name="wanted") == {"name": "wanted"}
    assert content(V12, "m.room.topic", initial_state=given) == {"topic": "given"}


def test_a_topic_also_as_text() -> None:
    found = content(V12, "m.room.topic", topic="t")
    assert found == {"topic": "t", "m.topic": {"m.text": [{"body": "t"}]}}


@pytest.mark.parametrize(
    ("wanted", "is_encrypted"),
    [
        ({}, True),
        ({"encrypt": False}, False),
        ({"preset": Preset.PUBLIC}, False),
        ({"preset": Preset.TRUSTED}, True),
        ({"creation_content": {"type": "m.space"}}, False),
    ],
)
def test_encryption(wanted: dict[str, Any], is_encrypted: bool) -> None:
    """Private rooms for people are encrypted, unless they say otherwise."""
    found = content(V12, "m.room.encryption", **{"encrypt": True, **wanted})
    assert (found is not None) is is_encrypted
    given = [InitialState("m.room.encryption", {"algorithm": "org.example"})]
    named = content(V12, "m.room.encryption", **{"encrypt": True, **wanted, "initial_state": given})
    assert named == {"algorithm": "org.example"}


def test_invites() -> None:
    new = NewRoom(ANN, V12, Preset.PRIVATE, invites=[BOB], is_direct=True)
    invite = first_events(new, ROOM)[-1]
    assert (invite.type, invite.state_key) == ("m.room.member", BOB)
    assert invite.content == {"membership": "invite", "is_direct": True}
