"""`hearth demo`: an encrypted conversation between two servers, and a look at their disks."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from homeserver.commands.options import AsJson, examples, print_json
from homeserver.errors import HearthError

EXAMPLES = examples("hearth demo", "hearth demo --json")

KEPT_APART = "`hearth demo` needs packages that a server does without: pip install 'hearth[demo]'"


def demo(
    as_json: AsJson = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to put the two servers' folders, which then stay.", exists=True),
    ] = None,
) -> None:
    """Have two servers, three people and Megolm on this machine; then read the servers' disks.

    The exit status is 0 if every message was read by whom it was for, and by no server.
    """
    try:
        from homeserver.demo import evening
    except ModuleNotFoundError as error:
        typer.echo(f"{KEPT_APART} ({error.name} is missing)", err=True)
        raise typer.Exit(1) from error
    began = time.monotonic()
    say = (lambda _: None) if as_json else typer.echo
    try:
        with tempfile.TemporaryDirectory(prefix="hearth-demo-") as own:
            report = asyncio.run(evening.spend(folder or Path(own), say))
    except HearthError as error:
        typer.echo(f"The demo failed: {error}", err=True)
        raise typer.Exit(1) from error
    seconds = time.monotonic() - began
    if as_json:
        print_json(report.as_json() | {"seconds": round(seconds, 1)})
    else:
        typer.echo("\n".join([*report.lines(), f"That took {seconds:.0f} seconds."]))
    raise typer.Exit(0 if report.holds else 1)
