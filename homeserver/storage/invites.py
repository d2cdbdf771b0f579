"""Invitations to, and knocks at, rooms that this server is not in, with what came with them.

https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
"""

from collections.abc import Iterable
from typing import NamedTuple

import orjson

from federation.events import Event
from federation.identifiers import RoomID, UserID
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
    """A JSON list of stripped state."""
    json: bytes
    """The invitation, or the knock, itself."""
    version: str


class Known(NamedTuple):
    """An invitation that stands, or a knock."""

    room: RoomNid
    user: UserNid
    sender: UserID
    version: str


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
    """The invitations or knocks themselves."""
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
        SELECT m.room_nid, m.user_nid, coalesce(i.json, e.json), coalesce(i.version, r.version)
          FROM rooms r
         CROSS JOIN users u
          JOIN memberships m ON m.room_nid = r.room_nid AND m.user_nid = u.user_nid
          LEFT JOIN invites i ON i.room_nid = m.room_nid AND i.user_nid = m.user_nid
          LEFT JOIN events e ON e.event_nid = m.event_nid
         WHERE r.room_id = $1 AND u.user_id = $2
           AND (i.room_nid IS NOT NULL OR m.membership = ANY ($3) AND e.event_nid IS NOT NULL)
        """,
        room_id,
        user_id,
        [Membership.INVITE, Membership.KNOCK],
    )
    if row is None:
        return None
    return Known(row[0], row[1], UserID(orjson.loads(row[2])["sender"]), row[3])


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


async def remove(conn: Connection, room: RoomNid, user: UserNid) -> int | None:
    """An invitation was rejected, or taken back: they are out of the room; the position."""
    pos: int | None = await conn.fetchval(
        """
        WITH gone AS (
            DELETE FROM invites WHERE room_nid = $1 AND user_nid = $2
        ), standing AS MATERIALIZED (
            SELECT room_nid, user_nid FROM memberships
             WHERE room_nid = $1 AND user_nid = $2 AND membership = ANY ($4)
        ), logged AS MATERIALIZED (
            SELECT room_nid, user_nid, append_log(ARRAY[$3::smallint], ARRAY[room_nid],
                                                  ARRAY[user_nid], ARRAY[NULL::bigint]) AS pos
              FROM standing
        )
        UPDATE memberships m SET membership = 0, pos = l.pos
          FROM logged l
         WHERE m.room_nid = l.room_nid AND m.user_nid = l.user_nid AND m.membership = ANY ($4)
        RETURNING m.pos
        """,
        room,
        user,
        Kind.FORGOTTEN,
        [Membership.INVITE, Membership.KNOCK],
    )
    return pos


async def forget(conn: Connection, room: RoomNid) -> None:
    """We are in the room now: its state tells what was only told before."""
    await conn.execute("DELETE FROM invites WHERE room_nid = $1", room)
