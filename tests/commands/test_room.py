"""`hearth room`, beside a server that runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from typer.testing import CliRunner, Result

from homeserver.cli import app
from tests.client_server.stage import staged
from tests.database import Server
from tests.servers import Hearth, own_database, serving, test_settings


def dsn(where: dict[str, Any]) -> str:
    """The same as one line, as it stands in the settings."""
    return f"postgresql://?{urlencode(where)}" if "dsn" not in where else str(where["dsn"])


@pytest.fixture
async def served(postgres: Server, tmp_path: Path) -> AsyncIterator[tuple[Hearth, Path]]:
    """A server, and the file of its settings."""
    file = tmp_path / "hearth.yaml"
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        settings = {"server_name": "one.test", "data_dir": str(tmp_path), "database": dsn(where)}
        file.write_text(yaml.safe_dump(settings))
        async with serving(test_settings("one.test", tmp_path), where) as server:
            yield server, file


async def hearth(*arguments: str) -> Result:
    """The command has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, prog_name="hearth")


async def test_the_past_of_a_room_is_deleted(served: tuple[Hearth, Path]) -> None:
    server, file = served
    ann = await server.user("ann")
    room = await staged(ann)
    await room.say(ann, "old")
    new = await room.say(ann, "new")
    async with server.parts.base.process.database.reader() as conn:
        await conn.execute(
            "UPDATE events e SET origin_server_ts = 0 FROM event_ids i"
            " WHERE i.event_nid = e.event_nid AND i.event_id <> $1",
            new,
        )
    purge = ("room", "purge", "-c", str(file), "--json", "--before")
    result = await hearth(*purge, "2020-01-01", "--own-messages", room.room_id)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"room_id": room.room_id, "deleted": 1}
    assert await room.texts(ann) == ["new"]
    await room.say(ann, "on")
    alias = {"room_id": room.room_id}
    (await ann.put("/_matrix/client/v3/directory/room/%23tea:one.test", alias)).ok()
    again = await hearth(*purge, "2020-01-01T10:30", "#tea:one.test")
    assert json.loads(again.stdout) == {"room_id": room.room_id, "deleted": 0}


@pytest.mark.parametrize("name", ["!no:one.test", "#no:one.test", "tea"])
async def test_no_such_room(served: tuple[Hearth, Path], name: str) -> None:
    _, file = served
    result = await hearth("room", "purge", "-c", str(file), "--before", "2020-01-01", name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Nothing more was deleted: ")


async def test_no_such_date(served: tuple[Hearth, Path]) -> None:
    _, file = served
    result = await hearth("room", "purge", "-c", str(file), "--before", "yesterday", "!a:b")
    assert result.exit_code == 2


async def test_an_entry_of_the_state_is_explained(served: tuple[Hearth, Path]) -> None:
    server, file = served
    ann = await server.user("ann")
    room = await staged(ann)
    path = f"/_matrix/client/v3/rooms/{room.room_id}/state/m.room.topic"
    ids = [(await ann.put(path, {"topic": text})).ok()["event_id"] for text in ("one", "two")]
    explain = ("room", "explain", "-c", str(file))
    result = await hearth(*explain, "--json", room.room_id, "m.room.topic")
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    assert (first["event_id"], first["is_current"]) == (ids[0], False)
    assert f"replaced by {ids[1]}" in first["outcome"]
    assert (second["event_id"], second["is_current"]) == (ids[1], True)
    assert second["outcome"] == "became the entry when it came"
    assert second["sender"] == ann.user_id
    shown = await hearth(*explain, room.room_id, "m.room.topic")
    assert f"{ids[1]} by {ann.user_id}" in shown.stdout
    for arguments in ((room.room_id, "no.such.type"), ("!no:one.test", "m.room.topic"), ("x", "y")):
        assert (await hearth(*explain, *arguments)).exit_code == 1
