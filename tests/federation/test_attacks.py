"""What somebody might try against a room, told as stories.

Events here are well-formed and really signed: the attackers own their servers. What stops them is
the place they have in the graph, the rules, and the resolution of state.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from federation.auth import authorise
from federation.building import Signer, add_signature, sign_event
from federation.decision import ALLOWED, Denied
from federation.events import Event, StateKey, parse
from federation.identifiers import UserID
from federation.power_levels import PowerLevels
from federation.room_versions import V1, V2, V7, V8, V11, V12, RoomVersion
from federation.server_keys import Keys
from federation.signatures import verified
from federation.signing import encode_base64, sign_json
from federation.verdict import Evidence, Outcome, judge
from tests.federation.auth_cases import broken_rule, create_event, since, until
from tests.federation.rooms import (
    ALL_VERSIONS,
    ANN,
    BOB,
    CAT,
    DAN,
    Branch,
    Room,
    fields_of,
    keys_of,
    signer,
)

EVE = "@eve:evil.test"
LEVELS: StateKey = ("m.room.power_levels", "")
TOPIC: StateKey = ("m.room.topic", "")

Fate = tuple[Outcome, str | None]
ACCEPTED: Fate = (Outcome.ACCEPTED, None)


def in_versions(versions: Sequence[RoomVersion]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("version", versions, ids=lambda v: f"v{v.name}")


def town(version: RoomVersion, **levels: Any) -> Room:
    """Ann's room. Dan has her level, Cat is a moderator, Bob and Eve are members."""
    users = {} if version.privileged_creators else {str(ANN): 100}
    room = Room(version, levels={"users": {**users, DAN: 100, CAT: 50}, **levels})
    for user in (BOB, CAT, DAN, EVE):
        room.join(user)
    return room


def users_of(branch: Branch) -> Mapping[str, int]:
    users: Mapping[str, int] = branch.state[LEVELS].content["users"]
    return users


def set_levels(
    branch: Branch, sender: str, users: Mapping[str, int | None], **options: Any
) -> Event:
    """Change the levels of some users; `None` removes one."""
    merged = {**users_of(branch), **users}
    new = {user: level for user, level in merged.items() if level is not None}
    return branch.power_levels(sender, {**branch.state[LEVELS].content, "users": new}, **options)


def membership(branch: Branch, user: str) -> str | None:
    return branch.state[("m.room.member", user)].membership


def fate(event: Event, before: Branch, current: Branch | None = None) -> Fate:
    """What becomes of an event that arrives when the room stands as `current`."""
    room = before.room
    evidence = Evidence(
        [room.events[cited] for cited in event.auth_events],
        room.create,
        state_before=before.state,
        current_state=(current or before).state,
    )
    ruling = judge(event, evidence)
    return ruling.outcome, ruling.denial.rule if ruling.denial else None


def rejected_by(rule: str) -> Fate:
    return Outcome.REJECTED, rule


def soft_failed_by(rule: str) -> Fate:
    return Outcome.SOFT_FAILED, rule


def lie(branch: Branch, event: Event, **fields: Any) -> Event:
    """The same event with other fields, as its sender's server might have signed it."""
    server = event.sender.partition(":")[2]
    del branch.room.events[event.event_id]
    lied = sign_event({**fields_of(event), **fields}, event.version, signer(server))
    branch.add(lied)
    return lied


# --- Acting from the past: events that claim a place before one's ban or demotion


@in_versions(ALL_VERSIONS)
def test_ban_evasion_through_a_fork(version: RoomVersion) -> None:
    """Eve is banned, and goes on talking from a place before the ban: nobody gets to see it."""
    room = town(version)
    past = room.fork()
    room.ban(ANN, EVE)
    before = past.fork()
    message = past.send("m.room.message", EVE, {"body": "still here"})
    assert authorise(message, before.state) is ALLOWED
    assert fate(message, before) == ACCEPTED
    assert fate(message, before, room) == soft_failed_by("sender.membership")
    merged = room.merge(room, past)
    assert membership(merged, EVE) == "ban"
    assert fate(merged.fork().send("m.room.message", EVE, {}, check=False), merged) == (
        rejected_by("sender.membership")
    )


@in_versions(ALL_VERSIONS)
def test_rejoining_from_the_past(version: RoomVersion) -> None:
    """Eve, banned, leaves and joins again on a fork from before the ban: she stays banned."""
    room = town(version)
    past = room.fork()
    room.ban(ANN, EVE)
    past.leave(EVE)
    before = past.fork()
    join = past.join(EVE)
    assert fate(join, before, room) == soft_failed_by("join.banned")
    if version is not V1:
        assert membership(room.merge(room, past), EVE) == "ban"
        assert membership(room.merge(past, room), EVE) == "ban"


