-- From which addresses devices were used, where the settings say that they are kept.
CREATE TABLE device_addresses (
    device_nid bigint NOT NULL,
    address text COLLATE "C" NOT NULL,
    seen_ts bigint NOT NULL,                     -- when last, in milliseconds since the epoch
    PRIMARY KEY (device_nid, address)
);
CREATE INDEX device_addresses_by_time ON device_addresses (seen_ts);

CREATE FUNCTION forget_addresses_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM device_addresses WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_addresses BEFORE DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION forget_addresses_of_device();
