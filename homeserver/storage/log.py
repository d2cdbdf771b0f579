"""The log of everything that caches and clients must learn of.

Rows are written by `append_batch` (events) and `append_log` (all else): functions of the database
that take the clock as the last thing before the commit, so that whoever has seen a position has
seen everything below it.
"""

from enum import IntEnum
from typing import NamedTuple

from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection

MOST_AT_ONCE = 1000
"""Rows that are read in one query."""


class Kind(IntEnum):
    """What a row of the log is about; `item` is a number that depends on it."""

    EVENT = 1
    """An event of the room; item: its number. Of a membership: whose it is."""
    STATE = 2
    """The room's state became otherwise without an event; with a user, their membership too."""
    ACCOUNT = 10
    """The user's account was made, or is now otherwise: locked, administrator, deactivated, …"""
    DEVICE = 11
    """A device of the user was made, renamed, or got new tokens; item: its number."""
    DEVICE_GONE = 12
    """A device of the user was deleted, with its tokens; item: its number."""
    PROFILE = 13
    """The user's profile changed."""
    ACCOUNT_DATA = 14
    """The user's account data changed, of the room or, without one, of the account."""
    PUSH_RULES = 15
    """The user's push rules changed."""
    PUSHER = 16
    """Where the user is to be notified changed."""
    THREAD_SUBSCRIPTION = 17
    """The user follows a thread of the room, or does not any more."""
    RECEIPT = 20
    """The user read on in the room."""
    TO_DEVICE = 21
    """A message is waiting for a device of the user; item: the device's number."""
    DEVICE_KEYS = 22
    """The keys of a user's devices changed, or their cross-signing keys; of any server.

    Of people here, item: the device's number; none: their cross-signing keys; 0: signatures that
    only those see who made them.
    """
    FORGOTTEN = 23
    """The user forgot the room."""
    ONE_TIME_KEYS = 24
    """A device of the user has more or fewer one-time keys; item: its number."""
    STICKY = 25
    """Something in the room is about to stick; or does after all: then item is its number."""
    OUTGOING = 30
    """Something waits to be sent to another server; item: the server's number."""


MOVES = frozenset({Kind.EVENT, Kind.STATE, Kind.FORGOTTEN})
"""Of rows with a user: after which they may be in a room, or have left or forgotten it."""


class Entry(NamedTuple):
    """A row of the log."""

    pos: int
    kind: int
    room: RoomNid | None
    user: UserNid | None
    item: int | None


async def read_log(conn: Connection, after: int, limit: int = MOST_AT_ONCE) -> list[Entry]:
    """The first rows beyond `after`, in order."""
    rows = await conn.fetch(
        """
        SELECT pos, kind, room_nid, user_nid, item
          FROM log
         WHERE pos > $1
         ORDER BY pos
         LIMIT $2
        """,
        after,
        limit,
    )
    return [Entry(*row) for row in rows]
