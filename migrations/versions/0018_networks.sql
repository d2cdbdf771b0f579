-- Rooms in the list of a network that an application service bridges.
CREATE TABLE published_networks (
    network text NOT NULL,
    room_nid bigint NOT NULL,
    PRIMARY KEY (network, room_nid)
);
CREATE INDEX ON published_networks (room_nid);
