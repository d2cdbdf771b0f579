-- What administrators decide about rooms and files, what they asked for that takes longer, and the
-- rooms in which the server speaks to people.

CREATE TABLE blocked_rooms (
    room_nid bigint PRIMARY KEY,
    user_nid bigint NOT NULL                     -- who decided so
);

ALTER TABLE media
    ADD COLUMN quarantined_by bigint,            -- the administrator; NULL: it is given out
    ADD COLUMN is_protected boolean NOT NULL DEFAULT false;  -- from quarantine
CREATE INDEX media_by_user ON media (user_nid) WHERE user_nid IS NOT NULL;

CREATE TABLE admin_tasks (
    task_id text COLLATE "C" PRIMARY KEY,
    kind smallint NOT NULL,                      -- 1: purges history, 2: shuts down a room
    room_nid bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    until_ts bigint NOT NULL,                    -- while it runs, whoever runs it says so before
    result bytea NOT NULL                        -- JSON
);
CREATE INDEX admin_tasks_by_room ON admin_tasks (room_nid);
CREATE INDEX admin_tasks_by_time ON admin_tasks (until_ts);

CREATE TABLE notice_rooms (
    user_nid bigint PRIMARY KEY,                 -- who is spoken to
    room_nid bigint NOT NULL
);
CREATE INDEX notice_rooms_by_room ON notice_rooms (room_nid);

ALTER TABLE reports ADD COLUMN sender_nid bigint;  -- of the event that is reported
CREATE INDEX reports_of_events ON reports (report_nid) WHERE event_nid IS NOT NULL;
