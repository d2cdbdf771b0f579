-- Other servers: their keys, how they fare, and what waits to be sent to them.

CREATE TABLE server_keys (
    server_name text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    valid_until bigint NOT NULL,
    is_old boolean NOT NULL,
    source smallint NOT NULL,                    -- federation.server_keys.Source
    PRIMARY KEY (server_name, key_id)
);

-- What servers published of themselves, for those who ask us for it.
CREATE TABLE key_documents (
    server_name text COLLATE "C" PRIMARY KEY,
    received_at bigint NOT NULL,
    valid_until bigint NOT NULL,
    json bytea NOT NULL
);

-- Servers that were sent something, and those that do not answer.
CREATE TABLE destinations (
    server_nid bigint PRIMARY KEY,
    pause bigint NOT NULL DEFAULT 0,             -- milliseconds; 0: it answers
    retry_ts bigint NOT NULL DEFAULT 0,
    txn_id text COLLATE "C",                     -- under way, and sent again as it is
    txn_content bytea,
    txn_last_pos bigint,                         -- of the last event in it
    txn_last_edu bigint                          -- the last EDU in it
) WITH (fillfactor = 70);
CREATE INDEX destinations_failing ON destinations (retry_ts) WHERE pause > 0;

CREATE TABLE outgoing_events (
    server_nid bigint NOT NULL,
    pos bigint NOT NULL,
    room_nid bigint NOT NULL,
    event_nid bigint NOT NULL,
    PRIMARY KEY (server_nid, pos)
);

CREATE TABLE outgoing_edus (
    edu_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server_nid bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    key text COLLATE "C",                        -- a later one with the same key replaces it
    content bytea NOT NULL
);
CREATE INDEX outgoing_edus_by_server ON outgoing_edus (server_nid, edu_nid);
CREATE UNIQUE INDEX outgoing_edus_by_key ON outgoing_edus (server_nid, type, key) WHERE key IS NOT NULL;

-- Duties that one process at a time has, and how far in the log it has come.
CREATE TABLE duties (
    name text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    until_ts bigint NOT NULL,
    pos bigint NOT NULL DEFAULT 0
);

-- Transactions of other servers, with what they were answered.
CREATE TABLE incoming_transactions (
    origin text COLLATE "C" NOT NULL,
    txn_id text COLLATE "C" NOT NULL,
    answer bytea NOT NULL,
    received_ts bigint NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
CREATE INDEX incoming_transactions_by_time ON incoming_transactions (received_ts);
