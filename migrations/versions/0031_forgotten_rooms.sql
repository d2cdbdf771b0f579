-- When a room was forgotten, in milliseconds since the epoch. What was forgotten before counts from now on.
ALTER TABLE forgotten ADD COLUMN forgotten_ts bigint NOT NULL
    DEFAULT (extract(epoch FROM now()) * 1000)::bigint;
ALTER TABLE forgotten ALTER forgotten_ts DROP DEFAULT;
CREATE INDEX forgotten_by_time ON forgotten (forgotten_ts);
CREATE INDEX forgotten_by_room ON forgotten (room_nid);

-- Rooms that are being deleted. Nobody takes part in one before that is done.
CREATE TABLE closing_rooms (room_nid bigint PRIMARY KEY);
