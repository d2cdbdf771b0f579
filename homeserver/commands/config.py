"""`hearth config`: look at the settings without starting anything."""

import typer

from homeserver import config
from homeserver.accounts.app_service_files import load_app_services
from homeserver.commands.options import (
    AsJson,
    ConfigFile,
    chosen_file,
    examples,
    load_settings,
    print_json,
)
from homeserver.config.checks import warnings
from homeserver.config.example import example_file
from homeserver.config.showing import as_yaml_file, shown
from homeserver.errors import ConfigError

app = typer.Typer(
    help="Check, show and write settings.",
    no_args_is_help=True,
    epilog=examples("hearth config example > hearth.yaml", "hearth config check -c hearth.yaml"),
)


@app.command(epilog=examples("hearth config check", "hearth config check -c /etc/hearth.yaml"))
def check(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Tell what is wrong with the settings (then the status is 2), and what they cost."""
    chosen = chosen_file(file)
    try:
        settings = config.load(chosen)
        load_app_services(settings)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [problem._asdict() for problem in error.problems]
        print_json({"ok": False, "problems": problems})
        raise typer.Exit(2) from error
    remarks = list(warnings(settings))
    if as_json:
        print_json({"ok": True, "server_name": settings.server_name, "warnings": remarks})
        return
    source = chosen or "the environment"
    typer.echo(f"The settings of {settings.server_name}, from {source}, are good.")
    for remark in remarks:
        typer.echo(f"  mind {remark}")


@app.command(epilog=examples("hearth config show", "hearth config show --json | jq .listeners"))
def show(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print every setting in force, defaults too; secrets are hidden."""
    settings = load_settings(file)
    if as_json:
        print_json(shown(settings))
    else:
        typer.echo(as_yaml_file(settings), nl=False)


@app.command(epilog=examples("hearth config example > hearth.yaml"))
def example() -> None:
    """Print a file with every setting, its default and what it means."""
    typer.echo(example_file(), nl=False)
