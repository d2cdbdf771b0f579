-- What somebody is about to do, and nobody else may do meanwhile: a row goes when it is done, or
-- counts for nothing any more if whoever did it is gone. It need not outlive a crash.
CREATE UNLOGGED TABLE under_way (
    digest bytea PRIMARY KEY,
    holder bytea NOT NULL,
    until_ts bigint NOT NULL
);
