"""What is kept: PostgreSQL, and how rooms, events and accounts stand in it."""
