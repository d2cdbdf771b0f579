-- Invitations to, and knocks at, rooms that this server is not in.

CREATE TABLE invites (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    state bytea NOT NULL,                        -- a JSON list of stripped state
    json bytea NOT NULL,                         -- the invitation, or the knock, itself
    version text COLLATE "C" NOT NULL,           -- of the room
    PRIMARY KEY (room_nid, user_nid)
);
