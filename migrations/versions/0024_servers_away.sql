-- Servers for which nothing is queued, because they have not answered for long.
ALTER TABLE destinations ADD COLUMN behind bigint;  -- from this position of the log on
