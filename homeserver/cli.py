"""The command `hearth`; `python -m homeserver` is the same.

A group of commands is a module of `homeserver.commands`, added below. What is wrong with the
settings goes to standard error with advice, and the exit status is 2, as for a wrong option.
"""

import platform
from importlib.metadata import version as version_of
from typing import Any

import typer
from typer.core import TyperGroup

from homeserver.commands import appservice, config, key, room, user
from homeserver.commands.demo import EXAMPLES as DEMO_EXAMPLES
from homeserver.commands.demo import demo
from homeserver.commands.options import AsJson, examples, print_json
from homeserver.commands.scrub import EXAMPLES as SCRUB_EXAMPLES
from homeserver.commands.scrub import scrub
from homeserver.commands.serve import EXAMPLES as SERVE_EXAMPLES
from homeserver.commands.serve import serve
from homeserver.errors import ConfigError

BAD_SETTINGS = 2
"""The exit status where the settings, or the options, cannot be used."""


class Hearth(TyperGroup):
    """All commands; turns errors that an administrator can mend into advice."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            typer.echo(_advice(error), err=True)
            raise typer.Exit(BAD_SETTINGS) from error


app = typer.Typer(
    name="hearth",
    cls=Hearth,
    help="A federated homeserver that speaks Matrix.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print the values of variables, secrets too
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "hearth config example > hearth.yaml",
        "hearth config check",
        "HEARTH__SERVER_NAME=example.org hearth serve",
        "hearth user create ann --admin",
    ),
)
app.command(epilog=SERVE_EXAMPLES)(serve)
app.command(epilog=DEMO_EXAMPLES)(demo)
app.command(epilog=SCRUB_EXAMPLES)(scrub)
app.add_typer(user.app, name="user")
app.add_typer(room.app, name="room")
app.add_typer(appservice.app, name="appservice")
app.add_typer(key.app, name="key")
app.add_typer(config.app, name="config")


@app.command(epilog=examples("hearth version", "hearth version --json"))
def version(as_json: AsJson = False) -> None:
    """Tell which version of Hearth this is."""
    hearth, python = version_of("hearth"), platform.python_version()
    if as_json:
        print_json({"hearth": hearth, "python": python})
    else:
        typer.echo(f"Hearth {hearth} on Python {python}")


def main() -> None:
    """Run the command line."""
    app(prog_name="hearth")


def _advice(error: ConfigError) -> str:
    count = len(error.problems)
    heading = "A setting is wrong:" if count == 1 else f"{count} settings are wrong:"
    example = "`hearth config example` prints all settings and what they mean."
    return f"{heading}\n\n{error}\n\n{example}"
