"""Events that are written before they have a place."""

from collections.abc import Sequence

from homeserver.storage import received
from homeserver.storage.batch import EventRow, Fate
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import Connection, Database


async def _rows(conn: Connection, names: Sequence[str]) -> list[EventRow]:
    numbers = Numbers()
    room = (await numbers.rooms.intern(conn, ["!a:one.test"]))["!a:one.test"]
    nids = await numbers.events.intern(conn, names)
    return [
        EventRow(
            room=room,
            event=nids[name],
            key=None,
            group=None,
            ts=5,
            depth=number,
            fate=Fate.ACCEPTED,
            member=None,
            auth=[nids[names[0]]],
            json=name.encode(),
        )
        for number, name in enumerate(names)
    ]


async def test_many_outliers_of_which_some_are_there_by_now(database: Database) -> None:
    """Somebody else was quicker; what they wrote stands, and the rest is written beside it."""
    names = [f"$e{number:03}" for number in range(120)]
    async with database.reader() as conn:
        rows = await _rows(conn, names)
        await received.copy_outliers(conn, rows[:50])
        changed = [row._replace(json=b"another", fate=Fate.REJECTED) for row in rows[:10]]
        await received.copy_outliers(conn, [*reversed(rows[10:]), *changed])
        found = await conn.fetch("SELECT * FROM events ORDER BY depth")
    assert [bytes(row["json"]).decode() for row in found] == names
    assert {row["fate"] for row in found} == {Fate.ACCEPTED}
    assert {row["room_order"] for row in found} == {None}
    assert {tuple(row["auth"]) for row in found} == {(rows[0].event,)}
