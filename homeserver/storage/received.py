"""Events as receiving others needs them: by their IDs, with what became of them.

https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from federation.events import Event, StateKey
from federation.identifiers import EventID, ServerName, UserID
from homeserver.storage.batch import EventRow, Fate, GroupRow, RelationRow, array_literal
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection, copied
from homeserver.storage.state_groups import EventNid, GroupNid, KeyNid


class Stored(NamedTuple):
    """An event that we have."""

    nid: EventNid
    room: RoomNid
    order: int | None
    """`None`: an outlier, of which only the content is known."""
    key: KeyNid | None
    group: GroupNid | None
    """The state before it; `None`: not known, or empty."""
    fate: Fate
    event: Event


class Gap(NamedTuple):
    """Where parents of an event are not here."""

    room: RoomNid
    child_order: int
    """The place of the event."""
    child_ts: int
    """When the event says that it happened, in milliseconds since the epoch."""
    lifetime: int | None
    """How long messages are kept, as the room asks for it."""
    sender: UserID
    """Of the event: their server had the parents."""
    parents: list[EventID]


async def by_ids(conn: Connection, ids: Iterable[str]) -> dict[EventID, Stored]:
    """Those of the events that are stored."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before, e.fate,
               i.event_id, r.version, e.json
          FROM event_ids i
          JOIN events e ON e.event_nid = i.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE i.event_id = ANY ($1)
        """,
        list(ids),
    )
    return {EventID(row[6]): _stored(row) for row in rows}


class Ground(NamedTuple):
    """What there is here of what a server sends."""

    head: int | None
    """The number of the room's head."""
    has_server: bool
    """Whether anybody of the server asked about is in the room."""
    places: dict[EventID, bool]
    """Those of the events that are stored, and whether they have a place in their room."""
    rejected: frozenset[str]
    """Those of them that were rejected when they got it."""
    are_early: bool
    """Whether a redaction waits for any of the events."""
    heard: frozenset[str]
    """The IDs that have a number: of events that are stored, or that others name."""


async def ground(conn: Connection, room: RoomNid, server: ServerName, ids: Iterable[str]) -> Ground:
    """How the room stands, and which of the events are here: one query."""
    rows = await conn.fetch(
        """
        SELECT i.event_id, e.event_nid IS NOT NULL, e.room_order IS NOT NULL,
               EXISTS (SELECT FROM early_redactions r
                        WHERE r.target_nid = i.event_nid OFFSET 0), NULL,
               e.room_order IS NOT NULL AND e.fate = 2
          FROM event_ids i LEFT JOIN events e ON e.event_nid = i.event_nid
         WHERE i.event_id = ANY ($3)
         UNION ALL
        SELECT NULL, NULL, NULL,
               EXISTS (SELECT FROM room_servers p JOIN servers s ON s.server_nid = p.server_nid
                        WHERE p.room_nid = $1 AND s.server_name = $2 AND p.joined > 0),
               r.head, NULL
          FROM rooms r WHERE r.room_nid = $1
        """,
        room,
        server,
        list(ids),
    )
    named = [row for row in rows if row[0] is not None]
    known = {EventID(row[0]): row[2] for row in named if row[1]}
    are_early = any(row[3] for row in named)
    head, has_server = next(((row[4], row[3]) for row in rows if row[0] is None), (None, False))
    rejected = frozenset(row[0] for row in named if row[5])
    heard = frozenset(row[0] for row in named)
    return Ground(head, has_server, known, rejected, are_early, heard)


async def places(conn: Connection, ids: Iterable[str]) -> dict[EventID, bool]:
    """Those of the events that are stored, and whether they have a place in their room."""
    rows = await conn.fetch(
        """
        SELECT i.event_id, e.room_order IS NOT NULL
          FROM event_ids i JOIN events e ON e.event_nid = i.event_nid
         WHERE i.event_id = ANY ($1)
        """,
        list(ids),
    )
    return {EventID(row[0]): row[1] for row in rows}


async def by_nids(conn: Connection, nids: Iterable[EventNid]) -> dict[EventNid, Stored]:
    """Those of the events that are stored, by their numbers."""
    rows = await conn.fetch(
        """
        SELECT e.event_nid, e.room_nid, e.room_order, e.state_key_nid, e.group_before, e.fate,
               i.event_id, r.version, e.json
          FROM events e
          JOIN event_ids i ON i.event_nid = e.event_nid
          JOIN rooms r ON r.room_nid = e.room_nid
         WHERE e.event_nid = ANY ($1)
        """,
        list(nids),
    )
    return {EventNid(row[0]): _stored(row) for row in rows}


async def rejected(conn: Connection, nids: Iterable[EventNid]) -> set[EventNid]:
    """Those of the events that were rejected, as it stands now."""
    rows = await conn.fetch(
        "SELECT event_nid FROM events WHERE event_nid = ANY ($1) AND fate = $2",
        list(nids),
        Fate.REJECTED,
    )
    return {EventNid(row[0]) for row in rows}


