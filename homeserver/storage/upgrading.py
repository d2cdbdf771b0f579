"""Running the revisions of the schema that a database lacks; what takes memory for it is here only.

https://alembic.sqlalchemy.org/
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from homeserver.storage.pool import DatabaseAwayError, DatabaseError


async def upgrade(connect: Callable[[], Awaitable[Any]], folder: Path) -> None:
    """Run them.

    Args:
        connect: makes a connection of asyncpg.
        folder: where the revisions are.

    Raises:
        DatabaseAwayError: the database was lost meanwhile.
        DatabaseError: a newer version of Hearth has written the database.

    """

    def run(connection: SyncConnection) -> None:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    except CommandError as error:
        if not isinstance(error.__cause__, ResolutionError):
            raise
        raise DatabaseError(
            f"the database was written by a newer version of Hearth ({error}): run that one, or "
            "restore the backup made before it"
        ) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseAwayError(str(error)) from error
    finally:
        await engine.dispose()
