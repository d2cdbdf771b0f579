"""Invitations to, and knocks at, rooms that this server is not in, and what ended them.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Iterable
from typing import NamedTuple

import orjson

from federation.events import Event
from federation.identifiers import EventID, RoomID, UserID
from homeserver.storage.batch import Membership
from homeserver.storage.loading import load_event
from homeserver.storage.log import Kind
from homeserver.storage.numbers import RoomNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid


class Invite(NamedTuple):
    """A row of `invites`."""

    room: RoomNid
    user: UserNid
    state: bytes
    """A JSON list of stripped state; empty once it is over."""
    json: bytes
    """The invitation, or the knock, itself; once it is over: the event that ended it."""
    version: str


class Known(NamedTuple):
    """An invitation that stands, or a knock."""

    room: RoomNid
    user: UserNid
    event_id: EventID
    json: bytes
    version: str

    @property
    def sender(self) -> UserID:
        """Who invites, or knocks."""
        return UserID(orjson.loads(self.json)["sender"])


async def stripped_states(
    conn: Connection, rooms: Iterable[RoomNid], user: UserNid
) -> dict[RoomNid, bytes]:
    """The stripped states that came, as JSON lists."""
    rows = await conn.fetch(
        "SELECT room_nid, state FROM invites WHERE room_nid = ANY ($1) AND user_nid = $2",
        list(rooms),
        user,
    )
    return {RoomNid(row[0]): row[1] for row in rows}


async def events(conn: Connection, rooms: Iterable[RoomNid], user: UserNid) -> dict[RoomNid, Event]:
    """The invitations or knocks themselves, or what ended them."""
    rows = await conn.fetch(
        """
        SELECT i.room_nid, i.json, e.event_id, i.version
          FROM invites i
          JOIN memberships m ON m.room_nid = i.room_nid AND m.user_nid = i.user_nid
          JOIN event_ids e ON e.event_nid = m.event_nid
         WHERE i.room_nid = ANY ($1) AND i.user_nid = $2
        """,
        list(rooms),
        user,
    )
    return {RoomNid(row[0]): load_event(row[1], row[2], row[3]) for row in rows}


async def find(conn: Connection, room_id: RoomID, user_id: UserID) -> Known | None:
    """What stands between a user and a room that we are not in, or are in no more."""
    row = await conn.fetchrow(
        """
        SELECT m.room_nid, m.user_nid, n.event_id, coalesce(i.json, e.json),
               coalesce(i.version, r.version)
          FROM rooms r
         CROSS JOIN users u
          JOIN memberships m ON m.room_nid = r.room_nid AND m.user_nid = u.user_nid
          JOIN event_ids n ON n.event_nid = m.event_nid
          LEFT JOIN invites i ON i.room_nid = m.room_nid AND i.user_nid = m.user_nid
          LEFT JOIN events e ON e.event_nid = m.event_nid
         WHERE r.room_id = $1 AND u.user_id = $2 AND m.membership = ANY ($3)
           AND (i.room_nid IS NOT NULL OR e.event_nid IS NOT NULL)
        """,
        room_id,
        user_id,
        [Membership.INVITE, Membership.KNOCK],
    )
    return Known(*row) if row else None


async def add(
    conn: Connection, invite: Invite, event: EventNid, membership: Membership
) -> int | None:
    """Note an invitation or a knock, with the membership that it makes; the position."""
    pos: int | None = await conn.fetchval(
        """
        WITH stored AS (
            INSERT INTO invites (room_nid, user_nid, state, json, version)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (room_nid, user_nid) DO UPDATE
               SET state = excluded.state, json = excluded.json, version = excluded.version
            RETURNING room_nid, user_nid
        ), logged AS MATERIALIZED (
            SELECT room_nid, user_nid, append_log(ARRAY[$6::smallint], ARRAY[room_nid],
                                                  ARRAY[user_nid], ARRAY[NULL::bigint]) AS pos
              FROM stored
        )
        INSERT INTO memberships (room_nid, user_nid, membership, event_nid, pos)
        SELECT room_nid, user_nid, $7, $8, pos FROM logged
        ON CONFLICT (room_nid, user_nid) DO UPDATE
           SET membership = excluded.membership, event_nid = excluded.event_nid,
               pos = excluded.pos
        RETURNING pos
        """,
        *invite,
        Kind.FORGOTTEN,
        membership,
        event,
    )
    return pos


async def remove(conn: Connection, known: Known, event: Event, nid: EventNid) -> int | None:
    """An invitation was rejected or taken back, or a knock: the user is out; the position.

    Args:
        conn: to write with.
        known: which.
        event: that says so, of which nobody else here need know.
        nid: its number.

    """
    pos: int | None = await conn.fetchval(
        """
        WITH standing AS MATERIALIZED (
            SELECT room_nid, user_nid FROM memberships
             WHERE room_nid = $1 AND user_nid = $2 AND membership = ANY ($4)
        ), ended AS (
            INSERT INTO invites (room_nid, user_nid, state, json, version)
            SELECT room_nid, user_nid, '[]', $6, $7 FROM standing
            ON CONFLICT (room_nid, user_nid) DO UPDATE
               SET state = excluded.state, json = excluded.json, version = excluded.version
        ), logged AS MATERIALIZED (
            SELECT room_nid, user_nid, append_log(ARRAY[$3::smallint], ARRAY[room_nid],
                                                  ARRAY[user_nid], ARRAY[NULL::bigint]) AS pos
              FROM standing
        )
        UPDATE memberships m SET membership = 0, event_nid = $5, pos = l.pos
          FROM logged l
         WHERE m.room_nid = l.room_nid AND m.user_nid = l.user_nid AND m.membership = ANY ($4)
        RETURNING m.pos
        """,
        known.room,
        known.user,
        Kind.FORGOTTEN,
        [Membership.INVITE, Membership.KNOCK],
        nid,
        event.json,
        event.version.name,
    )
    return pos


async def forget(conn: Connection, room: RoomNid) -> None:
    """We are in the room now: its state tells what was only told before."""
    await conn.execute("DELETE FROM invites WHERE room_nid = $1", room)
