"""Which files events name, and whether anything else does.

What is encrypted says nothing here. A file is only given up with a message of the one who uploaded
it, so that nobody can have others' files deleted; nor are files of bridges, which send one file
again and again.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from federation.errors import IdentifierError
from federation.events import Event
from federation.identifiers import ServerName, UserID, domain_of, parse_server_name
from homeserver.storage.media import MediaNid
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_NAMES = r"""position('\x6d78633a'::bytea IN {0}) > 0 AND media_named({0}) COLLATE "C" && $1"""
_NO_MEMBER = r"position('\x226d2e726f6f6d2e6d656d62657222'::bytea IN e.json) = 0"


class File(NamedTuple):
    """A file, as an `mxc:` URI names it."""

    server: ServerName
    media_id: str


class Given(NamedTuple):
    """A file that somebody sent in a message, and so may take back with it."""

    file: File
    sender: UserID


class Unwanted(NamedTuple):
    """A file that a message named which is no more."""

    media: MediaNid
    event: EventNid
    name: str
    user: UserNid | None
    """Who uploaded it, if that was here."""


def files_in(event: Event) -> Iterator[File]:
    """The files that an event names: the file itself and its thumbnail."""
    content = event.content
    info = content.get("info")
    for holder, url, file in (
        (content, "url", "file"),
        (info if isinstance(info, dict) else {}, "thumbnail_url", "thumbnail_file"),
    ):
        encrypted = holder.get(file)
        for text in (
            holder.get(url),
            encrypted.get("url") if isinstance(encrypted, dict) else None,
        ):
            found = _named(text)
            if found is not None:
                yield found


def given_in(event: Event) -> list[Given]:
    """The files of a message that may go with it; avatars and stickers are used elsewhere."""
    if event.type != "m.room.message" or event.is_state:
        return []
    return [Given(file, event.sender) for file in dict.fromkeys(files_in(event))]


async def note(conn: Connection, rows: Iterable[tuple[EventNid, int | None, Given]]) -> None:
    """Note files of messages that are about to be no more, with the time before which they stay.

    Those that are other people's, and that are not here, are left out.
    """
    found = list(rows)
    if not found:
        return
    await conn.execute(
        """
        INSERT INTO unwanted_media (media_nid, event_nid, due_ts)
        SELECT m.media_nid, x.event_nid,
               greatest(x.until_ts, (extract(epoch FROM now()) * 1000)::bigint)
          FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
               AS x (event_nid, until_ts, origin, media_id, sender, domain)
          JOIN media m ON m.origin = x.origin AND m.media_id = x.media_id
          LEFT JOIN users u ON u.user_nid = m.user_nid
          LEFT JOIN accounts a ON a.user_nid = m.user_nid
         WHERE m.file_id IS NOT NULL AND NOT m.is_preview AND a.appservice IS NULL
           AND CASE WHEN m.user_nid IS NULL THEN m.origin = x.domain ELSE u.user_id = x.sender END
        ON CONFLICT (media_nid, event_nid) DO UPDATE SET due_ts = excluded.due_ts
        """,
        [event for event, _, _ in found],
        [until for _, until, _ in found],
        [given.file.server for _, _, given in found],
        [given.file.media_id for _, _, given in found],
        [given.sender for _, _, given in found],
        [domain_of(given.sender) for _, _, given in found],
    )


async def due(conn: Connection, before: int, limit: int) -> list[Unwanted]:
    """Some that are to be looked at; not those of messages that stand after all."""
    rows = await conn.fetch(
        """
        SELECT x.media_nid, x.event_nid, m.origin || '/' || m.media_id, m.user_nid
          FROM unwanted_media x JOIN media m ON m.media_nid = x.media_nid
         WHERE x.due_ts <= $1
           AND NOT EXISTS (SELECT FROM events e
                            WHERE e.event_nid = x.event_nid AND e.redacted_by IS NULL)
         ORDER BY x.due_ts LIMIT $2
        """,
        before,
        limit,
    )
    return [Unwanted(*row) for row in rows]


async def used(
    conn: Connection, names: Collection[str], users: Collection[UserNid], now: int
) -> set[str]:
    """Those of some files, as `server/media_id`, that something names.

    Args:
        conn: to read with.
        names: of the files.
        users: who uploaded them, in whose memberships they may be avatars.
        now: what was redacted, and may still be read, counts.

    """
    rows = await conn.fetch(_USED, list(names), list(users), now)
    return {row[0] for row in rows}


async def forget(conn: Connection, events: Sequence[Unwanted], before: int) -> None:
    """Forget some that were dealt with, and those of messages that stood for too long."""
    await conn.execute(
        """
        DELETE FROM unwanted_media x
         WHERE (x.media_nid, x.event_nid) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
            OR x.due_ts < $3
        """,
        *([one[place] for one in events] for place in (0, 1)),
        before,
    )


async def that_name_files(conn: Connection, events: Sequence[EventNid]) -> list[EventNid]:
    """Those of some events that name files."""
    rows = await conn.fetch(
        r"""
        SELECT event_nid FROM events
         WHERE event_nid = ANY ($1) AND position('\x6d78633a'::bytea IN json) > 0
        """,
        events,
    )
    return [EventNid(row[0]) for row in rows]


def _named(uri: Any) -> File | None:
    if not isinstance(uri, str) or not uri.startswith("mxc://"):
        return None
    server, _, media_id = uri.removeprefix("mxc://").partition("/")
    try:
        found = parse_server_name(server)
    except IdentifierError:
        return None
    return File(found, media_id) if _MEDIA_ID.fullmatch(media_id) else None


def _naming(table: str, column: str, condition: str = "true") -> str:
    names = _NAMES.format(column)
    return f"SELECT media_named({column}) AS names FROM {table} WHERE {condition} AND {names}"  # noqa: S608


_EVERYWHERE = (
    _naming("events e", "e.json", _NO_MEMBER),
    _naming("memberships s JOIN events e USING (event_nid)", "e.json", "s.user_nid = ANY ($2)"),
    _naming("profiles p", "p.fields"),
    _naming("account_data d", "d.content"),
    _naming("originals o", "o.json", "o.until_ts > $3"),
    _naming("delayed_events l", "l.json", "l.finalised_ts IS NULL"),
    _naming("invites i", "i.state"),
    _naming("invites i", "i.json"),
)
_USED = f"""
    SELECT DISTINCT name
      FROM ({" UNION ALL ".join(_EVERYWHERE)}) AS found, unnest(found.names) AS name
     WHERE name = ANY ($1)
    """  # noqa: S608
