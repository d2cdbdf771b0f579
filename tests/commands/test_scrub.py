"""`hearth scrub`: what was deleted is in no file any more."""

import asyncio
import json
from pathlib import Path

import yaml

from homeserver.app.keeper import own_database, prepare
from homeserver.demo.scan import scan
from homeserver.storage import scrubbing
from homeserver.storage.embedded import EmbeddedPostgres
from tests.client_server.stage import staged
from tests.commands.test_room import hearth
from tests.servers import serving, test_settings

MARKER = "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"


async def test_what_was_redacted_is_in_no_file(tmp_path: Path) -> None:
    settings = test_settings("one.test", tmp_path)
    file = tmp_path.parent / f"{tmp_path.name}.yaml"
    file.write_text(yaml.safe_dump({"server_name": "one.test", "data_dir": str(tmp_path)}))
    async with EmbeddedPostgres(settings.postgres_folder, for_tests=True) as address:
        where = own_database(address)
        await prepare(settings, where)
        async with serving(settings, where) as server:
            ann = await server.user("ann")
            room = await staged(ann)
            said = await room.say(ann, f"secret {MARKER}")
            async with server.parts.base.process.database.reader() as conn:
                await conn.execute("ANALYZE")
                await conn.execute("CHECKPOINT")
            path = f"/_matrix/client/v3/rooms/{room.room_id}/redact/{said}/1"
            (await ann.put(path)).ok()
            assert await asyncio.to_thread(lambda: list(scan(tmp_path, [MARKER])))
            result = await hearth("scrub", "-c", str(file), "--json")
            assert result.exit_code == 0, result.output
            answer = result.stdout[result.stdout.index("{") :]
            assert json.loads(answer)["not_rewritten"] == []
            found = await asyncio.to_thread(lambda: list(scan(tmp_path, [MARKER])))
            assert found == []
            await room.say(ann, "life goes on")


def test_tables() -> None:
    """Where people's words are, and not where only names are."""
    assert {"events", "account_data", "searchable", "originals", "to_device"} <= set(
        scrubbing.tables()
    )
    assert "receipts" not in scrubbing.tables()
