"""Rule 5 of versions 1 to 5 and of 12, rule 4 of the others: `m.room.member`."""

from collections.abc import Sequence

import pytest

from federation.auth import CREATE, authorise, check_auth_events
from federation.building import Draft, Place, build
from federation.decision import ALLOWED
from federation.identifiers import UserID
from federation.room_versions import V6, V7, V8, V9, V10, V11, V12, RoomVersion
from tests.federation.auth_cases import (
    ADA,
    ANN,
    BOB,
    CAT,
    GUS,
    MOD,
    Case,
    Given,
    Send,
    allow,
    between,
    broken_rule,
    create_event,
    deny,
    joined,
    member,
    rows,
    since,
    until,
)
from tests.federation.rooms import ALL_VERSIONS, Branch, Room, signer

LEVELS = {"users": {ADA: 100, MOD: 50}}
JOINED, INVITED, LEFT = {BOB: "join"}, {BOB: "invite"}, {BOB: "leave"}
BANNED, KNOCKED = {BOB: "ban"}, {BOB: "knock"}

BOB_JOINS = member(BOB, BOB, "join")
BOB_JOINS_FIRST = Send("m.room.member", BOB, {"membership": "join"}, BOB, after_create=True)
ANN_JOINS_FIRST = Send("m.room.member", ANN, {"membership": "join"}, ANN, after_create=True)

MEMBER = [
    # "If there is no state_key property, or no membership property in content, reject."
    deny("member.malformed", "no state key", Send("m.room.member", BOB, {"membership": "join"})),
    deny("member.malformed", "no membership", Send("m.room.member", BOB, {}, BOB)),
    allow("member.malformed", "both are there", BOB_JOINS),
    # "Otherwise, the membership is unknown. Reject."
    deny("member.unknown", "a word of its own", member(BOB, BOB, "dance")),
    deny("member.unknown", "another spelling", member(BOB, BOB, "Join")),
    deny("member.unknown", "empty", member(BOB, BOB, "")),
    deny("member.unknown", "null", member(BOB, BOB, None)),
    deny("member.unknown", "a number", member(BOB, BOB, 1)),
    deny("member.unknown", "knock", member(BOB, BOB, "knock"), Given("knock"), until(V6)),
    allow("member.unknown", "knock", member(BOB, BOB, "knock"), Given("knock"), since(V7)),
    allow("member.unknown", "join", BOB_JOINS),
]

CREATOR = "join.join_rule"
JOIN = [
    # "If the only previous event is an m.room.create and the state_key is the creator [since v11:
    # the sender of the m.room.create], allow."
    allow(CREATOR, "the creator, first", ANN_JOINS_FIRST, Given(None, {ANN: "leave"})),
    deny(CREATOR, "the creator, later", member(ANN, ANN, "join"), Given(None, {ANN: "leave"})),
    deny(CREATOR, "somebody else, first", BOB_JOINS_FIRST, Given(None)),
    deny(
        CREATOR,
        "an additional creator, first",
        BOB_JOINS_FIRST,
        Given(None, create={"additional_creators": [BOB]}),
    ),
    # "If the sender does not match state_key, reject."
    deny("join.sender", "for somebody else", member(ADA, BOB, "join")),
    deny("join.sender", "for an invited user", member(ADA, BOB, "join"), Given("invite", INVITED)),
    allow("join.sender", "for oneself", BOB_JOINS),
    # "If the sender is banned, reject."
    deny("join.banned", "banned from a public room", BOB_JOINS, Given("public", BANNED)),
    deny("join.banned", "banned from a closed room", BOB_JOINS, Given("invite", BANNED)),
    allow("join.banned", "left", BOB_JOINS, Given("public", LEFT)),
    allow("join.banned", "unheard of", BOB_JOINS),
    # "If the join_rule is invite [since v7: or knock] then allow if membership state is invite or
    # join." Where there are no join rules, they are invite.
    allow("join.join_rule", "invited", BOB_JOINS, Given("invite", INVITED)),
    allow("join.join_rule", "joined before", BOB_JOINS, Given("invite", JOINED)),
    deny("join.join_rule", "left before", BOB_JOINS, Given("invite", LEFT)),
    deny("join.join_rule", "unheard of", BOB_JOINS, Given("invite")),
    allow("join.join_rule", "invited, no rules", BOB_JOINS, Given(None, INVITED)),
    deny("join.join_rule", "uninvited, no rules", BOB_JOINS, Given(None)),
    allow("join.join_rule", "knock, invited", BOB_JOINS, Given("knock", INVITED), since(V7)),
    allow("join.join_rule", "knock, joined before", BOB_JOINS, Given("knock", JOINED), since(V7)),
    deny("join.join_rule", "knock, unanswered", BOB_JOINS, Given("knock", KNOCKED)),
    deny("join.join_rule", "knock is unknown", BOB_JOINS, Given("knock", INVITED), until(V6)),
    # "If the join_rule is public, allow." "Otherwise, reject."
    allow("join.join_rule", "public", BOB_JOINS),
    allow("join.join_rule", "public, after a knock", BOB_JOINS, Given("public", KNOCKED)),
    deny("join.join_rule", "private", BOB_JOINS, Given("private", INVITED)),
    deny("join.join_rule", "misspelt", BOB_JOINS, Given("Public", INVITED)),
    deny("join.join_rule", "not a string", BOB_JOINS, Given(["public"], INVITED)),
    deny(
        "join.join_rule",
        "restricted is unknown",
        BOB_JOINS,
        Given("restricted", INVITED),
        until(V7),
    ),
    deny(
        "join.join_rule",
        "knock_restricted is unknown",
        BOB_JOINS,
        Given("knock_restricted", INVITED),
        until(V9),
    ),
]