@in_versions(ALL_VERSIONS)
def test_citing_an_old_membership(version: RoomVersion) -> None:
    """Eve, banned, places her event after the ban, but cites her join as its authority."""
    room = town(version)
    past = room.fork()
    room.ban(ANN, EVE)
    cited = past.send("m.room.message", EVE, {}).auth_events
    message = room.fork().send(
        "m.room.message",
        EVE,
        {"body": "still here"},
        auth_events=[room.events[found] for found in cited],
        check=False,
    )
    assert fate(message, room) == rejected_by("sender.membership")


@in_versions(ALL_VERSIONS)
def test_leaving_the_power_levels_out(version: RoomVersion) -> None:
    """The room is moderated. Bob cites no power levels, so that their defaults let him speak."""
    room = town(version, events_default=50)
    cited = [] if version is V12 else [room.create]
    message = room.fork().send(
        "m.room.message",
        BOB,
        {"body": "psst"},
        auth_events=[*cited, room.state[("m.room.member", BOB)]],
        check=False,
    )
    assert fate(message, room) == rejected_by("sender.level")


@in_versions(ALL_VERSIONS)
def test_backdated_ban(version: RoomVersion) -> None:
    """Cat was a moderator once. She bans Bob, as if long ago: early on the clock, low in depth.

    Only version 1 falls for it: there the event of least depth is taken without a question.
    """
    room = town(version)
    past = room.fork()
    set_levels(room, ANN, {CAT: 0})
    before = past.fork()
    ban = lie(past, past.ban(CAT, BOB), origin_server_ts=1, depth=1)
    assert fate(ban, before, room) == soft_failed_by("ban.level")
    for merged in (room.merge(room, past), room.merge(past, room)):
        assert membership(merged, BOB) == ("ban" if version is V1 else "join")
        assert users_of(merged)[CAT] == 0


@in_versions(ALL_VERSIONS)
@pytest.mark.parametrize(
    "lies", [{}, {"origin_server_ts": 1, "depth": 1}, {"depth": 10**9}], ids=str
)
def test_demoted_admin_on_an_old_fork(version: RoomVersion, lies: Mapping[str, int]) -> None:
    """Cat loses her level. On an old fork she gives it to Eve, at whatever time and depth."""
    room = town(version)
    past = room.fork()
    set_levels(room, ANN, {CAT: 0})
    before = past.fork()
    granted = lie(past, set_levels(past, CAT, {EVE: 50}), **lies)
    assert fate(granted, before, room)[0] is Outcome.SOFT_FAILED
    past.kick(EVE, BOB)
    for merged in (room.merge(room, past), room.merge(past, room)):
        assert EVE not in users_of(merged)
        assert users_of(merged)[CAT] == 0
        assert membership(merged, BOB) == "join"


@in_versions(ALL_VERSIONS)
@pytest.mark.parametrize("depth", [1, 10**9])
def test_depth_of_a_topic(version: RoomVersion, depth: int) -> None:
    """Two moderators set the topic at once, one lies about depth: only version 1 listens to it."""
    room = town(version)
    left, right = room.fork(), room.fork()
    honest = left.send("m.room.topic", CAT, {"topic": "honest"}, "")
    lied = lie(right, right.send("m.room.topic", DAN, {"topic": "lie"}, ""), depth=depth)
    assert honest.origin_server_ts < lied.origin_server_ts
    winner = honest if version is V1 and depth == 1 else lied
    assert room.resolve(left, right)[TOPIC] == winner.event_id
    assert room.resolve(right, left)[TOPIC] == winner.event_id


# --- State resets: an old fork must not undo what was decided since


@in_versions(ALL_VERSIONS)
def test_reset_of_a_ban(version: RoomVersion) -> None:
    """Cat bans Eve, then leaves. Bob's server, which saw neither, sends a message.

    Version 1 "is known to have bugs that can cause the state of rooms to reset to older versions
    [...] users who have been banned from the room may be able to rejoin": there Eve is back.
    """
    room = town(version)
    past = room.fork()
    room.ban(CAT, EVE)
    room.leave(CAT)
    past.send("m.room.message", BOB, {"body": "what did I miss?"})
    for merged in (room.merge(room, past), room.merge(past, room)):
        assert membership(merged, EVE) == ("join" if version is V1 else "ban")


