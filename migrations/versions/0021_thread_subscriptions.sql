-- Which threads people follow. Where one was given up the row stays, so that devices learn of it
-- and nothing that was said before brings it back.

CREATE TABLE thread_subscriptions (
    user_nid bigint NOT NULL,
    room_nid bigint NOT NULL,
    thread_nid bigint NOT NULL,                  -- its root
    subscribed boolean NOT NULL,
    automatic boolean NOT NULL,
    pos bigint NOT NULL,                         -- when it last changed
    PRIMARY KEY (user_nid, thread_nid)
);
CREATE INDEX thread_subscriptions_by_change ON thread_subscriptions (user_nid, pos);
CREATE INDEX thread_subscriptions_by_room ON thread_subscriptions (room_nid);
