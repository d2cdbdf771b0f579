from homeserver.app.housekeeping import tidy
from tests.servers import Hearth

V3 = "/_matrix/client/v3"


async def test_old_transactions_are_forgotten(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room_id = (await ann.post(f"{V3}/createRoom")).ok()["room_id"]
    path = f"{V3}/rooms/{room_id}/send/m.room.message/1"
    first = (await ann.put(path, {"body": "x"})).ok()
    await tidy(hearth.parts)
    assert (await ann.put(path, {"body": "x"})).ok() == first
    async with hearth.parts.base.process.database.reader() as conn:
        await conn.execute("UPDATE sent SET sent_ts = 0")
    await tidy(hearth.parts)
    assert (await ann.put(path, {"body": "x"})).ok() != first
