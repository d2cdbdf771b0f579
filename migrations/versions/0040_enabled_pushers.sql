ALTER TABLE pushers ADD COLUMN enabled boolean NOT NULL DEFAULT true;  -- else nothing is told

-- As the one without `p_enabled`, which processes of the version before still call. Where that is
-- given, somebody switches a pusher off or on, maybe from another device: it stays with its own.
CREATE FUNCTION set_pusher(
    p_user bigint, p_device bigint, p_app_id text, p_pushkey text, p_app_name text,
    p_device_name text, p_tag text, p_lang text, p_data bytea, p_enabled boolean,
    p_append boolean, p_now bigint, p_most integer, p_kind smallint
) RETURNS bigint LANGUAGE plpgsql AS $$
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
            profile_tag, lang, data, enabled, set_ts, pos)
    VALUES (p_user, p_device, p_app_id, p_pushkey, p_app_name, p_device_name, p_tag, p_lang, p_data,
            coalesce(p_enabled, true), p_now, 0)
    ON CONFLICT (user_nid, app_id, pushkey) DO UPDATE
       SET device_nid = CASE WHEN p_enabled IS NULL THEN excluded.device_nid
                             ELSE old.device_nid END,
           app_display_name = excluded.app_display_name,
           device_display_name = excluded.device_display_name,
           profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data,
           set_ts = excluded.set_ts, pause = 0, retry_ts = 0, enabled = excluded.enabled,
           pos = CASE WHEN excluded.enabled AND NOT old.enabled THEN 0 ELSE old.pos END;
    SELECT append_log(array_agg(p_kind), array_agg(NULL::bigint), array_agg(u),
                      array_agg(NULL::bigint)) + count(*) - 1
      INTO placed FROM unnest(others || p_user) AS u;
    -- What is switched off tells nothing that it had to, and begins anew when it is switched on.
    DELETE FROM push_queue q USING pushers p
     WHERE q.pusher_nid = p.pusher_nid AND p.user_nid = p_user AND p.app_id = p_app_id
       AND p.pushkey = p_pushkey AND (NOT p.enabled OR p.pos = 0);
    -- A new one begins here; the clock is still held, so nothing comes in between.
    UPDATE pushers SET pos = placed
     WHERE user_nid = p_user AND app_id = p_app_id AND pushkey = p_pushkey AND pos = 0;
    RETURN placed;
END
$$;
