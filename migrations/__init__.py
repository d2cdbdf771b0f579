"""The schema, step by step: a revision for each, and its SQL in a file beside it."""
