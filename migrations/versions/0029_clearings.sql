-- Who was put out of rooms with all that they said since they came: the events of members who say so.
-- A row counts for as long as that event is the membership.
CREATE TABLE clearings (
    event_nid bigint PRIMARY KEY,
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    noted_ts bigint NOT NULL,
    -- From behind which place on, and up to which it is done; null: not looked up yet.
    since bigint,
    reached bigint,
    done boolean NOT NULL DEFAULT false,
    claimed_until bigint NOT NULL DEFAULT 0
);
CREATE INDEX clearings_by_room ON clearings (room_nid, user_nid);
CREATE INDEX clearings_to_do ON clearings (event_nid) WHERE NOT done;