def _vouched_by(authoriser: object) -> Send:
    return member(BOB, BOB, "join", join_authorised_via_users_server=authoriser)


def _restricted(join_rule: str, versions: Sequence[RoomVersion]) -> list[Case]:
    """Rows on a join rule that lets members vouch for others."""
    rule, by_ada = "join.authoriser", _vouched_by(ADA)
    open_room = Given(join_rule)
    without_ada = [
        (was, Given(join_rule, {ADA: was})) for was in ("invite", "leave", "ban", "knock")
    ]
    careful = Given(join_rule, joined(CAT), {**LEVELS, "invite": 50})
    return [
        # "If membership state is join or invite, allow."
        allow(rule, f"{join_rule}: invited", BOB_JOINS, Given(join_rule, INVITED), versions),
        allow(rule, f"{join_rule}: joined before", BOB_JOINS, Given(join_rule, JOINED), versions),
        # "If the join_authorised_via_users_server key in content is not a user with sufficient
        # permission to invite other users or is not a joined member of the room, reject."
        deny(rule, f"{join_rule}: nobody vouches", BOB_JOINS, open_room, versions),
        deny(rule, f"{join_rule}: knocked", BOB_JOINS, Given(join_rule, KNOCKED), versions),
        deny(rule, f"{join_rule}: left", BOB_JOINS, Given(join_rule, LEFT), versions),
        *(deny(rule, f"{join_rule}: {was}", by_ada, given, versions) for was, given in without_ada),
        deny(rule, f"{join_rule}: by a stranger", _vouched_by(GUS), open_room, versions),
        deny(rule, f"{join_rule}: by oneself", _vouched_by(BOB), open_room, versions),
        deny(rule, f"{join_rule}: not a string", _vouched_by([ADA]), open_room, versions),
        deny(rule, f"{join_rule}: null", _vouched_by(None), open_room, versions),
        deny(rule, f"{join_rule}: may not invite", _vouched_by(CAT), careful, versions),
        allow(rule, f"{join_rule}: just may invite", _vouched_by(MOD), careful, versions),
        allow(rule, f"{join_rule}: everybody may", _vouched_by(ADA), open_room, versions),
        allow(rule, f"{join_rule}: by the creator", _vouched_by(ANN), open_room, versions),
        # "Otherwise, allow." But a ban is asked about first.
        deny("join.banned", f"{join_rule}", by_ada, Given(join_rule, BANNED), versions),
        deny("join.sender", f"{join_rule}", member(ADA, BOB, "join"), open_room, versions),
    ]


RESTRICTED = [
    *_restricted("restricted", since(V8)),
    *_restricted("knock_restricted", since(V10)),
]

ADA_INVITES = member(ADA, BOB, "invite")
CAT_INVITES = member(CAT, BOB, "invite")
INVITE_50 = {**LEVELS, "invite": 50}

INVITE = [
    # "If the sender's current membership state is not join, reject."
    deny("invite.sender", "a stranger", member(GUS, BOB, "invite")),
    *(
        deny("invite.sender", f"is {was}", CAT_INVITES, Given("public", {CAT: was}))
        for was in ("leave", "invite", "ban", "knock")
    ),
    allow("invite.sender", "a member", CAT_INVITES, Given("public", joined(CAT))),
    # "If target user's current membership state is join or ban, reject."
    deny("invite.target", "is in the room", ADA_INVITES, Given("public", JOINED)),
    deny("invite.target", "is banned", ADA_INVITES, Given("public", BANNED)),
    deny("invite.target", "oneself", member(ADA, ADA, "invite")),
    allow("invite.target", "unheard of", ADA_INVITES),
    allow("invite.target", "left", ADA_INVITES, Given("public", LEFT)),
    allow("invite.target", "invited before", ADA_INVITES, Given("public", INVITED)),
    allow("invite.target", "knocked", ADA_INVITES, Given("knock", KNOCKED)),
    # "If the sender's power level is greater than or equal to the invite level, allow."
    allow("invite.level", "equal", member(MOD, BOB, "invite"), Given(levels=INVITE_50)),
    allow("invite.level", "above", ADA_INVITES, Given(levels=INVITE_50)),
    allow("invite.level", "0 by default", CAT_INVITES, Given("invite", joined(CAT))),
    allow("invite.level", "0 without levels", CAT_INVITES, Given("invite", joined(CAT), None)),
    allow("invite.level", "the creator", member(ANN, BOB, "invite"), Given(levels=None)),
    # "Otherwise, reject."
    deny("invite.level", "below", CAT_INVITES, Given("public", joined(CAT), INVITE_50)),
    deny(
        "invite.level",
        "below by default",
        CAT_INVITES,
        Given("public", joined(CAT), {"users_default": -1}),
    ),
]

