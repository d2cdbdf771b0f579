"""`hearth key`: the key that proves to other servers who this one is."""

import typer

from homeserver.app.making import milliseconds
from homeserver.app.serving import find_server
from homeserver.commands.options import ConfigFile, examples, load_settings
from homeserver.errors import HearthError
from homeserver.peers import signing_keys

app = typer.Typer(
    help="Look after the server's signing key.",
    no_args_is_help=True,
    epilog=examples("hearth key rotate"),
)


@app.callback()
def group() -> None:
    """Keep `rotate` a command of its own, even as the only one."""


@app.command(epilog=examples("hearth key rotate"))
def rotate(file: ConfigFile = None) -> None:
    """Sign with a new key from the next start on; the server must not run.

    The old key is published as such, so that what it signed stays good. Keep `signing.key.old`, and
    copies of both.
    """
    settings = load_settings(file)
    if find_server(settings.data_dir) is not None:
        typer.echo("The server runs, and signs with the old key: stop it first.", err=True)
        raise typer.Exit(1)
    try:
        key = signing_keys.rotate(settings.signing_key_file, milliseconds())
    except (HearthError, OSError) as error:
        typer.echo(f"The key was not changed: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"The server signs with {key.key_id} from its next start on.")
