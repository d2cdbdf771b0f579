"""Events as `/sync` shows them: in the format and with the fields that a client asked for."""

from collections.abc import Collection, Sequence
from typing import Any

from federation.canonical_json import JsonObject, decode_object
from homeserver.accounts.filters import Filter
from homeserver.rooms.showing import Showing
from homeserver.rooms.standings import Reader, Standing
from homeserver.storage.history import Placed
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.sync.wishes import Wish


async def timeline(
    conn: Connection,
    showing: Showing,
    reader: Reader,
    events: Sequence[Placed],
    standings: dict[RoomNid, Standing],
    wanted: Filter,
    limited: Collection[RoomNid] = (),
) -> list[JsonObject]:
    """Events of timelines, in their order; "the room_id field is missing" in `/sync`.

    What is related to an event is told with it where the timeline is limited: otherwise the client
    has seen, or sees, it all.
    """
    shown = await showing.show(conn, reader, events, standings)
    if limited:
        pairs = [(e, one) for e, one in zip(events, shown, strict=True) if e.room in limited]
        await showing.add_bundles(conn, reader, pairs)
    return [_formed(event, one, wanted) for event, one in zip(events, shown, strict=True)]


def state(showing: Showing, events: Sequence[Placed], wanted: Filter) -> list[JsonObject]:
    """Entries of states."""
    shown = showing.show_state(events)
    return [_formed(event, one, wanted) for event, one in zip(events, shown, strict=True)]


def state_section(showing: Showing, events: Sequence[Placed], wish: Wish) -> JsonObject:
    """Entries of a room's state, under the name under which the client wants them."""
    after: JsonObject = {"events": state(showing, events, wish.filter)}
    if not wish.wants_state_after:
        return {"state": after}
    # COMPAT(matrix-js-sdk): it reads the unstable name only.
    return {"state_after": after, "org.matrix.msc4222.state_after": after}


def _formed(event: Placed, shown: JsonObject, wanted: Filter) -> JsonObject:
    shown.pop("room_id", None)
    if wanted.event_format == "federation":
        unsigned = shown.get("unsigned", {})
        strict = event.event.version.strict_json
        shown = {**decode_object(event.event.json, strict=strict), "unsigned": unsigned}
    if wanted.event_fields is not None:
        return _picked(shown, wanted.event_fields)
    return shown


def _picked(shown: JsonObject, fields: Sequence[str]) -> JsonObject:
    """Only these fields; `a.b` is a field of a field."""
    found: JsonObject = {}
    for name in fields:
        at: Any = shown
        path = [part.replace("\0", ".") for part in name.replace("\\.", "\0").split(".")]
        for part in path:
            at = at.get(part, _MISSING) if isinstance(at, dict) else _MISSING
        if at is not _MISSING:
            into = found
            for part in path[:-1]:
                into = into.setdefault(part, {})
            into[path[-1]] = at
    return found


_MISSING = object()