async def state_of(conn: Connection, room: RoomNid, ids: Iterable[str]) -> dict[StateKey, EventID]:
    """The state that these events of the room make, as far as they are stored and good."""
    rows = await conn.fetch(
        """
        SELECT k.type, k.state_key, i.event_id
          FROM event_ids i
          JOIN events e ON e.event_nid = i.event_nid
          JOIN state_keys k ON k.state_key_nid = e.state_key_nid
         WHERE i.event_id = ANY ($1) AND e.room_nid = $2 AND e.fate <> 2
        """,
        list(ids),
        room,
    )
    return {(row[0], row[1]): EventID(row[2]) for row in rows}


def _stored(row: Sequence[object]) -> Stored:
    nid, room, order, key, group, fate, event_id, version, raw = row
    event = load_event(bytes(raw), str(event_id), str(version))  # type: ignore[call-overload]
    return Stored(nid, room, order, key, group, Fate(fate), event)  # type: ignore[arg-type]


async def auth_edges(
    conn: Connection, starts: Collection[EventNid]
) -> dict[EventNid, Sequence[EventNid]]:
    """What each of these events, and all that they lead to, cites for its authority."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE chain (event_nid) AS (
            SELECT unnest($1::bigint[])
             UNION
            SELECT unnest(e.auth) FROM chain c JOIN events e ON e.event_nid = c.event_nid
        )
        SELECT e.event_nid, e.auth FROM chain c JOIN events e ON e.event_nid = c.event_nid
        """,
        list(starts),
    )
    return {EventNid(row[0]): row[1] for row in rows}


async def auth_of(
    conn: Connection, events: Collection[EventNid]
) -> dict[EventNid, Sequence[EventNid]]:
    """What each of these events cites for its authority."""
    rows = await conn.fetch(
        "SELECT event_nid, auth FROM events WHERE event_nid = ANY ($1)", list(events)
    )
    return {EventNid(row[0]): row[1] for row in rows}


async def state_keys(conn: Connection, keys: Collection[KeyNid]) -> dict[KeyNid, tuple[str, str]]:
    """What numbers of state keys stand for."""
    rows = await conn.fetch(
        "SELECT state_key_nid, type, state_key FROM state_keys WHERE state_key_nid = ANY ($1)",
        list(keys),
    )
    return {KeyNid(row[0]): (row[1], row[2]) for row in rows}


async def add_outliers(conn: Connection, rows: Sequence[EventRow]) -> None:
    """Store events that have no place in their room's order."""
    await _insert(conn, rows, [None] * len(rows))


async def copy_outliers(conn: Connection, rows: Sequence[EventRow]) -> None:
    """As `add_outliers`, of many events that are hardly here; `conn` is in no transaction."""
    # In this order, whoever writes the same ones does not wait for us while we wait for them.
    ordered = sorted(rows, key=lambda row: row.event)
    if not await copied(conn, "events", _COPIED, map(_copied, ordered)):
        await add_outliers(conn, ordered)


_COPIED = (
    "event_nid", "room_nid", "state_key_nid", "group_before", "origin_server_ts", "depth", "fate",
    "auth", "json",
)  # fmt: skip


def _copied(row: EventRow) -> Sequence[object]:
    return (row.event, row.room, row.key, row.group, row.ts, row.depth, row.fate, row.auth,
            row.json)  # fmt: skip


async def add_history(
    conn: Connection,
    rows: Sequence[EventRow],
    orders: Sequence[int],
    groups: Sequence[GroupRow],
    relations: Sequence[RelationRow],
) -> None:
    """Store events of the past, at these places of their room's order; in a transaction."""
    await add_groups(conn, groups)
    await _insert(conn, rows, list(orders))
    await conn.execute(
        """
        INSERT INTO relations (event_nid, room_nid, parent_nid, room_order, rel_type, type,
                               sender, key)
        SELECT l.event_nid, e.room_nid, l.parent_nid, e.room_order, l.rel_type, l.type,
               l.sender, l.key
          FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[],
                      $6::text[])
               AS l (event_nid, parent_nid, rel_type, type, sender, key)
          JOIN events e ON e.event_nid = l.event_nid
        """,
        *([row[column] for row in relations] for column in range(6)),
    )


async def add_groups(conn: Connection, groups: Sequence[GroupRow]) -> None:
    """Store states of the past."""
    await conn.execute(
        """
        INSERT INTO state_groups (group_nid, room_nid, parent_nid, step, size, digest, records)
        OVERRIDING SYSTEM VALUE
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[],
                             $5::integer[], $6::bytea[], $7::bytea[])
        """,
        [row.group for row in groups],
        [row.room for row in groups],
        [row.parent for row in groups],
        [row.step for row in groups],
        [row.size for row in groups],
        [row.digest for row in groups],
        [row.records for row in groups],
    )


