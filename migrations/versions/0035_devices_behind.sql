-- The position from which on a server lacks updates of devices; it is told the last ones when it answers.
ALTER TABLE destinations ADD COLUMN devices_behind bigint;
UPDATE destinations SET devices_behind = behind WHERE behind IS NOT NULL;
CREATE INDEX destinations_devices ON destinations (server_nid) WHERE devices_behind IS NOT NULL;
