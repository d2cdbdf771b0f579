-- Messages that say when they vanish, where they may. A row is written before its message is.
CREATE TABLE vanishing_events (
    event_nid bigint PRIMARY KEY,
    due_ts bigint NOT NULL                       -- milliseconds since the epoch
);
CREATE INDEX vanishing_events_due ON vanishing_events (due_ts);
