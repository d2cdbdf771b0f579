"""`hearth user`: accounts, whether the server runs or not."""

import asyncio
import secrets
from typing import Annotated

import typer

from homeserver.accounts.credentials import Credentials
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.passwords import Passwords
from homeserver.commands.offline import own_process
from homeserver.commands.options import AsJson, ConfigFile, examples, load_settings, print_json
from homeserver.config import Settings
from homeserver.errors import HearthError

app = typer.Typer(
    help="Make accounts.",
    no_args_is_help=True,
    epilog=examples("hearth user create ann", "hearth user create ann --admin --json"),
)


@app.callback()
def group() -> None:
    """Keep `create` a command of its own, even as the only one."""


@app.command(epilog=examples("hearth user create ann", "hearth user create ann --admin"))
def create(
    name: Annotated[str, typer.Argument(help="The part before the colon, as in @ann:example.org.")],
    password: Annotated[
        str | None,
        typer.Option(
            envvar="HEARTH_PASSWORD",
            help="By default one is made and printed; others here can see what is given so.",
            show_default=False,
        ),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make an administrator.")] = False,
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an account; the server may run or not."""
    settings = load_settings(file)
    chosen = password or secrets.token_urlsafe(12)
    try:
        user_id = asyncio.run(_create(settings, name, chosen, is_admin=admin))
    except (HearthError, OSError) as error:
        typer.echo(f"The account was not made: {error}", err=True)
        raise typer.Exit(1) from error
    made = None if password else chosen
    if as_json:
        print_json({"user_id": user_id, "is_admin": admin, **({"password": made} if made else {})})
        return
    typer.echo(f"{user_id} can log in now." + (f" The password is {made}" if made else ""))


async def _create(settings: Settings, name: str, password: str, *, is_admin: bool) -> str:
    async with own_process(settings) as process:
        cost = settings.auth.password_hash
        passwords = Passwords(int(cost.memory), cost.iterations)
        credentials = Credentials(process, passwords, settings.auth.password_minimum)
        credentials.check_new(password)
        accounts = NewAccounts(process, credentials, lambda _: False)
        await accounts.add(name, password, is_admin=is_admin)
        return accounts.user_id(name)
