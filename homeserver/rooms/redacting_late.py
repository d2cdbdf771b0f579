"""Redactions and what they redact, in whatever order they come.

https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
"""

from collections.abc import Iterable
from typing import NamedTuple

from federation.events import StateKey
from homeserver.rooms import redacting
from homeserver.rooms.judging import CREATE, Judging
from homeserver.storage import received, redactions
from homeserver.storage.batch import RedactedRow
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Connection
from homeserver.storage.received import Stored
from homeserver.storage.state_groups import EventNid, StateGroup

_POWER_LEVELS: StateKey = ("m.room.power_levels", "")


class Redacted(NamedTuple):
    """What redactions take out of events, because of what was judged."""

    before: list[RedactedRow]
    """Of events that were here."""
    new: list[RedactedRow]
    """Of events that were judged, whose rows are to be written first."""
    awaited: list[EventNid]
    """Judged events that redactions waited for; they do not once those are written."""


async def redacted_by(
    conn: Connection, numbers: Numbers, judging: Judging, state: StateGroup | None
) -> Redacted:
    """What is redacted by what was judged, and what of it was redacted before it came.

    Redactions of what is not here are noted: it may come. `conn` must be in no transaction.

    Args:
        conn: to read with.
        numbers: of events.
        judging: when all is judged.
        state: that says who may redact what.

    """
    mine = {row.event for row in judging.rows}
    waiting = await redactions.early(conn, mine)
    stored = await judging.stored({nid for pair in waiting for nid in pair})
    pairs = [(stored[t], stored[r]) for t, r in waiting if t in stored and r in stored]
    pairs += await _named(conn, numbers, judging)
    rows = await _rows(judging, state, pairs) if pairs else []
    return Redacted(
        [row for row in rows if row.event not in mine],
        [row for row in rows if row.event in mine],
        [target for target, _ in waiting],
    )


async def _named(
    conn: Connection, numbers: Numbers, judging: Judging
) -> list[tuple[Stored, Stored]]:
    """What accepted redactions name, with them, as far as it is here; the rest is noted."""
    accepted = {event.event_id: event for event in judging.accepted()}
    named = redacting.targets_of(accepted.values())
    if not named:
        return []
    targets = {i: judging.known[i] for i in named & judging.known.keys()}
    targets |= await received.by_ids(conn, named - targets.keys())
    naming = {i: e.redacts for i, e in accepted.items() if e.redacts in named}
    absent = {i: target for i, target in naming.items() if target not in targets}
    if absent:
        nids = await numbers.events.intern(conn, [*absent, *absent.values()])
        await redactions.note_early(conn, [(nids[t], nids[i]) for i, t in absent.items()])
    return [(targets[t], judging.known[i]) for i, t in naming.items() if t in targets]


async def _rows(
    judging: Judging, state: StateGroup | None, pairs: Iterable[tuple[Stored, Stored]]
) -> list[RedactedRow]:
    levels = await judging.entries(state, [CREATE, _POWER_LEVELS])
    found: dict[EventNid, RedactedRow] = {}
    for target, redaction in pairs:
        names = ({redaction.event.event_id: redaction.nid}, {target.event.event_id: target})
        one = redacting.rows(target.room, [redaction.event], *names, levels, judging.until)
        found |= {row.event: row for row in one if row.event not in found}
    return list(found.values())