BOB_LEAVES = member(BOB, BOB, "leave")
ADA_KICKS = member(ADA, BOB, "leave")
MOD_KICKS = member(MOD, BOB, "leave")
CAT_KICKS = member(CAT, BOB, "leave")
KICKERS = {"users": {ADA: 100, MOD: 50, CAT: 49}, "kick": 49}
"""Cat may kick, but not ban."""


def _with_bob_at(level: int) -> Given:
    return Given("public", JOINED, {"users": {ADA: 100, MOD: 50, BOB: level}})


LEAVE = [
    # "If the sender matches state_key, allow if and only if that user's current membership state is
    # invite, join [since v7: or knock]."
    allow("leave.membership", "joined", BOB_LEAVES, Given("public", JOINED)),
    allow("leave.membership", "refuses an invite", BOB_LEAVES, Given("invite", INVITED)),
    allow("leave.membership", "takes a knock back", BOB_LEAVES, Given("knock", KNOCKED), since(V7)),
    deny("leave.membership", "takes a knock back", BOB_LEAVES, Given("knock", KNOCKED), until(V6)),
    deny("leave.membership", "left before", BOB_LEAVES, Given("public", LEFT)),
    deny("leave.membership", "unheard of", BOB_LEAVES),
    deny("leave.membership", "banned", BOB_LEAVES, Given("public", BANNED)),
    # "If the sender's current membership state is not join, reject."
    *(
        deny("leave.sender", f"is {was}", ADA_KICKS, Given("public", {**JOINED, ADA: was}))
        for was in ("leave", "invite", "ban", "knock")
    ),
    deny("leave.sender", "unheard of", member(GUS, BOB, "leave"), Given("public", JOINED)),
    allow("leave.sender", "joined", ADA_KICKS, Given("public", JOINED)),
    # "If the target user's current membership state is ban, and the sender's power level is less
    # than the ban level, reject."
    deny("leave.unban", "below", CAT_KICKS, Given("public", {**BANNED, CAT: "join"}, KICKERS)),
    allow("leave.unban", "equal", MOD_KICKS, Given("public", BANNED, KICKERS)),
    allow("leave.unban", "not a ban", CAT_KICKS, Given("public", {**JOINED, CAT: "join"}, KICKERS)),
    # "If the sender's power level is greater than or equal to the kick level, and the target user's
    # power level is less than the sender's power level, allow." "Otherwise, reject."
    allow("leave.level", "equal to the kick level", MOD_KICKS, _with_bob_at(49)),
    allow("leave.level", "takes an invite back", MOD_KICKS, Given("invite", INVITED)),
    allow("leave.level", "of somebody unheard of", MOD_KICKS),
    allow("leave.level", "the creator, no levels", member(ANN, BOB, "leave"), Given(levels=None)),
    deny("leave.level", "equal to the target", MOD_KICKS, _with_bob_at(50)),
    deny("leave.level", "below the target", MOD_KICKS, _with_bob_at(51)),
    deny(
        "leave.level", "below the kick level", CAT_KICKS, Given("public", {**JOINED, **joined(CAT)})
    ),
    deny("leave.level", "no levels", ADA_KICKS, Given("public", JOINED, None)),
    deny(
        "leave.level",
        "unban: below the kick level",
        MOD_KICKS,
        Given("public", BANNED, {**LEVELS, "kick": 51}),
    ),
    deny(
        "leave.level",
        "unban: equal to the target",
        MOD_KICKS,
        Given("public", BANNED, {"users": {MOD: 50, BOB: 50}}),
    ),
    deny(
        "leave.level",
        "the creator",
        member(MOD, ANN, "leave"),
        Given(levels={"users": {MOD: 50, ANN: 50}}),
        until(V11),
    ),
    deny("leave.level", "the creator", member(ADA, ANN, "leave"), versions=since(V12)),
]

ADA_BANS = member(ADA, BOB, "ban")
MOD_BANS = member(MOD, BOB, "ban")

