"""State groups in the database, and the ones lately used in memory.

A group never changes, so what was loaded once is right for ever. Rows of `state_groups` are
written by `batch.append` only.
"""

from collections import OrderedDict
from collections.abc import Iterable

from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import GroupNid, Layer, StateGroup

_NUMBERS_AT_ONCE = 200


class States:
    """The state groups of all rooms.

    Args:
        budget: bytes of layers that are kept in memory. Layers that groups share count once for
            each group, so less than this is really used.

    """

    def __init__(self, budget: int = 64 * 1024 * 1024) -> None:
        self._budget = budget
        self._used = 0
        self._groups: OrderedDict[GroupNid, StateGroup] = OrderedDict()
        self._numbers: list[GroupNid] = []

    async def load(
        self, conn: Connection, wanted: Iterable[GroupNid]
    ) -> dict[GroupNid, StateGroup]:
        """The groups of these numbers, all of which must exist."""
        found = {nid: group for nid in wanted if (group := self._recall(nid))}
        missing = [nid for nid in wanted if nid not in found]
        if missing:
            for group in await _load(conn, missing):
                self.remember(group)
                found[group.nid] = group
        return found

    def remember(self, group: StateGroup) -> None:
        """Keep a group that was just written or read."""
        self._groups[group.nid] = group
        self._groups.move_to_end(group.nid)
        self._used += _size(group)
        while self._used > self._budget and len(self._groups) > 1:
            self._used -= _size(self._groups.popitem(last=False)[1])

    async def number(self, conn: Connection, count: int) -> list[GroupNid]:
        """Numbers for new groups; those that are never written are lost."""
        while len(self._numbers) < count:
            rows = await conn.fetch(
                """
                SELECT nextval(pg_get_serial_sequence('state_groups', 'group_nid'))
                  FROM generate_series(1, $1)
                """,
                max(count, _NUMBERS_AT_ONCE),
            )
            self._numbers += [GroupNid(row[0]) for row in rows]
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        return taken

    def _recall(self, nid: GroupNid) -> StateGroup | None:
        group = self._groups.get(nid)
        if group is not None:
            self._groups.move_to_end(nid)
        return group


def _size(group: StateGroup) -> int:
    return 200 + sum(len(layer.records) for layer in group.layers)


async def _load(conn: Connection, wanted: list[GroupNid]) -> list[StateGroup]:
    rows = await conn.fetch(
        """
        WITH RECURSIVE pile (group_nid, parent_nid) AS (
            SELECT group_nid, parent_nid FROM state_groups WHERE group_nid = ANY ($1)
             UNION
            SELECT g.group_nid, g.parent_nid
              FROM state_groups g JOIN pile ON g.group_nid = pile.parent_nid
        )
        SELECT g.group_nid, g.parent_nid, g.step, g.size, g.digest, g.records
          FROM pile JOIN state_groups g ON g.group_nid = pile.group_nid
        """,
        wanted,
    )
    by_nid = {row[0]: row for row in rows}

    def layers(nid: GroupNid | None) -> tuple[Layer, ...]:
        if nid is None:
            return ()
        row = by_nid[nid]
        return (*layers(row[1]), Layer(GroupNid(row[0]), row[5], row[2]))

    return [
        StateGroup(layers(nid), int.from_bytes(by_nid[nid][4], "little"), by_nid[nid][3])
        for nid in wanted
    ]
