-- Events that are sent later unless somebody thinks better of it, and what became of them.

CREATE TABLE delayed_events (
    delay_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delay_id text COLLATE "C" NOT NULL,
    delay_hash bytea NOT NULL,                   -- of the ID: it is found by it, and in sent too
    user_nid bigint NOT NULL,
    device_nid bigint NOT NULL,
    txn_hash bytea,                              -- the request's, if it had a transaction ID
    json bytea NOT NULL,                         -- room_id, type, content and maybe state_key
    delay_ms bigint NOT NULL,
    due_ts bigint NOT NULL,
    claimed_until bigint NOT NULL DEFAULT 0,     -- somebody is sending it
    finalised_ts bigint,
    event_id text COLLATE "C",
    error bytea                                  -- JSON
);
CREATE UNIQUE INDEX delayed_events_by_hash ON delayed_events (delay_hash);
CREATE UNIQUE INDEX delayed_events_by_transaction ON delayed_events (device_nid, txn_hash);
CREATE INDEX delayed_events_due ON delayed_events (due_ts) WHERE finalised_ts IS NULL;
CREATE INDEX delayed_events_by_user ON delayed_events (user_nid, finalised_ts);
