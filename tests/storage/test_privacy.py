from pathlib import Path

import yaml

from homeserver.storage.pool import Database

DECLARED = Path(__file__).parents[2] / "migrations" / "privacy.yaml"


async def test_every_column_is_declared(database: Database) -> None:
    """Nobody adds a column without saying what it tells about people."""
    async with database.reader() as conn:
        rows = await conn.fetch(
            """
            SELECT table_name, column_name
              FROM information_schema.columns
             WHERE table_schema = 'public'
            """
        )
    declared = yaml.safe_load(DECLARED.read_text())
    assert {(row[0], row[1]) for row in rows} == {
        (table, column) for table, columns in declared.items() for column in columns
    }
    assert {str(c) for columns in declared.values() for c in columns.values()} <= set("PMCKS0")
