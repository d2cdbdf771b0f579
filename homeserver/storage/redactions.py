"""Redactions that came before what they redact.

https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions
"""

from collections.abc import Collection, Iterable, Sequence

from homeserver.storage import media_uses
from homeserver.storage.batch import RedactedRow, unwanted
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid

Pair = tuple[EventNid, EventNid]
"""A target and its redaction."""


async def note_early(conn: Connection, pairs: Collection[Pair]) -> None:
    """Remember redactions of events that are not here."""
    await conn.execute(
        """
        INSERT INTO early_redactions SELECT * FROM unnest($1::bigint[], $2::bigint[])
        ON CONFLICT DO NOTHING
        """,
        [target for target, _ in pairs],
        [redaction for _, redaction in pairs],
    )


async def early(conn: Connection, targets: Iterable[EventNid]) -> list[Pair]:
    """The redactions that wait for these events."""
    rows = await conn.fetch(
        "SELECT target_nid, redaction_nid FROM early_redactions WHERE target_nid = ANY ($1)",
        list(targets),
    )
    return [(EventNid(row[0]), EventNid(row[1])) for row in rows]


async def forget_early(conn: Connection, targets: Iterable[EventNid]) -> None:
    """No redaction waits for these events any more."""
    await conn.execute("DELETE FROM early_redactions WHERE target_nid = ANY ($1)", list(targets))


async def redact(conn: Connection, rows: Sequence[RedactedRow]) -> None:
    """Put what a redaction leaves in the place of events."""
    await media_uses.note(conn, unwanted(rows))
    await conn.execute(
        "SELECT redact_events($1, $2, $3, $4)",
        [row.event for row in rows],
        [row.redaction for row in rows],
        [row.json for row in rows],
        [row.until for row in rows],
    )


async def original(conn: Connection, event: EventNid, now: int) -> bytes | None:
    """What a redacted event was, as long as that is kept."""
    found: bytes | None = await conn.fetchval(
        "SELECT json FROM originals WHERE event_nid = $1 AND until_ts > $2", event, now
    )
    return found


async def forget_originals(conn: Connection, now: int) -> None:
    """Forget what redacted events were, once that is not kept any more."""
    await conn.execute("DELETE FROM originals WHERE until_ts <= $1", now)