BAN = [
    # "If the sender's current membership state is not join, reject."
    *(
        deny("ban.sender", f"is {was}", ADA_BANS, Given("public", {**JOINED, ADA: was}))
        for was in ("leave", "invite", "ban", "knock")
    ),
    deny("ban.sender", "unheard of", member(GUS, BOB, "ban"), Given("public", JOINED)),
    allow("ban.sender", "joined", ADA_BANS, Given("public", JOINED)),
    # "If the sender's power level is greater than or equal to the ban level, and the target user's
    # power level is less than the sender's power level, allow." "Otherwise, reject."
    allow("ban.level", "equal to the ban level", MOD_BANS, _with_bob_at(49)),
    *(
        allow("ban.level", f"of one who is {was}", MOD_BANS, Given("public", {BOB: was}))
        for was in ("invite", "leave", "knock", "ban")
    ),
    allow("ban.level", "the creator, no levels", member(ANN, BOB, "ban"), Given(levels=None)),
    deny("ban.level", "equal to the target", MOD_BANS, _with_bob_at(50)),
    deny("ban.level", "below the target", MOD_BANS, _with_bob_at(51)),
    deny("ban.level", "below the ban level", MOD_BANS, Given(levels={**LEVELS, "ban": 51})),
    deny("ban.level", "oneself", member(ADA, ADA, "ban")),
    deny("ban.level", "no levels", ADA_BANS, Given("public", JOINED, None)),
    deny("ban.level", "the creator", member(ADA, ANN, "ban"), versions=since(V12)),
]

BOB_KNOCKS = member(BOB, BOB, "knock")


def _knock(join_rule: str, versions: Sequence[RoomVersion]) -> list[Case]:
    """Rows on a join rule under which one may knock."""
    return [
        # "If the join_rule is anything other than knock [since v10: or knock_restricted], reject."
        allow("knock.join_rule", join_rule, BOB_KNOCKS, Given(join_rule), versions),
        # "If sender does not match state_key, reject."
        deny("knock.sender", join_rule, member(ADA, BOB, "knock"), Given(join_rule), versions),
        allow("knock.sender", join_rule, member(GUS, GUS, "knock"), Given(join_rule), versions),
        # "If the sender's current membership is not ban, invite, or join, allow."
        *(
            allow("knock.membership", f"{join_rule}: is {was}", BOB_KNOCKS, given, versions)
            for was, given in ((w, Given(join_rule, {BOB: w})) for w in ("leave", "knock"))
        ),
        # "Otherwise, reject."
        *(
            deny("knock.membership", f"{join_rule}: is {was}", BOB_KNOCKS, given, versions)
            for was, given in ((w, Given(join_rule, {BOB: w})) for w in ("ban", "invite", "join"))
        ),
    ]


KNOCK = [
    *_knock("knock", since(V7)),
    *_knock("knock_restricted", since(V10)),
    *(
        deny("knock.join_rule", f"{rule}", BOB_KNOCKS, Given(rule), since(V7))
        for rule in ("public", "invite", "private", "restricted", None, ["knock"])
    ),
    deny("knock.join_rule", "not yet", BOB_KNOCKS, Given("knock_restricted"), between(V7, V9)),
]

CASES = [*MEMBER, *JOIN, *RESTRICTED, *INVITE, *LEAVE, *BAN, *KNOCK]


@rows(CASES)
def test_member(case: Case) -> None:
    assert case.found == case.expected


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda v: f"v{v.name}")
def test_named_creator(version: RoomVersion) -> None:
    """Until version 10, who the creator is follows from the content, not from the sender."""
    room = Room(version, bare=True)
    content = {"room_version": version.name, "creator": BOB}
    create = create_event(
        version, content, room_id=None if version.room_id_is_create_id else room.room_id
    )
    room.room_id = create.room_id
    branch = Branch(room, [create], {CREATE: create})
    allowed = {
        user: authorise(branch.fork().join(user, check=False), branch.state) is ALLOWED
        for user in (ANN, BOB)
    }
    assert allowed == {ANN: version in since(V11), BOB: version in until(V10)}


@pytest.mark.parametrize("membership", [[], {}, ["join"], {"join": True}], ids=str)
def test_membership_of_another_type(membership: object) -> None:
    """A membership that is a list or an object is as unknown as any other word."""
    for version in ALL_VERSIONS:
        room = Room(version)
        draft = Draft("m.room.member", UserID(BOB), {"membership": membership}, BOB, room.room_id)
        event = build(draft, Place(room.tips), version, signer("two.test"), now=1, opaque_id="odd")
        assert broken_rule(authorise(event, room.state)) == "member.unknown"
        unless_implied = None if version.room_id_is_create_id else "auth_events.create"
        assert broken_rule(check_auth_events(event, [])) == unless_implied
