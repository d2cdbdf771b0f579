"""Who may join, invite, leave, kick, ban and knock: rule 5 of version 12, rule 5 or 4 of others.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
"""

from collections.abc import Callable, Mapping

from federation.auth.facts import Facts
from federation.auth.third_party_invite import check_third_party_invite
from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event


def check_member(event: Event, facts: Facts) -> Decision:
    """Authorise `m.room.member`.

    That the authorising server of a restricted join has signed is checked with the other
    signatures, before any rule: see `federation.signatures`.
    """
    # "If there is no state_key property, or no membership property in content, reject."
    if event.state_key is None or "membership" not in event.content:
        return Denied("member.malformed", "state_key or membership is missing")
    check = _CHECKS.get(event.membership or "")
    # "Otherwise, the membership is unknown. Reject."
    if check is None:
        return Denied("member.unknown", f"unknown membership {event.content['membership']!r}")
    return check(event, event.state_key, facts)


def _check_join(event: Event, target: str, facts: Facts) -> Decision:
    # "If the only previous event is an m.room.create and the state_key is the creator, allow."
    if event.prev_events == (facts.create.event_id,) and target == _first_creator(facts.create):
        return ALLOWED
    # "If the sender does not match state_key, reject."
    if event.sender != target:
        return Denied("join.sender", "nobody can join for somebody else")
    membership = facts.membership(target)
    # "If the sender is banned, reject."
    if membership == "ban":
        return Denied("join.banned", "the user is banned")
    rule, version = facts.join_rule, event.version
    # "If the join_rule is invite [since v7: or knock] then allow if membership state is invite or
    # join."
    if rule in version.invited_join_rules and membership in {"invite", "join"}:
        return ALLOWED
    # Since v8: "If the join_rule is restricted [since v10: or knock_restricted]:"
    if rule in version.restricted_join_rules:
        return _check_restricted_join(event, membership, facts)
    # "If the join_rule is public, allow." "Otherwise, reject."
    if rule == "public":
        return ALLOWED
    return Denied("join.join_rule", f"join rule {rule!r} does not admit the user")


def _check_restricted_join(event: Event, membership: str, facts: Facts) -> Decision:
    # "If membership state is join or invite, allow."
    if membership in {"join", "invite"}:
        return ALLOWED
    # "If the join_authorised_via_users_server key in content is not a user with sufficient
    # permission to invite other users or is not a joined member of the room, reject."
    authoriser = event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str) or facts.membership(authoriser) != "join":
        return Denied("join.authoriser", "no joined member vouches for the join")
    if facts.levels.of(authoriser) < facts.levels.named("invite"):
        return Denied("join.authoriser", "who vouches for the join may not invite")
    return ALLOWED


def _check_invite(event: Event, target: str, facts: Facts) -> Decision:
    # "If content has a third_party_invite property:"
    if "third_party_invite" in event.content:
        return check_third_party_invite(event, facts)
    # "If the sender's current membership state is not join, reject."
    if facts.membership(event.sender) != "join":
        return Denied("invite.sender", "the inviting user is not in the room")
    # "If target user's current membership state is join or ban, reject."
    if facts.membership(target) in {"join", "ban"}:
        return Denied("invite.target", "the invited user is in the room, or banned")
    # "If the sender's power level is greater than or equal to the invite level, allow."
    # "Otherwise, reject."
    if facts.levels.of(event.sender) >= facts.levels.named("invite"):
        return ALLOWED
    return Denied("invite.level", "the user may not invite")


def _check_leave(event: Event, target: str, facts: Facts) -> Decision:
    own = facts.membership(event.sender)
    # "If the sender matches state_key, allow if and only if that user's current membership state
    # is invite, join [since v7: or knock]."
    if event.sender == target:
        if own in {"invite", "join"} or (own == "knock" and event.version.knock_join_rules):
            return ALLOWED
        return Denied("leave.membership", "the user is not in the room")
    # "If the sender's current membership state is not join, reject."
    if own != "join":
        return Denied("leave.sender", "the kicking user is not in the room")
    level = facts.levels.of(event.sender)
    # "If the target user's current membership state is ban, and the sender's power level is less
    # than the ban level, reject."
    if facts.membership(target) == "ban" and level < facts.levels.named("ban"):
        return Denied("leave.unban", "the user may not unban")
    # "If the sender's power level is greater than or equal to the kick level, and the target
    # user's power level is less than the sender's power level, allow." "Otherwise, reject."
    if level >= facts.levels.named("kick") and facts.levels.of(target) < level:
        return ALLOWED
    return Denied("leave.level", "the user may not kick the other")


def _check_ban(event: Event, target: str, facts: Facts) -> Decision:
    # "If the sender's current membership state is not join, reject."
    if facts.membership(event.sender) != "join":
        return Denied("ban.sender", "the banning user is not in the room")
    level = facts.levels.of(event.sender)
    # "If the sender's power level is greater than or equal to the ban level, and the target
    # user's power level is less than the sender's power level, allow." "Otherwise, reject."
    if level >= facts.levels.named("ban") and facts.levels.of(target) < level:
        return ALLOWED
    return Denied("ban.level", "the user may not ban the other")


def _check_knock(event: Event, target: str, facts: Facts) -> Decision:
    # Before v7: "Otherwise, the membership is unknown. Reject."
    if not event.version.knock_join_rules:
        return Denied("member.unknown", "this room version knows no knocks")
    # "If the join_rule is anything other than knock [since v10: or knock_restricted], reject."
    if facts.join_rule not in event.version.knock_join_rules:
        return Denied("knock.join_rule", "the room does not take knocks")
    # "If sender does not match state_key, reject."
    if event.sender != target:
        return Denied("knock.sender", "one can only knock for oneself")
    # "If the sender's current membership is not ban, invite, or join, allow." "Otherwise, reject."
    if facts.membership(event.sender) not in {"ban", "invite", "join"}:
        return ALLOWED
    return Denied("knock.membership", "banned, invited or joined already")


def _first_creator(create: Event) -> object:
    """Who may join first: "the creator", since v11 "the sender of the m.room.create"."""
    return create.content.get("creator") if create.version.create_names_creator else create.sender


_CHECKS: Mapping[str, Callable[[Event, str, Facts], Decision]] = {
    "join": _check_join,
    "invite": _check_invite,
    "leave": _check_leave,
    "ban": _check_ban,
    "knock": _check_knock,
}
