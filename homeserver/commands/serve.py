"""`hearth serve`: the server, in the foreground."""

from functools import partial

import typer

from homeserver.app.serving import serve as run
from homeserver.commands.options import ConfigFile, examples, load_settings
from homeserver.config.checks import warnings
from homeserver.errors import HearthError
from homeserver.logs import configure, get_logger

log = get_logger(__name__)

EXAMPLES = examples(
    "hearth serve",
    "hearth serve -c /etc/hearth.yaml",
    "HEARTH__SERVER_NAME=example.org hearth serve",
)


def serve(file: ConfigFile = None) -> None:
    """Run the server until Ctrl-C or SIGTERM; its schema and key are made if missing.

    At SIGHUP the registrations of bridges are read again; `hearth appservice reload` sends it.
    """
    settings = load_settings(file)
    configure(settings.logging)
    for remark in warnings(settings):
        log.warning("a setting to think about", setting=remark)
    try:
        status = run(settings, partial(load_settings, file))
    except (HearthError, OSError) as error:
        typer.echo(f"Hearth cannot serve: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(status)
