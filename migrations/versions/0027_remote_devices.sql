-- Device lists of people of other servers with whom somebody here shares a room, and wanted to know.
CREATE TABLE remote_device_lists (
    user_nid bigint PRIMARY KEY,
    server_nid bigint NOT NULL,
    stream_id bigint,                   -- of the last update that is in it; none: not known
    stale boolean NOT NULL,             -- it may be otherwise by now
    changes bigint NOT NULL DEFAULT 0,  -- counts the updates that made it stale
    wanted boolean NOT NULL,            -- somebody asked for it since it was fetched
    pause bigint NOT NULL DEFAULT 0,    -- milliseconds between two attempts to fetch it; 0: it went well
    next_ts bigint NOT NULL DEFAULT 0,
    master_key bytea,
    self_signing_key bytea
);
CREATE INDEX remote_device_lists_due ON remote_device_lists (next_ts) WHERE stale AND wanted;
CREATE INDEX remote_device_lists_by_server ON remote_device_lists (server_nid);

CREATE TABLE remote_devices (
    user_nid bigint NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    json bytea NOT NULL,
    PRIMARY KEY (user_nid, device_id)
);
