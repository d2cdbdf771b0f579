-- A device of a user with which nobody is logged in: it receives what their next login reads.
CREATE TABLE dehydrated_devices (
    user_nid bigint PRIMARY KEY,
    device_nid bigint NOT NULL,
    data bytea NOT NULL                          -- JSON; the device's private keys, encrypted
);

CREATE FUNCTION forget_dehydrated_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM dehydrated_devices
     WHERE user_nid = OLD.user_nid AND device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_dehydrated BEFORE DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION forget_dehydrated_device();

-- Puts a device, with all its keys, in the place of the one before; answers the last position, or
-- nothing where a device with which one logs in has the ID, or there is no such account.
-- The log is told that the one before is gone (the first kind), and of the new one (the others).
CREATE FUNCTION put_dehydrated_device(
    p_user bigint, p_id text, p_name text, p_session text, p_day integer,
    p_data bytea, p_keys bytea,
    p_one_time_algorithms text[], p_one_time_ids text[], p_one_time_keys bytea[],
    p_fallback_algorithms text[], p_fallback_ids text[], p_fallback_keys bytea[],
    p_kinds smallint[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
    made bigint;
    kinds smallint[] := p_kinds[2:];
    items bigint[];
BEGIN
    -- Two that are put at a time wait for each other here.
    UPDATE accounts SET version = version + 1 WHERE user_nid = p_user AND NOT deactivated;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT device_nid INTO before FROM dehydrated_devices WHERE user_nid = p_user;
    IF EXISTS (SELECT FROM devices WHERE user_nid = p_user AND device_id = p_id
                                     AND device_nid IS DISTINCT FROM before) THEN
        RETURN NULL;
    END IF;
    DELETE FROM devices WHERE device_nid = before;
    INSERT INTO devices (user_nid, device_id, display_name, session, last_seen_day)
    VALUES (p_user, p_id, p_name, p_session, p_day)
    RETURNING device_nid INTO made;
    INSERT INTO dehydrated_devices (user_nid, device_nid, data) VALUES (p_user, made, p_data);
    INSERT INTO device_keys (device_nid, user_nid, json) VALUES (made, p_user, p_keys);
    INSERT INTO one_time_keys (device_nid, algorithm, key_id, json)
    SELECT made, k.algorithm, k.key_id, k.json
      FROM unnest(p_one_time_algorithms, p_one_time_ids, p_one_time_keys)
           WITH ORDINALITY AS k (algorithm, key_id, json, nr)
     ORDER BY k.nr;
    INSERT INTO fallback_keys (device_nid, algorithm, key_id, json)
    SELECT made, k.algorithm, k.key_id, k.json
      FROM unnest(p_fallback_algorithms, p_fallback_ids, p_fallback_keys)
           AS k (algorithm, key_id, json)
    ON CONFLICT DO NOTHING;
    items := array_fill(made, ARRAY[cardinality(kinds)]);
    IF before IS NOT NULL THEN
        kinds := p_kinds;
        items := before || items;
    END IF;
    RETURN append_log(kinds, array_fill(NULL::bigint, ARRAY[cardinality(kinds)]),
                      array_fill(p_user, ARRAY[cardinality(kinds)]), items)
           + cardinality(kinds) - 1;
END
$$;
