-- Rooms that were joined before all of their members were known.
CREATE TABLE partial_rooms (
    room_nid bigint PRIMARY KEY,
    event_nid bigint NOT NULL,  -- the join, before which the state is not known whole
    resident text NOT NULL,     -- the server that let us in
    next_ts bigint NOT NULL     -- until then somebody is at it, or it is left alone
);
