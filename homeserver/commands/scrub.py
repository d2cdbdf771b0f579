"""`hearth scrub`: the database without what was deleted, whether the server runs or not."""

import asyncio
import sys
from collections.abc import Callable

import typer

from homeserver.commands.offline import own_process
from homeserver.commands.options import AsJson, ConfigFile, examples, load_settings, print_json
from homeserver.config import Settings
from homeserver.errors import HearthError
from homeserver.storage import scrubbing
from homeserver.storage.pool import OwnConnection

EXAMPLES = examples("hearth scrub", "hearth scrub --json")

_PATIENCE = 60.0
"""Seconds for which transactions that are under way are waited for."""

Tell = Callable[[str, float], None]
"""Called with what is being done, and which part of it is done, from 0 to 1."""


def scrub(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Rewrite the files of the database, so that nothing is in them that was deleted.

    What is redacted, too old, or erased is shown to nobody at once, but the files of the database
    hold it until their place is needed. It needs room on the disk for the largest table once more;
    each table cannot be used while it is rewritten. See docs/privacy.md for what it cannot reach.
    """
    settings = load_settings(file)
    try:
        missed = asyncio.run(_scrub(settings, _quiet if as_json else _show))
    except (HearthError, OSError) as error:
        typer.echo(f"Not everything was rewritten: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        print_json({"tables": scrubbing.tables(), "not_rewritten": missed})
    elif missed:
        what = " and ".join(missed)
        typer.echo(f"The tables were rewritten. Left to the database's owner: {what}.")
    else:
        typer.echo("The files of the database hold nothing any more that was deleted.")
    if missed:
        raise typer.Exit(3)


async def _scrub(settings: Settings, tell: Tell) -> list[str]:
    """Rewrite all; answers what the database does not let us."""
    async with own_process(settings) as process:
        conn = await process.database.connect(statement_timeout="0", lock_timeout="0")
        try:
            is_free = await scrubbing.nobody_looks_back(conn, _PATIENCE)
            await _rewrite_tables(conn, tell)
            missed = await _rewrite_rest(conn, tell)
            return missed if is_free else [*missed, "what a long transaction still reads"]
        finally:
            await conn.close()


async def _rewrite_tables(conn: OwnConnection, tell: Tell) -> None:
    names = scrubbing.tables()
    sizes = await scrubbing.sizes(conn, names)
    done, whole = 0, sum(sizes.values()) or 1
    for name in names:
        tell(f"table {name}", done / whole)
        await scrubbing.rewrite(conn, name)
        done += sizes[name]


async def _rewrite_rest(conn: OwnConnection, tell: Tell) -> list[str]:
    missed = []
    try:
        tell("samples of rows", 0.0)
        await scrubbing.rewrite_samples(conn, scrubbing.tables())
    except scrubbing.REFUSED:
        missed.append("samples of rows (pg_statistic)")
    try:
        async for part in scrubbing.rewrite_log(conn):
            tell("log of writes", part)
    except scrubbing.REFUSED:
        missed.append("the log of writes (WAL)")
    return missed


def _show(what: str, part: float) -> None:
    end = "\r" if sys.stdout.isatty() else "\n"
    line = f"{part:4.0%}  {what}"
    typer.echo(f"{line:<60}" if end == "\r" else line, nl=False)
    typer.echo(end, nl=False)


def _quiet(what: str, part: float) -> None:
    """Scripts want the outcome alone."""
