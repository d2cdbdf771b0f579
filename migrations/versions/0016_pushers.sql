-- Where people's notifications go, and those on their way there.

CREATE TABLE pushers (
    pusher_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid bigint NOT NULL,
    device_nid bigint NOT NULL,                  -- which set it, and with which it goes
    app_id text COLLATE "C" NOT NULL,
    pushkey text COLLATE "C" NOT NULL,
    app_display_name text COLLATE "C" NOT NULL,
    device_display_name text COLLATE "C" NOT NULL,
    profile_tag text COLLATE "C",
    lang text COLLATE "C" NOT NULL,
    data bytea NOT NULL,                         -- JSON
    set_ts bigint NOT NULL,
    pos bigint NOT NULL,                         -- it is told what came after
    pause bigint NOT NULL DEFAULT 0,             -- milliseconds: the gateway is left alone so long
    retry_ts bigint NOT NULL DEFAULT 0,
    unread integer NOT NULL DEFAULT 0            -- as it was last told
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX pushers_by_user ON pushers (user_nid, app_id, pushkey);
CREATE INDEX pushers_by_key ON pushers (app_id, pushkey);
CREATE INDEX pushers_by_device ON pushers (device_nid);

CREATE TABLE push_queue (
    pusher_nid bigint NOT NULL,
    pos bigint NOT NULL,
    room_nid bigint,
    event_nid bigint,                            -- none: only how much is unread has changed
    tweaks bytea,                                -- JSON
    queued_ts bigint NOT NULL,
    PRIMARY KEY (pusher_nid, pos)
);

CREATE FUNCTION forget_pushers_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pushers WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_pushers BEFORE DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION forget_pushers_of_device();

CREATE FUNCTION forget_queue_of_pusher() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM push_queue WHERE pusher_nid = OLD.pusher_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_queue BEFORE DELETE ON pushers
    FOR EACH ROW EXECUTE FUNCTION forget_queue_of_pusher();

-- Make a pusher, or change it, and remove those of others with its key unless p_append. Answers the
-- position; NULL, and nothing is written, if the device is gone, or the user has p_most others.
CREATE FUNCTION set_pusher(
    p_user bigint, p_device bigint, p_app_id text, p_pushkey text, p_app_name text,
    p_device_name text, p_tag text, p_lang text, p_data bytea,
    p_append boolean, p_now bigint, p_most integer, p_kind smallint
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    others bigint[];
    placed bigint;
BEGIN
    -- Of two people with one key, one after the other: else both could keep it.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_app_id || ' ' || p_pushkey, 7310868735949794662));
    PERFORM FROM accounts WHERE user_nid = p_user AND NOT deactivated FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM devices WHERE device_nid = p_device AND user_nid = p_user FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM pushers
         WHERE user_nid = p_user AND (app_id, pushkey) <> (p_app_id, p_pushkey)) >= p_most THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM pushers
         WHERE NOT p_append AND app_id = p_app_id AND pushkey = p_pushkey AND user_nid <> p_user
        RETURNING user_nid
    )
    SELECT coalesce(array_agg(user_nid), '{}') INTO others FROM gone;
    INSERT INTO pushers AS old
           (user_nid, device_nid, app_id, pushkey, app_display_name, device_display_name,
            profile_tag, lang, data, set_ts, pos)
    VALUES (p_user, p_device, p_app_id, p_pushkey, p_app_name, p_device_name, p_tag, p_lang, p_data,
            p_now, 0)
    ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE
       SET device_nid = excluded.device_nid, app_display_name = excluded.app_display_name,
           device_display_name = excluded.device_display_name,
           profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
           set_ts = excluded.set_ts, pause = 0, retry_ts = 0;
    SELECT append_log(array_agg(p_kind), array_agg(NULL::bigint), array_agg(u),
                      array_agg(NULL::bigint)) + count(*) - 1
      INTO placed FROM unnest(others || p_user) AS u;
    -- A new one begins here; the clock is still held, so nothing comes in between.
    UPDATE pushers SET pos = placed
     WHERE user_nid = p_user AND app_id = p_app_id AND pushkey = p_pushkey AND pos = 0;
    RETURN placed;
END
$$;
