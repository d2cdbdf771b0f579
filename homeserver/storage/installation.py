"""What this database is: whose, and for how many restored backups."""

import secrets
from typing import NamedTuple

from federation.identifiers import ServerName
from homeserver.storage.pool import Connection, DatabaseError


class Installation(NamedTuple):
    """The one row of its table."""

    server: ServerName
    epoch: int
    """Raised when a backup is restored."""
    state_hash_key: bytes
    """Keys the digests of states."""


async def settle(conn: Connection, server: ServerName) -> Installation:
    """Make the database this server's, if it is nobody's yet.

    Raises:
        DatabaseError: it is another server's.

    """
    await conn.execute(
        """
        INSERT INTO installation (server_name, state_hash_key) VALUES ($1, $2)
        ON CONFLICT (only_row) DO NOTHING
        """,
        server,
        secrets.token_bytes(32),
    )
    row = await conn.fetchrow("SELECT server_name, epoch, state_hash_key FROM installation")
    found = Installation(*row)
    if found.server != server:
        raise DatabaseError(
            f"the database belongs to the server {found.server}: a server's name cannot be "
            f"changed to {server}; give the new one a database (or `data_dir`) of its own"
        )
    return found
