"""Looking for a text in every column of every table."""

from homeserver.storage.pool import Database


async def remains(database: Database, text: str) -> set[str]:
    """The columns in which a text stands, as `table.column`, in whatever form PostgreSQL shows."""
    found = set()
    async with database.reader() as conn:
        columns = await conn.fetch(
            """
            SELECT table_name, column_name, data_type FROM information_schema.columns
             WHERE table_schema = 'public'
            """
        )
        for table, column, kind in columns:
            form = text.encode() if kind == "bytea" else text
            place = f"$1 IN {column}" if kind == "bytea" else f"$1 IN {column}::text"
            query = f"SELECT count(*) FROM {table} WHERE position({place}) > 0"  # noqa: S608
            if await conn.fetchval(query, form):
                found.add(f"{table}.{column}")
        # Samples of rows, by which PostgreSQL plans.
        for table, column, sample in await conn.fetch(
            """
            SELECT tablename, attname, concat(most_common_vals, histogram_bounds, most_common_elems)
              FROM pg_stats WHERE schemaname = 'public'
            """
        ):
            if text in sample or text.encode().hex() in sample:
                found.add(f"a sample of {table}.{column}")
    return found
