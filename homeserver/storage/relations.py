"""What events are to each other.

https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

AGGREGATED = ("m.reference", "m.replace", "m.thread")
HOPS = 3
"""Relations of relations that are followed."""
_MOST_REFERENCES = 1000


class Thread(NamedTuple):
    """What is told of a thread with its root."""

    replies: int
    participated: bool
    """Whether the reader said something in it."""
    latest: EventNid


class Span(NamedTuple):
    """Which relations of a list are wanted, by room order, and from which end."""

    after: int
    up_to: int
    backwards: bool
    limit: int


class Parent(NamedTuple):
    """An event, and which of those that are related to it count."""

    event: EventNid
    room: RoomNid
    """Nothing is related to an event from another room."""
    until: int
    """The order of the last event that there is to the reader."""


class Child(NamedTuple):
    """An event that is related to another."""

    event: EventNid
    order: int


async def kinds(conn: Connection, parents: Collection[EventNid]) -> dict[str, list[EventNid]]:
    """Which of the events have relations that are aggregated, by `rel_type`."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT parent_nid, rel_type FROM relations
         WHERE parent_nid = ANY ($1) AND rel_type = ANY ($2)
        """,
        list(parents),
        AGGREGATED,
    )
    found: dict[str, list[EventNid]] = {}
    for parent, rel_type in rows:
        found.setdefault(rel_type, []).append(EventNid(parent))
    return found


async def references(
    conn: Connection, parents: Collection[Parent], ignored: Collection[str]
) -> dict[EventNid, list[str]]:
    """The IDs of the events that refer to each, the earlier first."""
    rows = await conn.fetch(
        """
        SELECT l.parent_nid, i.event_id
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p (event_nid, room_nid, until)
          JOIN relations l ON l.parent_nid = p.event_nid AND l.rel_type = 'm.reference'
                          AND l.room_nid = p.room_nid AND l.room_order <= p.until
          JOIN event_ids i ON i.event_nid = l.event_nid
         WHERE l.sender <> ALL ($4)
         ORDER BY l.room_order
         LIMIT $5
        """,
        *_columns(parents),
        list(ignored),
        _MOST_REFERENCES,
    )
    found: dict[EventNid, list[str]] = {}
    for parent, event_id in rows:
        found.setdefault(EventNid(parent), []).append(event_id)
    return found


async def replacements(
    conn: Connection, originals: Mapping[Parent, tuple[str, str]], ignored: Collection[str]
) -> dict[EventNid, EventNid]:
    """The latest edit of each event, given with its sender and type, by whom it is from."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (l.parent_nid) l.parent_nid, l.event_nid
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
               AS o (event_nid, room_nid, until, sender, type)
          JOIN relations l ON l.parent_nid = o.event_nid AND l.sender = o.sender
                          AND l.type = o.type AND l.rel_type = 'm.replace'
                          AND l.room_nid = o.room_nid AND l.room_order <= o.until
          JOIN events e ON e.event_nid = l.event_nid
          JOIN event_ids i ON i.event_nid = l.event_nid
         WHERE l.sender <> ALL ($6)
         ORDER BY l.parent_nid, e.origin_server_ts DESC, i.event_id DESC
        """,
        *_columns(originals),
        [sender for sender, _ in originals.values()],
        [kind for _, kind in originals.values()],
        list(ignored),
    )
    return {EventNid(row[0]): EventNid(row[1]) for row in rows}


async def threads(
    conn: Connection, roots: Collection[Parent], reader: str, ignored: Collection[str]
) -> dict[EventNid, Thread]:
    """The threads that begin with these events."""
    rows = await conn.fetch(
        """
        SELECT l.parent_nid, count(*), bool_or(l.sender = $4),
               (array_agg(l.event_nid ORDER BY l.room_order DESC))[1]
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p (event_nid, room_nid, until)
          JOIN relations l ON l.parent_nid = p.event_nid AND l.rel_type = 'm.thread'
                          AND l.room_nid = p.room_nid AND l.room_order <= p.until
         WHERE l.sender <> ALL ($5)
         GROUP BY l.parent_nid
        """,
        *_columns(roots),
        reader,
        list(ignored),
    )
    return {EventNid(row[0]): Thread(*row[1:]) for row in rows}


async def related(
    conn: Connection,
    parent: EventNid,
    room: RoomNid,
    filters: tuple[str | None, str | None],
    span: Span,
    *,
    recurse: bool,
) -> list[Child]:
    """The events of a room that are related to one, in the order of reading.

    `filters` are a `rel_type` and an event type, each for all that is found: "Events [...] whose
    only relation to the original given event is through a non-matching intermediate event, will
    not be included."
    """
    direction = "DESC" if span.backwards else "ASC"
    rows = await conn.fetch(
        f"""
        WITH RECURSIVE tree (event_nid, room_order, hops) AS (
            SELECT event_nid, room_order, 1 FROM relations
             WHERE parent_nid = $1 AND room_nid = $2
               AND ($3::text IS NULL OR rel_type = $3) AND ($4::text IS NULL OR type = $4)
             UNION
            SELECT l.event_nid, l.room_order, t.hops + 1
              FROM tree t JOIN relations l ON l.parent_nid = t.event_nid AND l.room_nid = $2
             WHERE t.hops < $5
               AND ($3::text IS NULL OR l.rel_type = $3) AND ($4::text IS NULL OR l.type = $4)
        )
        SELECT event_nid, room_order FROM tree
         WHERE room_order > $6 AND room_order <= $7
         GROUP BY event_nid, room_order
         ORDER BY room_order {direction}
         LIMIT $8
        """,  # noqa: S608 - one of two words
        parent,
        room,
        *filters,
        HOPS if recurse else 1,
        span.after,
        span.up_to,
        span.limit,
    )
    return [Child(*row) for row in rows]


async def thread_roots(
    conn: Connection,
    room: RoomNid,
    until: int,
    before: int,
    limit: int,
    participant: str | None,
) -> list[Child]:
    """The roots of a room's threads, each with the order of its latest event, the latest first.

    Args:
        conn: one query.
        room: of the threads.
        until: the order of the last event that there is to the reader.
        before: the order of the latest event of the first thread that is wanted.
        limit: how many are wanted.
        participant: who has to have said something in a thread, the root included.

    """
    rows = await conn.fetch(
        r"""
        WITH threads AS (
            SELECT parent_nid, max(room_order) AS latest, bool_or(sender = $4) AS took_part
              FROM relations
             WHERE room_nid = $1 AND rel_type = 'm.thread' AND room_order <= $5
             GROUP BY parent_nid
        )
        SELECT t.parent_nid, t.latest
          FROM threads t
          JOIN events e ON e.event_nid = t.parent_nid AND e.room_nid = $1
         WHERE t.latest <= $2
           AND ($4::text IS NULL OR t.took_part
                -- The database knows no NUL; an escaped backslash is none.
                OR regexp_replace(convert_from(e.json, 'UTF8'), '(\\\\)|\\u0000', '\1', 'g')::json
                   ->> 'sender' = $4)
         ORDER BY t.latest DESC
         LIMIT $3
        """,
        room,
        before,
        limit,
        participant,
        until,
    )
    return [Child(*row) for row in rows]


async def is_annotated(
    conn: Connection, room_id: str, parent: str, kind: str, sender: str, key: str | None
) -> bool:
    """Whether somebody has annotated an event of a room in this way already, in that room."""
    found: bool = await conn.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM relations l
              JOIN event_ids i ON i.event_nid = l.parent_nid
              JOIN rooms r ON r.room_nid = l.room_nid
             WHERE r.room_id = $1 AND i.event_id = $2 AND l.rel_type = 'm.annotation'
               AND l.type = $3 AND l.sender = $4 AND l.key IS NOT DISTINCT FROM $5::text)
        """,
        room_id,
        parent,
        kind,
        sender,
        key,
    )
    return found


async def related_by(
    conn: Connection,
    parents: Collection[EventNid],
    rel_types: Sequence[str] | None,
    senders: Sequence[str] | None,
) -> set[EventNid]:
    """Those of the events to which one of such relations leads, in their room."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT l.parent_nid
          FROM relations l
          JOIN events e ON e.event_nid = l.parent_nid AND e.room_nid = l.room_nid
         WHERE l.parent_nid = ANY ($1) AND ($2::text[] IS NULL OR l.rel_type = ANY ($2))
           AND ($3::text[] IS NULL OR l.sender = ANY ($3))
        """,
        list(parents),
        rel_types,
        senders,
    )
    return {EventNid(row[0]) for row in rows}


def _columns(parents: Collection[Parent]) -> tuple[list[int], ...]:
    return tuple([one[column] for one in parents] for column in range(len(Parent._fields)))
