-- Room aliases, forgotten rooms, and what redactions removed.

CREATE TABLE aliases (
    alias text COLLATE "C" PRIMARY KEY,
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL                     -- who made it
);
CREATE INDEX aliases_by_room ON aliases (room_nid);

-- Rooms that are in the public list.
CREATE TABLE published (
    room_nid bigint PRIMARY KEY
);

-- Rooms that somebody who has left does not want to see any more.
CREATE TABLE forgotten (
    user_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    pos bigint NOT NULL,                         -- a membership from after it counts again
    PRIMARY KEY (user_nid, room_nid)
);

-- What people of this server reported, for its administrators to read.
CREATE TABLE reports (
    report_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid bigint NOT NULL,                    -- who reports
    room_nid bigint,                             -- a room, or where an event is
    event_nid bigint,
    reported_nid bigint,                         -- a user
    reason text NOT NULL,
    ts bigint NOT NULL
);
CREATE INDEX reports_by_user ON reports (user_nid, ts);
