-- Connections of sliding sync: what each was sent up to a position that it was given.

CREATE TABLE sliding_positions (
    version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_nid bigint NOT NULL,
    conn_id text COLLATE "C" NOT NULL,
    used_day integer NOT NULL,                   -- since the epoch
    state bytea NOT NULL                         -- MessagePack: see homeserver/sync/sliding/positions.py
);
CREATE INDEX sliding_positions_by_device ON sliding_positions (device_nid, conn_id, version);
CREATE INDEX sliding_positions_by_use ON sliding_positions (used_day);

CREATE FUNCTION forget_sliding_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sliding_positions WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_sliding BEFORE DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION forget_sliding_of_device();