async def _insert(conn: Connection, rows: Sequence[EventRow], orders: Sequence[int | None]) -> None:
    await conn.execute(
        """
        INSERT INTO events AS old (event_nid, room_nid, room_order, state_key_nid, group_before,
                                   origin_server_ts, depth, fate, auth, json)
        SELECT n.event_nid, n.room_nid, n.room_order, n.key, n.group_nid, n.ts, n.depth, n.fate,
               n.auth::bigint[], n.json
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                      $6::bigint[], $7::bigint[], $8::smallint[], $9::text[], $10::bytea[])
               AS n (event_nid, room_nid, room_order, key, group_nid, ts, depth, fate, auth, json)
         ORDER BY n.event_nid
        ON CONFLICT (event_nid) DO UPDATE
           SET room_order = excluded.room_order, group_before = excluded.group_before,
               fate = excluded.fate
         WHERE old.room_order IS NULL AND excluded.room_order IS NOT NULL
        """,
        [row.event for row in rows],
        [row.room for row in rows],
        list(orders),
        [row.key for row in rows],
        [row.group for row in rows],
        [row.ts for row in rows],
        [row.depth for row in rows],
        [row.fate for row in rows],
        [array_literal(row.auth) for row in rows],
        [row.json for row in rows],
    )


async def first_depth(conn: Connection, room: RoomNid) -> int:
    """How deep the first event is that has a place in the room; 0 if there is none."""
    depth: int | None = await conn.fetchval(
        """
        SELECT depth FROM events WHERE room_nid = $1 AND room_order IS NOT NULL
         ORDER BY room_order LIMIT 1
        """,
        room,
    )
    return max(0, depth or 0)


async def set_version(conn: Connection, room: RoomNid, version: str) -> None:
    """Note a room's version, if it is not known yet."""
    await conn.execute(
        "UPDATE rooms SET version = $2 WHERE room_nid = $1 AND version IS NULL", room, version
    )


async def note_missing(conn: Connection, room: RoomNid, missing: Mapping[EventNid, int]) -> None:
    """Note parents that we do not have, each with the place of an event that cites it."""
    await conn.execute(
        """
        INSERT INTO missing_parents (room_nid, event_nid, child_order)
        SELECT $1, m.event_nid, m.child_order
          FROM unnest($2::bigint[], $3::bigint[]) AS m (event_nid, child_order)
        ON CONFLICT DO NOTHING
        """,
        room,
        list(missing),
        list(missing.values()),
    )


async def latest_gap(conn: Connection, room: RoomNid, after: int, before: int) -> Gap | None:
    """The latest gap in a span of the room's history."""
    rows = await conn.fetch(
        """
        SELECT i.event_id, m.child_order, e.origin_server_ts, r.lifetime, e.json
          FROM (SELECT max(child_order) AS child_order
                  FROM missing_parents
                 WHERE room_nid = $1 AND child_order >= $2 AND child_order <= $3) latest
          JOIN missing_parents m
            ON m.room_nid = $1 AND m.child_order = latest.child_order
          JOIN event_ids i ON i.event_nid = m.event_nid
          JOIN events e ON e.room_nid = $1 AND e.room_order = m.child_order
          JOIN rooms r ON r.room_nid = $1
        """,
        room,
        after,
        before,
    )
    if not rows:
        return None
    _, order, ts, lifetime, raw = rows[0]
    sender = UserID(orjson.loads(raw)["sender"])
    return Gap(room, order, ts, lifetime, sender, [EventID(row[0]) for row in rows])


async def latest_gaps(
    conn: Connection, spans: Mapping[RoomNid, tuple[int, int]]
) -> dict[RoomNid, int]:
    """The place of the last event in each span before which something is missing, if any is."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, max(m.child_order)
          FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS span (room_nid, after, up_to)
          JOIN missing_parents m ON m.room_nid = span.room_nid
                                AND m.child_order > span.after AND m.child_order <= span.up_to
         GROUP BY m.room_nid
        """,
        list(spans),
        [after for after, _ in spans.values()],
        [up_to for _, up_to in spans.values()],
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def found_parents(conn: Connection, room: RoomNid, parents: Iterable[EventNid]) -> None:
    """These parents are here now, or nobody has them."""
    await conn.execute(
        "DELETE FROM missing_parents WHERE room_nid = $1 AND event_nid = ANY ($2)",
        room,
        list(parents),
    )


async def lowest_order(conn: Connection, room: RoomNid, after: int, up_to: int) -> int:
    """The first place that is taken in a span, whose last one is."""
    found: int = await conn.fetchval(
        """
        SELECT min(room_order) FROM events
         WHERE room_nid = $1 AND room_order > $2 AND room_order <= $3
        """,
        room,
        after,
        up_to,
    )
    return found
