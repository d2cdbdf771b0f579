CREATE INDEX events_redacted_state ON events (room_nid)
 WHERE redacted_by IS NOT NULL AND state_key_nid IS NOT NULL;
