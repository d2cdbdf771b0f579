"""What others' events add to an event: `m.relations` in its `unsigned`.

https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from federation.canonical_json import JsonObject
from homeserver.rooms.relating import REFERENCE, REPLACE, THREAD, relation_of
from homeserver.rooms.standings import Reader, Standings
from homeserver.rooms.visibility import Visibility
from homeserver.storage import history, relations
from homeserver.storage.history import LATEST, Placed
from homeserver.storage.pool import Connection
from homeserver.storage.relations import Parent
from homeserver.storage.state_groups import EventNid
from homeserver.storage.stream_tokens import ORDER_BITS

Show = Callable[[Sequence[Placed]], Awaitable[list[JsonObject]]]
"""Shows events, with bundles of their own or without."""
Bundle = dict[EventNid, JsonObject]
"""What is told of each event, by `rel_type`."""


class Bundling:
    """Gathers what is told with events.

    Args:
        visibility: says which of the related events a reader may see.
        standings: say where a reader left.

    """

    def __init__(self, visibility: Visibility, standings: Standings) -> None:
        self._visibility = visibility
        self._standings = standings

    async def of(
        self,
        conn: Connection,
        reader: Reader,
        events: Sequence[Placed],
        show: Show,
        latest: Show | None,
    ) -> Bundle:
        """The bundles of those of the events that have any.

        Args:
            conn: one query is made where nothing is related to any of the events.
            reader: whose client gets them.
            events: that the reader may see.
            show: the edits, as they are.
            latest: the last events of threads, with what is told of those; `None`: no threads.

        """
        # "State events do not currently receive bundled aggregations."
        parents = {event.nid: event for event in events if event.is_parent}
        kinds = await relations.kinds(conn, parents) if parents else {}
        if not kinds:
            return {}
        bounded = await self._bounded(conn, reader, parents.values())
        found: Bundle = {}
        if REFERENCE in kinds:
            named = [bounded[nid] for nid in kinds[REFERENCE]]
            _add(found, REFERENCE, await self._references(conn, reader, named))
        if REPLACE in kinds:
            originals = {bounded[nid]: parents[nid] for nid in kinds[REPLACE]}
            _add(found, REPLACE, await self._edits(conn, reader, originals, show))
        if THREAD in kinds and latest is not None:
            roots = {bounded[nid]: parents[nid] for nid in kinds[THREAD]}
            _add(found, THREAD, await self._threads(conn, reader, roots, latest))
        return found

    async def _bounded(
        self, conn: Connection, reader: Reader, events: Collection[Placed]
    ) -> dict[EventNid, Parent]:
        """The events, each with the end of what there is to the reader in its room."""
        standings = await self._standings.read(conn, reader, {event.room for event in events})
        left = await self._standings.departures(conn, reader, standings.values())
        ends = {room: pos << ORDER_BITS for room, pos in left.items()}
        return {
            event.nid: Parent(event.nid, event.room, ends.get(event.room, LATEST))
            for event in events
        }

    async def _references(
        self, conn: Connection, reader: Reader, parents: Collection[Parent]
    ) -> Bundle:
        named = await relations.references(conn, parents, reader.ignores)
        return {
            nid: {"chunk": [{"event_id": event_id} for event_id in ids]}
            for nid, ids in named.items()
        }

    async def _edits(
        self, conn: Connection, reader: Reader, originals: Mapping[Parent, Placed], show: Show
    ) -> Bundle:
        """The newest edit of each, which is by the same sender and of the same type."""
        wanted = {
            parent: (event.event.sender, event.event.type)
            for parent, event in originals.items()
            if event.redacted_by is None and not _is_edit(event)
        }
        newest = await relations.replacements(conn, wanted, reader.ignores) if wanted else {}
        shown = await self._shown(conn, reader, newest.values(), show)
        return {nid: shown[edit] for nid, edit in newest.items() if edit in shown}

    async def _threads(
        self, conn: Connection, reader: Reader, roots: Mapping[Parent, Placed], latest: Show
    ) -> Bundle:
        found = await relations.threads(conn, roots, reader.user_id, reader.ignores)
        last = [thread.latest for thread in found.values()]
        shown = await self._shown(conn, reader, last, latest)
        mine = {root.nid for root in roots.values() if root.event.sender == reader.user_id}
        return {
            nid: {
                "latest_event": shown[thread.latest],
                "count": thread.replies,
                "current_user_participated": thread.participated or nid in mine,
            }
            for nid, thread in found.items()
            if thread.latest in shown
        }

    async def _shown(
        self, conn: Connection, reader: Reader, nids: Collection[EventNid], show: Show
    ) -> dict[EventNid, JsonObject]:
        """Those of the events that the reader may see, as they are shown."""
        if not nids:
            return {}
        events = list((await history.by_nid(conn, nids)).values())
        seen = await self._visibility.visible(conn, reader, events)
        return {event.nid: one for event, one in zip(seen, await show(seen), strict=True)}


def _is_edit(event: Placed) -> bool:
    relation = relation_of(event.event)
    return relation is not None and relation.rel_type == REPLACE


def _add(found: Bundle, rel_type: str, bundles: Bundle) -> None:
    for nid, bundle in bundles.items():
        found.setdefault(nid, {})[rel_type] = bundle
