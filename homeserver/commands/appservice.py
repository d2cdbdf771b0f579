"""`hearth appservice`: registrations of bridges and bots, looked at and tried out."""

import asyncio
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from homeserver.accounts.app_service_files import load_app_services
from homeserver.accounts.app_service_risks import Risk, risks
from homeserver.accounts.app_services import AppService
from homeserver.app.serving import find_server
from homeserver.appservices.bridges import Bridges
from homeserver.commands.bridge_walk import Step, Verdict, Walk
from homeserver.commands.options import AsJson, ConfigFile, examples, load_settings, print_json
from homeserver.commands.own_server import client_url
from homeserver.config import Settings
from homeserver.config.settings import AppServices
from homeserver.errors import ConfigError

app = typer.Typer(
    help="Look at registrations of bridges, and try bridges out.",
    no_args_is_help=True,
    epilog=examples("hearth appservice check irc.yaml", "hearth appservice test irc.yaml"),
)

Registration = Annotated[
    Path, typer.Argument(metavar="FILE", help="The registration, as the bridge writes it.")
]


@app.command(
    epilog=examples("hearth appservice check irc.yaml", "hearth appservice check irc.yaml --json")
)
def check(registration: Registration, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Tell what is wrong with a registration (then the status is 2), and what is risky."""
    settings = load_settings(file)
    try:
        service = _read(settings, registration)
    except ConfigError as error:
        if not as_json:
            typer.echo(f"{registration} cannot be used:\n\n{error}", err=True)
        else:
            problems = [problem._asdict() for problem in error.problems]
            print_json({"ok": False, "problems": problems})
        raise typer.Exit(2) from error
    found = [*risks(service, _keys(registration), settings.server_name)]
    found += _file_risks(settings, registration)
    if as_json:
        print_json({"ok": True, "id": service.id, "risks": [risk._asdict() for risk in found]})
        return
    typer.echo(f"{registration} is a good registration of {service.id!r}.")
    for risk in found:
        typer.echo(f"  mind {risk.path}: {risk.reason}")


@app.command("test", epilog=examples("hearth appservice test irc.yaml"))
def try_out(registration: Registration, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Ask a bridge that runs all that a homeserver asks; the status is 1 if it fails.

    Nothing is written here, and nothing is said in any room. A bridge that makes ghosts whenever
    it is asked for one may make one.
    """
    settings = load_settings(file)
    service = _read(settings, registration)
    steps = asyncio.run(_walk(service, settings, shown=not as_json))
    failed = any(step.verdict is Verdict.WRONG for step in steps)
    if as_json:
        told = [{**step._asdict(), "verdict": step.verdict.name.lower()} for step in steps]
        print_json({"ok": not failed, "id": service.id, "steps": told})
    if failed:
        raise typer.Exit(1)


@app.command(epilog=examples("hearth appservice reload"))
def reload(file: ConfigFile = None) -> None:
    """Have the running server take on registrations that came, went or changed.

    If something is wrong with one of them, the status is 2 and nothing changes.
    """
    settings = load_settings(file)
    try:
        services = load_app_services(settings)
    except ConfigError as error:
        typer.echo(f"Nothing was changed:\n\n{error}", err=True)
        raise typer.Exit(2) from error
    server = find_server(settings.data_dir)
    if server is None:
        typer.echo(
            f"No server runs from {settings.data_dir} here. One in a container reads its "
            "registrations again at SIGHUP",
            err=True,
        )
        raise typer.Exit(1)
    os.kill(server, signal.SIGHUP)
    names = ", ".join(service.id for service in services) or "none"
    typer.echo(f"The server reads its registrations again: {names}.")


async def _walk(service: AppService, settings: Settings, *, shown: bool) -> list[Step]:
    bridges = Bridges()
    walk = Walk(service, settings.server_name, bridges, client_url(settings))
    steps = []
    try:
        async for step in walk.steps():
            steps.append(step)
            if shown:
                typer.echo(f"{step.verdict.value:<5} {step.name:<15} {step.told}")
    finally:
        await bridges.close()
    return steps


def _read(settings: Settings, file: Path) -> AppService:
    """The registration, seen together with those that are in force, or raise `ConfigError`."""
    others = [other for other in settings.appservices.files if not _is_same(other, file)]
    together = AppServices(files=(*others, file))
    *_, service = load_app_services(replace(settings, appservices=together))
    return service


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _keys(file: Path) -> list[str]:
    read: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [str(key) for key in read]


def _file_risks(settings: Settings, file: Path) -> list[Risk]:
    found = []
    if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        found.append(Risk(str(file), "everybody on this machine can read the tokens: chmod o-rwx"))
    if not any(_is_same(other, file) for other in settings.appservices.files):
        found.append(Risk("appservices.files", "does not name it: it is not in force"))
    return found
