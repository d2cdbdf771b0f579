-- IDs of events that come from elsewhere are written with them, too.
CREATE OR REPLACE FUNCTION append_batch(
    r_room bigint[], r_head bigint[], r_version text[], r_group bigint[], r_extremities text[],
    e_room bigint[], e_event bigint[], e_key bigint[], e_group bigint[], e_ts bigint[], e_depth
    bigint[], e_fate smallint[], e_member bigint[], e_auth text[], e_json bytea[], e_id text[],
    c_room bigint[], c_event bigint[], c_key bigint[], c_old bigint[], c_new bigint[], m_room
    bigint[], m_event bigint[], m_user bigint[], m_membership smallint[], m_own bigint[], s_room
    bigint[], s_server bigint[], s_delta integer[], g_room bigint[], g_group bigint[], g_parent
    bigint[], g_step integer[], g_size integer[], g_digest bytea[], g_records bytea[], t_room
    bigint[], t_device bigint[], t_hash bytea[], t_event bigint[], t_ts bigint[], t_txn_id
    text[], x_room bigint[], x_event bigint[], x_redaction bigint[], x_json bytea[], x_until
    bigint[], l_event bigint[], l_parent bigint[], l_rel_type text[], l_type text[], l_sender
    text[], l_key text[], n_event bigint[], n_sender bigint[], n_thread bigint[], n_flags
    smallint[], n_mentioned text[], f_event bigint[], f_key smallint[], f_text text[], p_room
    bigint[], p_lifetime bigint[]
)
 RETURNS TABLE(event_nid bigint, pos bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    locked bigint[];
    base bigint;
    taken bigint;
BEGIN
    SELECT array_agg(l.room_nid) INTO locked FROM (
        SELECT r.room_nid
          FROM rooms r
          JOIN unnest(r_room, r_head) AS expected (room_nid, head) ON r.room_nid = expected.room_nid
         WHERE r.head = expected.head AND pg_try_advisory_xact_lock(r.room_nid)
         ORDER BY r.room_nid
           FOR UPDATE OF r SKIP LOCKED
    ) l;
    IF locked IS NULL THEN
        RETURN;
    END IF;

    -- Whoever sends something hardly ever does so again, so nobody looks before.
    IF cardinality(t_hash) > 0 AND EXISTS (
        SELECT FROM sent s
          JOIN unnest(t_device, t_hash) AS t (device_nid, txn_hash)
            ON s.device_nid = t.device_nid AND s.txn_hash = t.txn_hash
    ) THEN
        RETURN QUERY SELECT NULL::bigint, NULL::bigint;
        RETURN;
    END IF;

    -- Sorted, as whoever interns them does: nobody waits for another in a circle.
    INSERT INTO event_ids (event_nid, event_id)
    OVERRIDING SYSTEM VALUE
    SELECT e.event_nid, e.event_id
      FROM unnest(e_room, e_event, e_id) AS e (room_nid, event_nid, event_id)
     WHERE e.event_id IS NOT NULL AND e.room_nid = ANY (locked)
     ORDER BY e.event_id;

    INSERT INTO state_groups (group_nid, room_nid, parent_nid, step, size, digest, records)
    OVERRIDING SYSTEM VALUE
    SELECT g.group_nid, g.room_nid, g.parent_nid, g.step, g.size, g.digest, g.records
      FROM unnest(g_group, g_room, g_parent, g_step, g_size, g_digest, g_records)
           AS g (group_nid, room_nid, parent_nid, step, size, digest, records)
     WHERE g.room_nid = ANY (locked);

    UPDATE rooms r
       SET head = r.head + 1,
           version = coalesce(new.version, r.version),
           group_nid = new.group_nid,
           extremities = new.extremities::bigint[]
      FROM unnest(r_room, r_version, r_group, r_extremities)
           AS new (room_nid, version, group_nid, extremities)
     WHERE r.room_nid = new.room_nid AND r.room_nid = ANY (locked);
    IF cardinality(p_room) > 0 THEN
        UPDATE rooms r SET lifetime = p.lifetime
          FROM unnest(p_room, p_lifetime) AS p (room_nid, lifetime)
         WHERE r.room_nid = p.room_nid AND r.room_nid = ANY (locked);
    END IF;

    INSERT INTO sent (device_nid, txn_hash, event_nid, sent_ts, txn_id)
    SELECT t.device_nid, t.txn_hash, t.event_nid, t.sent_ts, t.txn_id
      FROM unnest(t_room, t_device, t_hash, t_event, t_ts, t_txn_id)
           AS t (room_nid, device_nid, txn_hash, event_nid, sent_ts, txn_id)
     WHERE t.room_nid = ANY (locked)
     ORDER BY t.device_nid, t.txn_hash;

    INSERT INTO room_servers AS old (room_nid, server_nid, joined)
    SELECT s.room_nid, s.server_nid, s.delta
      FROM unnest(s_room, s_server, s_delta) AS s (room_nid, server_nid, delta)
     WHERE s.room_nid = ANY (locked)
    ON CONFLICT (room_nid, server_nid) DO UPDATE SET joined = old.joined + excluded.joined;

    -- What is redacted is gone with the redaction's own commit.
    IF cardinality(x_event) > 0 THEN
        PERFORM redact_events(array_agg(x.event_nid), array_agg(x.redaction), array_agg(x.json),
                              array_agg(x.until_ts))
           FROM unnest(x_room, x_event, x_redaction, x_json, x_until)
                AS x (room_nid, event_nid, redaction, json, until_ts)
          WHERE x.room_nid = ANY (locked);
    END IF;

    -- Nothing below can wait for anybody: all of it is under the rooms' locks.
    PERFORM pg_advisory_xact_lock(7310868735949794660);
    SELECT last_value INTO base FROM clock;
    SELECT count(*) INTO taken FROM unnest(e_room) AS e (room_nid) WHERE e.room_nid = ANY (locked);
    PERFORM setval('clock', base + taken);

    RETURN QUERY
    WITH numbered AS (
        SELECT e.*, base + row_number() OVER (ORDER BY e.nr) AS pos
          FROM unnest(e_room, e_event, e_key, e_group, e_ts, e_depth, e_fate, e_member, e_auth, e_json)
               WITH ORDINALITY
               AS e (room_nid, event_nid, key, group_nid, ts, depth, fate, member, auth, json,
                     nr)
         WHERE e.room_nid = ANY (locked)
    ), written AS (
        INSERT INTO events (event_nid, room_nid, room_order, state_key_nid, group_before,
                            origin_server_ts, depth, fate, auth, json)
        SELECT n.event_nid, n.room_nid, n.pos << 24, n.key, n.group_nid, n.ts, n.depth, n.fate,
               n.auth::bigint[], n.json
          FROM numbered n
        -- It may have been known before, without a place.
        ON CONFLICT (event_nid) DO UPDATE
           SET room_order = excluded.room_order, group_before = excluded.group_before,
               fate = excluded.fate
    ), logged AS (
        INSERT INTO log (pos, kind, room_nid, user_nid, item)
        SELECT n.pos, 1, n.room_nid, n.member, n.event_nid FROM numbered n
    ), related AS (
        INSERT INTO relations (event_nid, room_nid, parent_nid, room_order, rel_type, type, sender,
                               key)
        SELECT l.event_nid, n.room_nid, l.parent_nid, n.pos << 24, l.rel_type, l.type, l.sender,
               l.key
          FROM unnest(l_event, l_parent, l_rel_type, l_type, l_sender, l_key)
               AS l (event_nid, parent_nid, rel_type, type, sender, key)
          JOIN numbered n ON n.event_nid = l.event_nid
    ), counted AS (
        INSERT INTO notable (room_nid, room_order, event_nid, sender_nid, thread_nid, flags,
                             mentioned)
        SELECT n.room_nid, n.pos << 24, n.event_nid, c.sender_nid, c.thread_nid, c.flags,
               c.mentioned::bigint[]
          FROM unnest(n_event, n_sender, n_thread, n_flags, n_mentioned)
               AS c (event_nid, sender_nid, thread_nid, flags, mentioned)
          JOIN numbered n ON n.event_nid = c.event_nid
    ), findable AS (
        INSERT INTO searchable (event_nid, room_nid, room_order, key, words)
        SELECT f.event_nid, n.room_nid, n.pos << 24, f.key, to_tsvector('simple', f.text)
          FROM unnest(f_event, f_key, f_text) AS f (event_nid, key, text)
          JOIN numbered n ON n.event_nid = f.event_nid
    ), changed AS (
        INSERT INTO state_changes (room_nid, pos, state_key_nid, old_event_nid, new_event_nid)
        SELECT c.room_nid, n.pos, c.key, c.old, c.new
          FROM unnest(c_room, c_event, c_key, c_old, c_new) AS c (room_nid, event_nid, key, old, new)
          JOIN numbered n ON n.event_nid = c.event_nid
    ), left_out AS (
        DELETE FROM current_state now
         USING unnest(c_room, c_key, c_new) AS c (room_nid, key, new)
         WHERE c.new IS NULL AND c.room_nid = ANY (locked)
           AND now.room_nid = c.room_nid AND now.state_key_nid = c.key
    ), entered AS (
        INSERT INTO current_state AS now (room_nid, state_key_nid, event_nid)
        SELECT DISTINCT ON (c.room_nid, c.key) c.room_nid, c.key, c.new
          FROM unnest(c_room, c_event, c_key, c_new) WITH ORDINALITY
               AS c (room_nid, event_nid, key, new, nr)
         WHERE c.room_nid = ANY (locked) AND c.new IS NOT NULL
         ORDER BY c.room_nid, c.key, c.nr DESC
        ON CONFLICT (room_nid, state_key_nid) DO UPDATE SET event_nid = excluded.event_nid
    ), joined AS (
        INSERT INTO memberships AS now (room_nid, user_nid, membership, event_nid, pos)
        SELECT DISTINCT ON (m.room_nid, m.user_nid)
               m.room_nid, m.user_nid, m.membership, m.own_nid, n.pos
          FROM unnest(m_room, m_event, m_user, m_membership, m_own) WITH ORDINALITY
               AS m (room_nid, event_nid, user_nid, membership, own_nid, nr)
          JOIN numbered n ON n.event_nid = m.event_nid
         ORDER BY m.room_nid, m.user_nid, m.nr DESC
        ON CONFLICT (room_nid, user_nid) DO UPDATE
           SET membership = excluded.membership, event_nid = excluded.event_nid, pos = excluded.pos
    )
    SELECT n.event_nid, n.pos FROM numbered n;

    PERFORM pg_notify('clock', (base + taken)::text);
END
$function$;