@in_versions(since(V2))
def test_reset_by_an_old_fork(version: RoomVersion) -> None:
    """Ann demotes Cat, bans Eve, closes the room, gives it a name. Cat and Eve put up an old fork
    with everything that they could do then: all that was decided stays decided."""
    room = town(version)
    past = room.fork()
    set_levels(room, ANN, {CAT: 0})
    room.ban(ANN, EVE)
    room.join_rule(ANN, "invite")
    room.send("m.room.name", ANN, {"name": "Town"}, "")
    past.join(EVE, displayname="Eve!")
    past.join_rule(CAT, "public", ts=10**10)
    past.send("m.room.name", CAT, {"name": "Cat's"}, "", ts=10**10)
    set_levels(past, CAT, {EVE: 50}, ts=2)
    past.join("@mallory:evil.test")
    for merged in (room.merge(room, past), room.merge(past, room)):
        assert merged.state == room.state


@in_versions(since(V2))
def test_what_a_denied_kick_takes_along(version: RoomVersion) -> None:
    """As before, but on the old fork Bob, who joined when the room was public, is kicked.

    The kick is denied; yet it makes Bob's join part of the conflict, and that is judged again
    after Ann, who is mightier, has closed the room. All servers lose Bob: such is the algorithm.
    """
    room = town(version)
    past = room.fork()
    set_levels(room, ANN, {CAT: 0})
    past.kick(CAT, BOB)
    assert membership(room.merge(room, past), BOB) == "join"
    room.join_rule(ANN, "invite")
    merged = room.merge(room, past)
    assert ("m.room.member", BOB) not in merged.state
    assert merged.state.items() <= room.state.items()


@in_versions(since(V2))
def test_reset_by_many_forks(version: RoomVersion) -> None:
    """Forks from every point of the past together bring nothing back."""
    room = town(version)
    forks = []
    for step in range(5):
        forks.append(room.fork())
        set_levels(room, ANN, {CAT: 49 - step})
    room.ban(ANN, CAT)
    for fork in forks:
        fork.send("m.room.message", CAT, {"body": "I was here"})
    merged = room.merge(*forks, room)
    assert membership(merged, CAT) == "ban"
    assert users_of(merged)[CAT] == 45


# --- Conflicts between the powerful


@in_versions(since(V2))
def test_two_admins_at_once(version: RoomVersion) -> None:
    """Ann and Dan change the power levels at the same time: all servers agree on the outcome."""
    room = town(version)
    left, right = room.fork(), room.fork()
    by_ann = set_levels(left, ANN, {BOB: 50})
    by_dan = set_levels(right, DAN, {EVE: 50})
    found = room.resolve(left, right)[LEVELS]
    assert found == room.resolve(right, left)[LEVELS]
    # Both are allowed one after the other, so the later one of the order stands: Dan's, who is no
    # creator, or who has the same level and was later.
    assert found == by_dan.event_id
    assert by_ann.origin_server_ts < by_dan.origin_server_ts


@in_versions(since(V2))
def test_moderator_and_admin_at_once(version: RoomVersion) -> None:
    """Dan demotes Cat while she grants Eve her level: the higher level counts, not the clock."""
    room = town(version)
    left, right = room.fork(), room.fork()
    set_levels(left, CAT, {EVE: 50}, ts=5)
    set_levels(right, DAN, {CAT: None})
    for merged in (room.merge(left, right), room.merge(right, left)):
        assert EVE not in users_of(merged)
        assert CAT not in users_of(merged)


@in_versions(until(V11))
def test_equals_cannot_demote_each_other(version: RoomVersion) -> None:
    """Dan is as high as Ann: neither can be rid of the other, each can step down."""
    room = town(version)
    assert fate(set_levels(room.fork(), DAN, {ANN: 99}, check=False), room) == (
        rejected_by("power_levels.user")
    )
    assert fate(room.fork().ban(DAN, ANN, check=False), room) == rejected_by("ban.level")
    assert fate(set_levels(room.fork(), DAN, {DAN: 0}), room) == ACCEPTED


# --- Creators of version 12


