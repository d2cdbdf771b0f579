"""What messages cost on the disk."""

import asyncio

from federation.building import Draft
from homeserver.rooms.drafting import Submission, Written
from homeserver.storage.pool import Database
from tests.federation.rooms import ANN
from tests.rooms.workers import worker

MESSAGES = 10_000
MOST_BYTES = 25 * 1024**2


async def size(database: Database) -> int:
    async with database.reader() as conn:
        found: int = await conn.fetchval("SELECT pg_database_size(current_database())")
        return found


async def test_encrypted_messages(database: Database) -> None:
    """As clients send them: some 700 bytes of ciphertext, each with a transaction ID."""
    async with worker(database) as one:
        room_id = await one.create()
        before = await size(database)

        async def send(number: int) -> None:
            content = {
                "algorithm": "m.megolm.v1.aes-sha2",
                "ciphertext": f"{number:06}" * 90,
                "device_id": "ABCDEFGHIJ",
                "sender_key": "k" * 43,
                "session_id": "s" * 43,
            }
            draft = Draft("m.room.encrypted", ANN, content, None, room_id)
            once = (1, number.to_bytes(32, "big"))
            answer = await one.intake.submit(room_id, Submission([draft], once=once))
            assert isinstance(answer, Written)

        for start in range(0, MESSAGES, 500):
            await asyncio.gather(*(send(start + n) for n in range(500)))
        grown = await size(database) - before
    assert grown < MOST_BYTES, f"{grown / 1024**2:.1f} MB"
