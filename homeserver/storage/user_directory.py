"""Finding people.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.storage.numbers import ServerNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import KeyNid

_LAST = "\U0010ffff"
"""Sorts behind whatever a word goes on with."""
_MOST_LOOKED_AT = 1000


class Found(NamedTuple):
    """Somebody."""

    user_id: UserID
    profile: bytes | None
    """A JSON object, of people of this server."""


async def search(
    conn: Connection,
    who: UserNid,
    words: Sequence[str],
    start: str,
    open_by: Collection[KeyNid],
    us: ServerNid,
    limit: int,
    *,
    everybody: bool,
) -> list[Found]:
    """People whose names have words that begin so, or whose ID does.

    Args:
        conn: one query.
        who: searches; they see people with whom they share a room, and those in public rooms.
        us: this server, of which somebody has to be in those.
        words: each of which has to begin a word of the name.
        start: how an ID begins.
        open_by: the state keys of what makes a room public.
        limit: how many are wanted.
        everybody: whether all people of this server are seen.

    """
    rows = await conn.fetch(
        """
        WITH named AS (
            SELECT w.user_nid
              FROM unnest($2::text[], $3::text[]) AS t (first, last)
              JOIN user_words w ON w.word >= t.first AND w.word < t.last
             GROUP BY w.user_nid
            HAVING count(DISTINCT t.first) = cardinality($2::text[])
        ), candidates AS (
            (SELECT user_nid FROM named LIMIT $8)
             UNION
            (SELECT user_nid FROM users WHERE user_id >= $4 AND user_id < $5 LIMIT $8)
        )
        SELECT u.user_id, p.fields
          FROM candidates c
          JOIN users u ON u.user_nid = c.user_nid
          LEFT JOIN accounts a ON a.user_nid = c.user_nid
          LEFT JOIN profiles p ON p.user_nid = c.user_nid
         WHERE a.deactivated IS NOT TRUE
           AND (c.user_nid = $1
                OR ($9 AND a.user_nid IS NOT NULL)
                OR EXISTS (SELECT FROM memberships mine
                             JOIN memberships theirs ON theirs.room_nid = mine.room_nid
                            WHERE mine.user_nid = $1 AND mine.membership = 1
                              AND theirs.user_nid = c.user_nid AND theirs.membership = 1)
                OR EXISTS (SELECT FROM memberships m
                             JOIN room_servers ours
                               ON ours.room_nid = m.room_nid AND ours.server_nid = $10
                              AND ours.joined > 0
                             JOIN current_state s
                               ON s.room_nid = m.room_nid AND s.state_key_nid = ANY ($6)
                             JOIN events e ON e.event_nid = s.event_nid
                            WHERE m.user_nid = c.user_nid AND m.membership = 1
                              AND (position('"join_rule":"public"'::bytea IN e.json) > 0
                                   OR position('"history_visibility":"world_readable"'::bytea
                                               IN e.json) > 0)))
         ORDER BY p.fields IS NULL, u.user_id
         LIMIT $7
        """,
        who,
        list(words),
        [word + _LAST for word in words],
        start,
        start + _LAST,
        list(open_by),
        limit,
        _MOST_LOOKED_AT,
        everybody,
        us,
    )
    return [Found(*row) for row in rows]