@pytest.mark.parametrize("creator", [ANN, CAT])
@pytest.mark.parametrize("level", [0, 50, 100, 2**53 - 1])
def test_listing_a_creator(creator: str, level: int) -> None:
    """Dan lists a creator in the power levels, to bring them down, or up to a level that can be
    overtaken."""
    room = Room(V12, levels={"users": {DAN: 100}}, additional_creators=[CAT])
    room.join(CAT)
    room.join(DAN)
    for sender in (DAN, ANN):
        change = set_levels(room.fork(), sender, {creator: level}, check=False)
        assert fate(change, room) == rejected_by("power_levels.creators")


@pytest.mark.parametrize("creator", [ANN, CAT])
def test_removing_a_creator(creator: str) -> None:
    """Nobody kicks or bans a creator: not Dan at the highest level, not another creator."""
    room = Room(V12, levels={"users": {DAN: 2**53 - 1}}, additional_creators=[CAT])
    room.join(CAT)
    room.join(DAN)
    other = CAT if creator == ANN else ANN
    for sender in (DAN, other):
        assert fate(room.fork().ban(sender, creator, check=False), room) == rejected_by("ban.level")
        assert fate(room.fork().kick(sender, creator, check=False), room) == (
            rejected_by("leave.level")
        )
    assert fate(room.fork().ban(creator, DAN), room) == ACCEPTED


def test_silencing_creators() -> None:
    """Levels beyond everybody's reach do not stop a creator, and stop everybody else."""
    room = Room(V12, levels={"users": {DAN: 100}})
    room.join(DAN)
    top = 2**53 - 1
    room.power_levels(ANN, {"events_default": top, "state_default": top, "users_default": -top})
    assert fate(room.fork().send("m.room.topic", ANN, {}, "", check=True), room) == ACCEPTED
    assert fate(room.fork().send("m.room.message", DAN, {}, check=False), room) == (
        rejected_by("sender.level")
    )


LOOKALIKES: list[tuple[str, Mapping[str, Any], str]] = [
    ("m.room.power_levels", {"users": {DAN: 100}, "additional_creators": [EVE]}, ""),
    ("m.room.topic", {"topic": "x", "additional_creators": [EVE], "creator": EVE}, ""),
    ("m.room.create.more", {"additional_creators": [EVE]}, ""),
    ("m.room.tombstone", {"additional_creators": [EVE]}, ""),
]


@pytest.mark.parametrize(("kind", "content", "state_key"), LOOKALIKES)
def test_creators_named_elsewhere(kind: str, content: Mapping[str, Any], state_key: str) -> None:
    """Only the create event makes creators, however much another event looks like one."""
    room = town(V12)
    room.send(kind, DAN, content, state_key)
    levels = PowerLevels(room.create, room.state[LEVELS])
    assert levels.of(EVE) == 0
    assert fate(room.fork().ban(EVE, BOB, check=False), room) == rejected_by("ban.level")


@in_versions(ALL_VERSIONS)
def test_create_event_sent_later(version: RoomVersion) -> None:
    """Eve, then Ann herself, sends another create event into the room."""
    room = town(version)
    content = {"room_version": version.name, "creator": EVE, "additional_creators": [EVE]}
    for sender in (EVE, ANN):
        again = room.fork().send("m.room.create", sender, content, "", auth_events=[], check=False)
        assert fate(again, room) == rejected_by("create.prev_events")


@in_versions(ALL_VERSIONS)
def test_parentless_create_event(version: RoomVersion) -> None:
    """Eve makes a create event without parents that claims the room: its ID is Ann's server's, or
    since version 12, cannot be claimed at all."""
    room = town(version)
    made = create_event(version, {"creator": EVE}, room_id=room.room_id)
    by_eve = sign_event({**fields_of(made), "sender": EVE}, version, signer("evil.test"))
    assert broken_rule(authorise(by_eve, {})) == "create.room_id"
    own = Room(version, creator=UserID(EVE))
    assert own.room_id != room.room_id
    message = own.send("m.room.message", EVE, {})
    assert broken_rule(authorise(message, room.state)) == "state.room"


@in_versions(until(V11))
def test_additional_creators_before_their_time(version: RoomVersion) -> None:
    """Before version 12 the words mean nothing, even in the create event itself."""
    room = Room(version, additional_creators=[EVE])
    room.join(EVE)
    room.join(BOB)
    assert fate(room.fork().ban(EVE, BOB, check=False), room) == rejected_by("ban.level")


# --- Borrowed authority


