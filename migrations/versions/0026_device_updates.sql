-- What other servers are told of the devices of people here.

-- The last update that was sent of each, with which whoever comes later begins.
CREATE TABLE device_updates (
    user_nid bigint PRIMARY KEY,
    stream_id bigint NOT NULL,
    prev_id bigint,                     -- of the update before it; none: it is the first
    device_id text COLLATE "C" NOT NULL -- which it was about
);
INSERT INTO device_updates (user_nid, stream_id, device_id)
SELECT DISTINCT ON (k.user_nid) k.user_nid, c.last_value, d.device_id
  FROM device_keys k JOIN devices d ON d.device_nid = k.device_nid, clock c
 ORDER BY k.user_nid, d.device_nid DESC;

-- Devices that were deleted, until others are told.
CREATE TABLE gone_devices (
    device_nid bigint PRIMARY KEY,
    device_id text COLLATE "C" NOT NULL
);

CREATE OR REPLACE FUNCTION forget_keys_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM device_keys WHERE device_nid = OLD.device_nid;
    IF FOUND THEN
        INSERT INTO gone_devices VALUES (OLD.device_nid, OLD.device_id) ON CONFLICT DO NOTHING;
    END IF;
    DELETE FROM one_time_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM fallback_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM to_device WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
