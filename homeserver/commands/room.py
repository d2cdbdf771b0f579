"""`hearth room`: rooms, whether the server runs or not."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from federation.errors import IdentifierError
from federation.events import StateKey
from federation.identifiers import RoomID, parse_room_alias, parse_room_id
from homeserver.commands.offline import own_process
from homeserver.commands.options import AsJson, ConfigFile, examples, load_settings, print_json
from homeserver.config import Settings
from homeserver.errors import HearthError, NotFound
from homeserver.rooms import explaining
from homeserver.rooms.explaining import Competitor
from homeserver.rooms.purging import Purging
from homeserver.storage import aliases
from homeserver.storage.process import Process

app = typer.Typer(
    help="Look after rooms.",
    no_args_is_help=True,
    epilog=examples(
        "hearth room purge '#tea:example.org' --before 2026-01-01",
        "hearth room explain '#tea:example.org' m.room.topic",
    ),
)


@app.command(
    epilog=examples(
        "hearth room purge '#tea:example.org' --before 2026-01-01",
        "hearth room purge '!abc:example.org' --before 2026-01-01T12:00 --own-messages",
    )
)
def purge(
    room: Annotated[str, typer.Argument(help="The room's ID, or its alias on this server.")],
    before: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="What is older goes; in UTC.",
        ),
    ],
    own_messages: Annotated[
        bool,
        typer.Option(
            "--own-messages",
            help="Delete also what people of this server wrote: nobody else need have a copy. "
            "Otherwise it is kept where nobody sees it.",
        ),
    ] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete the past of a room for good; its state and its last message stay."""
    settings = load_settings(file)
    ts = int(before.replace(tzinfo=UTC).timestamp() * 1000)
    try:
        room_id, deleted = asyncio.run(_purge(settings, room, ts, local_too=own_messages))
    except (HearthError, OSError) as error:
        typer.echo(f"Nothing more was deleted: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        print_json({"room_id": room_id, "deleted": deleted})
        return
    typer.echo(f"{deleted} events of {room_id} were deleted.")


@app.command(
    epilog=examples(
        "hearth room explain '#tea:example.org' m.room.topic",
        "hearth room explain '!abc:example.org' m.room.member @ann:example.org",
    )
)
def explain(
    room: Annotated[str, typer.Argument(help="The room's ID, or its alias on this server.")],
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Of the state, as m.room.topic.")],
    key: Annotated[str, typer.Argument(help="The state key; by default empty.")] = "",
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show which events competed for an entry of a room's state, and why one is it."""
    try:
        found = asyncio.run(_explain(load_settings(file), room, (kind, key)))
    except (HearthError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        print_json([competitor._asdict() for competitor in found])
        return
    for one in found:
        when = datetime.fromtimestamp(one.ts / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        mark = "*" if one.is_current else " "
        typer.echo(f"{mark} {when} {one.event_id} by {one.sender}\n      {one.outcome}")
    typer.echo("\n* is the entry now; times are what the senders' servers say, in UTC.")


async def _explain(settings: Settings, room: str, key: StateKey) -> list[Competitor]:
    async with own_process(settings) as process:
        return await explaining.explain(process, await _room(process, room), key)


async def _purge(settings: Settings, room: str, ts: int, *, local_too: bool) -> tuple[RoomID, int]:
    async with own_process(settings) as process:
        room_id = await _room(process, room)
        purging = Purging(process)
        boundary = await purging.before_time(room_id, ts)
        return room_id, await purging.purge(boundary, local_too=local_too)


async def _room(process: Process, text: str) -> RoomID:
    try:
        if not text.startswith("#"):
            return parse_room_id(text)
        alias = parse_room_alias(text)
    except IdentifierError as error:
        raise NotFound("this is neither the ID nor the alias of a room") from error
    async with process.database.reader() as conn:
        found = await aliases.find(conn, alias)
    if found is None:
        raise NotFound("there is no such alias here")
    return found.room_id