@in_versions(ALL_VERSIONS)
def test_power_levels_of_another_room(version: RoomVersion) -> None:
    """Eve is the queen of her own room, and cites its power levels in Ann's."""
    room, own = town(version), Room(version, creator=UserID(EVE))
    cited = [own.state[LEVELS], room.state[("m.room.member", EVE)]]
    if not version.room_id_is_create_id:
        cited.append(room.create)
    topic = room.fork().send("m.room.topic", EVE, {}, "", auth_events=cited, check=False)
    room.events[own.state[LEVELS].event_id] = own.state[LEVELS]
    assert fate(topic, room) == rejected_by("auth_events.room")


@in_versions(ALL_VERSIONS)
def test_duplicate_auth_events(version: RoomVersion) -> None:
    """Cat cites the power levels twice: the old ones, by which she may, and the new ones."""
    room = town(version)
    old = room.state[LEVELS]
    set_levels(room, ANN, {CAT: 0})
    right = [room.events[e] for e in room.fork().ban(CAT, BOB, check=False).auth_events]
    for cited in ([*right, old], [old, *right]):
        ban = room.fork().ban(CAT, BOB, auth_events=cited, check=False)
        assert fate(ban, room) == rejected_by("auth_events.duplicate")
    twice = room.fork().send("m.room.message", CAT, {}, auth_events=[right[0]] * 2, check=False)
    assert fate(twice, room) == rejected_by("auth_events.duplicate")


@in_versions(ALL_VERSIONS)
def test_old_auth_events(version: RoomVersion) -> None:
    """Cat cites only the old power levels, by which she may: the state before the event decides."""
    room = town(version)
    past = room.fork()
    set_levels(room, ANN, {CAT: 0})
    right = [room.events[found] for found in past.ban(CAT, BOB).auth_events]
    ban = room.fork().ban(CAT, BOB, auth_events=right, check=False)
    assert fate(ban, room) == rejected_by("ban.level")


@in_versions(ALL_VERSIONS)
def test_forged_join_of_the_creator(version: RoomVersion) -> None:
    """Eve joins Ann into the room again.

    By the words of the rule, which does not look at the sender, that may be done where the create
    event is the only parent; nowhere else.
    """
    room = town(version)
    room.leave(ANN)
    assert fate(room.fork().member(EVE, ANN, "join", check=False), room) == (
        rejected_by("join.sender")
    )
    beginning = Branch(room, [room.create], {("m.room.create", ""): room.create})
    again = beginning.fork().member(EVE, ANN, "join")
    assert fate(again, beginning) == ACCEPTED
    other = beginning.fork().member(EVE, BOB, "join", check=False)
    assert fate(other, beginning) == rejected_by("join.sender")


# --- Restricted rooms and knocks


def _restricted(version: RoomVersion) -> Room:
    room = town(version, invite=50)
    room.join_rule(ANN, "restricted", allow=[])
    return room


NEW = "@new:five.test"


@in_versions(since(V8))
def test_authoriser_may_not_invite(version: RoomVersion) -> None:
    """Bob vouches for a friend, but has no power to invite."""
    room = _restricted(version)
    join = room.fork().join(NEW, join_authorised_via_users_server=BOB, check=False)
    assert fate(join, room) == rejected_by("join.authoriser")
    good = room.fork().join(NEW, join_authorised_via_users_server=CAT)
    assert fate(good, room) == ACCEPTED


@in_versions(since(V8))
def test_authoriser_left(version: RoomVersion) -> None:
    """Cat could invite, when she was still there: the join is judged by today's state too."""
    room = _restricted(version)
    past = room.fork()
    room.leave(CAT)
    now = room.fork().join(NEW, join_authorised_via_users_server=CAT, check=False)
    assert fate(now, room) == rejected_by("join.authoriser")
    before = past.fork()
    late = past.join(NEW, join_authorised_via_users_server=CAT)
    assert fate(late, before, room) == soft_failed_by("join.authoriser")


@in_versions(since(V8))
def test_authorisers_server_did_not_sign(version: RoomVersion) -> None:
    """The newcomer's server names Cat without asking her server: the event is dropped."""
    room = _restricted(version)
    join = room.fork().join(NEW, join_authorised_via_users_server=CAT)
    keys = keys_of("five.test", "three.test")
    assert _fault(join, version, keys) == "signature.missing"
    asked = add_signature(fields_of(join), version, signer("three.test"))
    assert _fault(asked, version, keys) is None
    forger = signer("five.test")
    forged = add_signature(
        fields_of(join), version, Signer(signer("three.test").server, forger.key)
    )
    assert _fault(forged, version, keys) == "signature.invalid"


