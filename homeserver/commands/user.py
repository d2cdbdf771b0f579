"""`hearth user`: accounts, whether the server runs or not."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer

from homeserver.accounts.credentials import Credentials
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.passwords import Passwords
from homeserver.app.assembly import milliseconds
from homeserver.app.keeper import own_database, prepare
from homeserver.commands.options import AsJson, ConfigFile, examples, load_settings, print_json
from homeserver.config import Settings
from homeserver.errors import HearthError
from homeserver.storage.clock import Clock, read_position
from homeserver.storage.embedded import EmbeddedPostgres
from homeserver.storage.freshness import SharedPositions
from homeserver.storage.log import Tail
from homeserver.storage.numbers import Numbers
from homeserver.storage.pool import open_database
from homeserver.storage.postmaster import find_postmaster
from homeserver.storage.process import Process

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
    async with _database(settings) as where:
        await prepare(settings, where)
        database = await open_database(where, readers=2)
        try:
            async with database.reader() as conn:
                position = await read_position(conn)
            clock = Clock(SharedPositions(1), 0)
            tail = Tail(database, clock, position)
            process = Process(settings.server_name, database, Numbers(), clock, tail, milliseconds)
            cost = settings.auth.password_hash
            passwords = Passwords(int(cost.memory), cost.iterations)
            credentials = Credentials(process, passwords, settings.auth.password_minimum)
            credentials.check_new(password)
            accounts = NewAccounts(process, credentials, lambda _: False)
            await accounts.add(name, password, is_admin=is_admin)
            return accounts.user_id(name)
        finally:
            await database.close()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """The server's database; our own PostgreSQL is only stopped if it did not run before."""
    if settings.database is not None:
        yield {"dsn": settings.database.reveal()}
        return
    postgres = EmbeddedPostgres(settings.postgres_folder)
    was_running = find_postmaster(settings.postgres_folder.resolve() / "data") is not None
    address = await postgres.start()
    try:
        yield own_database(address)
    finally:
        if not was_running:
            await postgres.stop()
