"""Writing events: rows of everything that changes with them, in one call.

The one exception to "SQL stands in the function that runs it": the stored function `append_batch`
(see its comment in the migration) locks, takes positions and writes in a single round trip.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import asyncpg

from homeserver.storage import media_uses, vanishing
from homeserver.storage.log import Entry, Kind
from homeserver.storage.media_uses import Given
from homeserver.storage.numbers import RoomNid, ServerNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, GroupNid, KeyNid
from homeserver.storage.stream_tokens import ORDER_BITS
from homeserver.storage.vanishing import VanishingRow


class Fate(IntEnum):
    """`federation.verdict.Outcome` as it is stored."""

    ACCEPTED = 0
    SOFT_FAILED = 1
    REJECTED = 2


class Membership(IntEnum):
    """`membership` of `m.room.member` as it is stored."""

    LEAVE = 0
    JOIN = 1
    INVITE = 2
    KNOCK = 3
    BAN = 4


class RoomRow(NamedTuple):
    """What a room is after the batch."""

    room: RoomNid
    head: int
    """The head that the room must have for any of it to be written."""
    version: str | None
    """Given with the create event."""
    group: GroupNid
    extremities: Sequence[EventNid]


class EventRow(NamedTuple):
    """One event."""

    room: RoomNid
    event: EventNid
    key: KeyNid | None
    group: GroupNid | None
    """The state before it; `None` if that is not known, or empty."""
    ts: int
    depth: int
    fate: Fate
    member: UserNid | None
    """Whose membership it is about."""
    auth: Sequence[EventNid]
    """What it cites for its authority."""
    json: bytes
    new_id: str | None = None
    """Its ID, if that is new here: of an event with a number that was set aside."""


class ChangeRow(NamedTuple):
    """A change of the current state, that came with `event`."""

    room: RoomNid
    event: EventNid
    key: KeyNid
    old: EventNid | None
    new: EventNid | None


class MemberRow(NamedTuple):
    """A membership by the new current state; `event` is the one it came with."""

    room: RoomNid
    event: EventNid
    user: UserNid
    membership: Membership
    own: EventNid
    """Which says so; where nothing does any more, `event`."""


class MoveRow(NamedTuple):
    """The state of a room puts people out, or in, without an event that says so."""

    room: RoomNid
    user: UserNid | None
    """Of a user of this server; `None`: of any."""


class ServerRow(NamedTuple):
    """How many more users of a server are joined than before."""

    room: RoomNid
    server: ServerNid
    delta: int


class GroupRow(NamedTuple):
    """A new state group."""

    room: RoomNid
    group: GroupNid
    parent: GroupNid | None
    step: int
    size: int
    digest: bytes
    records: bytes


class SentRow(NamedTuple):
    """A transaction ID of a device, with the event that it stands for."""

    room: RoomNid
    device: int
    txn_hash: bytes
    event: EventNid
    ts: int
    txn_id: str | None = None
    """As the device wrote it."""


class RedactedRow(NamedTuple):
    """An event that a redaction took the content out of."""

    room: RoomNid
    event: EventNid
    redaction: EventNid
    json: bytes
    """What is left of it."""
    until: int | None
    """How long what it said is kept for moderators, in milliseconds since the epoch."""
    files: Sequence[Given] = ()
    """Those that may go with it; noted before all else, as `media_uses.note` does."""


class MissingRow(NamedTuple):
    """A parent of an event that is not here: there is history to be had."""

    room: RoomNid
    parent: EventNid
    event: EventNid
    """Of the batch."""


class RelationRow(NamedTuple):
    """What an event is to another."""

    event: EventNid
    parent: EventNid
    rel_type: str
    type: str
    """Of the event."""
    sender: str
    key: str | None
    """Of an annotation."""


class SearchKey(IntEnum):
    """Which part of an event can be searched, as it is stored."""

    BODY = 0
    NAME = 1
    TOPIC = 2


class SearchRow(NamedTuple):
    """The text by which an accepted event of the batch can be found."""

    event: EventNid
    key: SearchKey
    text: str


class NotableRow(NamedTuple):
    """A message that somebody may have to be told of."""

    event: EventNid
    sender: UserNid
    thread: EventNid | None
    """The root of its thread."""
    flags: int
    """Of `unread.Flag`."""
    mentioned: Sequence[UserNid]


class StickyRow(NamedTuple):
    """An event that sticks for a while."""

    event: EventNid
    room: RoomNid
    expires_ts: int
    is_ours: bool
    """Whether a person of this server says it."""


class LifetimeRow(NamedTuple):
    """How long messages of a room are kept from now on, as its state asks for it."""

    room: RoomNid
    lifetime: int | None
    """In milliseconds; `None`: it asks for nothing."""


class ClearingRow(NamedTuple):
    """A membership in whose place all is redacted that somebody said."""

    event: EventNid
    room: RoomNid
    user: UserNid


@dataclass(slots=True)
class Batch:
    """Rows for any number of rooms; a room is written whole or not at all."""

    rooms: list[RoomRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    changes: list[ChangeRow] = field(default_factory=list)
    members: list[MemberRow] = field(default_factory=list)
    moves: list[MoveRow] = field(default_factory=list)
    """They have positions of their own, behind those of all events."""
    servers: list[ServerRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    sent: list[SentRow] = field(default_factory=list)
    redacted: list[RedactedRow] = field(default_factory=list)
    """Events that were here before the batch."""
    late: list[RedactedRow] = field(default_factory=list)
    """Events of the batch."""
    missing: list[MissingRow] = field(default_factory=list)
    """At most one of each parent."""
    relations: list[RelationRow] = field(default_factory=list)
    notable: list[NotableRow] = field(default_factory=list)
    searchable: list[SearchRow] = field(default_factory=list)
    sticky: list[StickyRow] = field(default_factory=list)
    """Not written with the rest, but before it: see `storage.sticky.note`."""
    lifetimes: list[LifetimeRow] = field(default_factory=list)
    """At most one of each room."""
    clearings: list[ClearingRow] = field(default_factory=list)
    """Written before all else, as `clearings.note` does."""
    vanishing: list[VanishingRow] = field(default_factory=list)
    """The same, as `vanishing.note` does."""


class AlreadyKnownError(Exception):
    """A transaction ID of a batch stands for an event already, or an ID that should be new has a
    number: nothing was written.
    """


async def append(conn: Connection, batch: Batch) -> dict[EventNid, int]:
    """Write the batch; answer the position of each event that was written.

    Events of rooms that somebody else is writing to, or whose head has moved, are missing from the
    answer. It is given after the commit, unless `conn` is in a transaction: that has to end then.

    Raises:
        AlreadyKnownError: see there.

    """
    rooms = [(*row[:4], array_literal(row.extremities)) for row in batch.rooms]
    events = [(*row[:8], array_literal(row.auth), row.json, row.new_id) for row in batch.events]
    notable = [
        (*row[:4], array_literal(row.mentioned) if row.mentioned else None) for row in batch.notable
    ]
    columns = [
        *_columns(rooms, 5),
        *_columns(events, 11),
        *_columns(batch.changes, 5),
        *_columns(batch.members, 5),
        *_columns(batch.servers, 3),
        *_columns(batch.groups, 7),
        *_columns(batch.sent, 6),
        *_columns((row[:5] for row in batch.redacted), 5),
        *_columns(batch.relations, 6),
        *_columns(notable, 5),
        *_columns(batch.searchable, 3),
        *_columns(batch.lifetimes, 2),
    ]
    await media_uses.note(conn, unwanted([*batch.redacted, *batch.late]))
    await vanishing.note(conn, batch.vanishing)
    more = []
    if batch.moves or batch.missing or batch.late:
        more = [
            *_columns(batch.moves, 2),
            *_columns(batch.missing, 3),
            *_columns((row[1:5] for row in batch.late), 4),
        ]
    try:
        rows = await conn.fetch(_APPEND_AND_MORE if more else _APPEND, *columns, *more)
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "event_ids":
            raise
        raise AlreadyKnownError from error
    if rows and rows[0][0] is None:
        raise AlreadyKnownError
    return {EventNid(row[0]): row[1] for row in rows}


def unwanted(rows: Iterable[RedactedRow]) -> list[tuple[EventNid, int | None, Given]]:
    """The files that may go with redacted events."""
    return [(row.event, row.until, given) for row in rows for given in row.files]


def logged(batch: Batch, positions: Mapping[EventNid, int]) -> list[Entry]:
    """The rows of the log that were written with a batch; `positions` are what `append` answered.

    Events of one batch have successive positions.
    """
    return [
        Entry(positions[row.event], Kind.EVENT, row.room, row.member, row.event)
        for row in batch.events
        if row.event in positions
    ]


_APPEND = f"SELECT event_nid, pos FROM append_batch({', '.join(f'${n}' for n in range(1, 64))})"  # noqa: S608
_APPEND_AND_MORE = f"""
    WITH written AS MATERIALIZED ({_APPEND}),
    moved AS MATERIALIZED (
        SELECT append_log(array_agg({Kind.STATE:d}::smallint), array_agg(m.room_nid),
                          array_agg(m.user_nid), array_agg(NULL::bigint))
          FROM unnest($64::bigint[], $65::bigint[]) AS m (room_nid, user_nid)
         WHERE (SELECT count(pos) FROM written) > 0
    ), noted AS (
        INSERT INTO missing_parents (room_nid, event_nid, child_order)
        SELECT m.room_nid, m.parent_nid, w.pos << {ORDER_BITS}
          FROM unnest($66::bigint[], $67::bigint[], $68::bigint[])
               AS m (room_nid, parent_nid, event_nid)
          JOIN written w ON w.event_nid = m.event_nid
        ON CONFLICT DO NOTHING
    ), redacted AS MATERIALIZED (
        SELECT redact_events(array_agg(x.event_nid), array_agg(x.redaction), array_agg(x.json),
                             array_agg(x.until_ts))
          FROM unnest($69::bigint[], $70::bigint[], $71::bytea[], $72::bigint[])
               AS x (event_nid, redaction, json, until_ts)
          JOIN written w ON w.event_nid = x.event_nid
    )
    SELECT w.event_nid, w.pos FROM written w, moved, redacted
"""  # noqa: S608 - numbers


def array_literal(numbers: Iterable[int]) -> str:
    """An array as text: the only way to hand over several of different lengths."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]
