"""Events that were judged before all members of their room were known, judged anew.

https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from federation.auth import auth_events_for
from federation.decision import Decision, Denied
from federation.graph import in_causal_order
from federation.identifiers import EventID
from federation.verdict import Outcome
from homeserver.rooms.heads import Head
from homeserver.rooms.intake import Means
from homeserver.rooms.interning import intern
from homeserver.rooms.judging import CREATE, Judging, States, cited_by
from homeserver.rooms.outliers import judged_again
from homeserver.rooms.resolving import Resolving
from homeserver.storage import partial_rooms, received
from homeserver.storage.batch import EventRow, Fate, GroupRow
from homeserver.storage.partial_rooms import Partial
from homeserver.storage.pool import OwnConnection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import EventNid, StateGroup


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What a room is once all of its members are known."""

    group: StateGroup
    tips: Sequence[EventNid]
    rows: Sequence[EventRow]
    groups: Sequence[GroupRow]
    turned: Mapping[EventNid, Fate]
    """Of the state: what was rejected and is not any more, or the other way round."""


class Rejudging:
    """Judges events again, in rooms that are claimed.

    Args:
        means: as the intake has them.
        resolving: resolves states.

    """

    def __init__(self, means: Means, resolving: Resolving) -> None:
        self._means = means
        self._resolving = resolving

    async def rejudge(
        self, conn: OwnConnection, partial: Partial, states: States
    ) -> Rejudged | None:
        """Judge all that came since the room was joined; `None` if the join itself is none.

        Args:
            conn: on which the room is claimed.
            partial: the room.
            states: before those of the events whose parents are not all here; of the join at least.

        """
        nids = await partial_rooms.provisional(conn, partial.room, partial.join)
        found = await received.by_nids(conn, nids)
        stored = _parents_first([found[nid] for nid in nids])
        judging = await self._judging(conn, partial, stored)
        names = await intern(conn, self._means.numbers, [one.event for one in stored])
        whole = _with_gaps_bridged(judging, stored, states, partial.join)
        current: StateGroup | None = None
        tips: dict[EventID, EventNid] = {}
        for one in stored:
            event = one.event
            before = await judging.state_before(event, whole)
            ruling = await judging.judge(names, event, before, current)
            is_live = current is not None or one.nid == partial.join
            if is_live and ruling.outcome is Outcome.ACCEPTED:
                for parent in event.prev_events:
                    tips.pop(parent, None)
                tips[event.event_id] = one.nid
                current = await judging.after_all(tips)
        if current is None:
            return None
        return Rejudged(
            current, list(tips.values()), judging.rows, judging.groups, _turned(stored, judging)
        )

    async def spread(self, conn: OwnConnection, partial: Partial, found: Rejudged) -> bool:
        """Judge again what rests on what turned out otherwise, and note it; whether anything did.

        If so, the states that were told are other ones by now, as what is rejected is in none.
        """
        if not found.turned:
            return False
        nids = await partial_rooms.citing(conn, partial.room, partial.join, found.turned)
        outliers = list((await received.by_nids(conn, nids)).values())
        fates = await judged_again(conn, outliers, found.turned)
        await partial_rooms.set_fates(conn, {**found.turned, **fates})
        return True

    async def _judging(
        self, conn: OwnConnection, partial: Partial, stored: Sequence[Stored]
    ) -> Judging:
        """As if none of the events had a place yet."""
        events = [one.event for one in stored]
        keys = {key for event in events for key in auth_events_for(event)}
        head = (await self._means.heads.get(conn, {partial.room: [*keys, CREATE]}))[partial.room]
        whole: Head = replace(head, partial=None)
        known = await received.by_ids(conn, cited_by(whole, events))
        # What has its place behind what cites it, as fetched history may, is known all the same.
        known |= {e.event_id: known[e.event_id]._replace(order=None, group=None) for e in events}
        policy: dict[EventID, Decision] = {
            one.event.event_id: Denied("event.refused", "the event was refused")
            for one in stored
            if one.fate is Fate.SOFT_FAILED
        }
        return Judging(conn, self._means, self._resolving, whole, known, policy)


def _turned(stored: Sequence[Stored], judging: Judging) -> dict[EventNid, Fate]:
    before = {one.nid: one.fate for one in stored if one.event.is_state}
    return {
        row.event: row.fate
        for row in judging.rows
        if row.event in before
        and (row.fate is Fate.REJECTED) != (before[row.event] is Fate.REJECTED)
    }


def _parents_first(stored: Sequence[Stored]) -> list[Stored]:
    """In their order, but none before its parents.

    What another join of ours builds on may have come later, and have its place behind it.
    """
    by_id = {one.event.event_id: one for one in stored}
    return [by_id[event.event_id] for event in in_causal_order([one.event for one in stored])]


def _with_gaps_bridged(
    judging: Judging, stored: Sequence[Stored], states: States, join: EventNid
) -> States:
    """States before all events whose parents are not here: where nobody told, as at the join."""
    here = {one.event.event_id for one in stored}
    at_join = next(states[one.event.event_id] for one in stored if one.nid == join)
    bridged = dict(states)
    for one in stored:
        parents = one.event.prev_events
        if not any(parent in here or judging.is_placed(parent) for parent in parents):
            bridged.setdefault(one.event.event_id, at_join)
    return bridged
