-- Events that are brought to everybody in their room for a while. A row is written before its event.

CREATE TABLE sticky_events (
    event_nid bigint PRIMARY KEY,
    room_nid bigint NOT NULL,
    expires_ts bigint NOT NULL,
    is_ours boolean NOT NULL,                    -- of a person of this server
    pos bigint                                   -- when it was accepted, if that was later
);
CREATE INDEX sticky_events_by_room ON sticky_events (room_nid, expires_ts);
CREATE INDEX sticky_events_by_end ON sticky_events (expires_ts);