def _fault(event: Event, version: RoomVersion, keys: Keys) -> str | None:
    found = verified(parse(event.json, version), keys)
    return found.rule if isinstance(found, Denied) else None


@in_versions(since(V7))
def test_knock_when_banned(version: RoomVersion) -> None:
    """Eve, banned, knocks; and knocks from a place before the ban."""
    room = town(version)
    room.join_rule(ANN, "knock")
    room.leave(EVE)
    past = room.fork()
    room.ban(ANN, EVE)
    assert fate(room.fork().member(EVE, EVE, "knock", check=False), room) == (
        rejected_by("knock.membership")
    )
    before = past.fork()
    assert fate(past.member(EVE, EVE, "knock"), before, room) == soft_failed_by("knock.membership")
    assert membership(room.merge(room, past), EVE) == "ban"


# --- Third-party invites

IDENTITY, FORGER = signer("id.test"), signer("forger.test")


def _signed(mxid: str, token: str, by: Signer = IDENTITY) -> dict[str, Any]:
    return sign_json({"mxid": mxid, "token": token}, by.server, by.key)


def _inviting(version: RoomVersion, **keys: Any) -> Room:
    """A closed town in which Cat has invited somebody by their mail address."""
    room = town(version)
    room.join_rule(ANN, "invite")
    public = encode_base64(IDENTITY.key.verify_key)
    content = {"display_name": "n...@mail", **(keys or {"public_key": public})}
    room.send("m.room.third_party_invite", CAT, content, "code")
    return room


def _redeem(room: Branch, sender: str, target: str, signed: Mapping[str, Any]) -> Fate:
    event = room.fork().invite(
        sender, target, third_party_invite={"display_name": "x", "signed": signed}, check=False
    )
    return fate(event, room)


@in_versions(ALL_VERSIONS)
def test_third_party_invite_misuse(version: RoomVersion) -> None:
    """The signed token is good once it is bound to somebody, for them, by who issued it."""
    room = _inviting(version)
    good = _signed(NEW, "code")
    mallory = "@mallory:evil.test"
    assert _redeem(room, CAT, NEW, good) == ACCEPTED
    # replayed for somebody else, as it is, and with the name changed
    assert _redeem(room, CAT, mallory, good) == rejected_by("invite.third_party.mxid")
    changed = {**good, "mxid": mallory}
    assert _redeem(room, CAT, mallory, changed) == rejected_by("invite.third_party.signature")
    # sent by somebody else, be they an admin
    assert _redeem(room, EVE, NEW, good) == rejected_by("invite.third_party.sender")
    assert _redeem(room, DAN, NEW, good) == rejected_by("invite.third_party.sender")
    # signed by somebody else, even in the identity server's name
    for forger in (FORGER, Signer(IDENTITY.server, FORGER.key)):
        forged = _signed(NEW, "code", forger)
        assert _redeem(room, CAT, NEW, forged) == rejected_by("invite.third_party.signature")
    # with a token that was never issued
    other = _signed(NEW, "other")
    assert _redeem(room, CAT, NEW, other) == rejected_by("invite.third_party.token")


@in_versions(ALL_VERSIONS)
def test_revoked_third_party_invite(version: RoomVersion) -> None:
    """Cat takes the invite back. Redeemed after that it fails, redeemed on an old fork it does not
    count."""
    room = _inviting(version)
    past = room.fork()
    room.send("m.room.third_party_invite", CAT, {}, "code")
    good = _signed(NEW, "code")
    assert _redeem(room, CAT, NEW, good) == rejected_by("invite.third_party.signature")
    before = past.fork()
    late = past.invite(CAT, NEW, third_party_invite={"signed": good})
    assert fate(late, before, room) == soft_failed_by("invite.third_party.signature")


@in_versions(ALL_VERSIONS)
def test_flood_of_keys_and_signatures(version: RoomVersion) -> None:
    """Eve fills two events with keys and signatures that fit none: a quarter of a million pairs,
    of which only so many are tried. 1 s is more than a hundred times what it takes."""
    keys = [{"public_key": encode_base64(bytes([n % 256, n // 256]) * 16)} for n in range(700)]
    room = _inviting(version, public_keys=keys)
    signature = encode_base64(bytes(64))
    flood = {"id.test": {f"ed25519:{n}": signature for n in range(400)}}
    started = time.perf_counter()
    found = _redeem(room, CAT, NEW, {"mxid": NEW, "token": "code", "signatures": flood})
    assert time.perf_counter() - started < 1
    assert found == rejected_by("invite.third_party.signature")
