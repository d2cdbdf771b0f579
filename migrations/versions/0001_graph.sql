-- The event graph: rooms, events, state, and the log with its clock.
--
-- Numbers instead of names: `room_nid`, `event_nid`, `state_key_nid` and `user_nid` stand for the
-- identifiers in `rooms`, `event_ids`, `state_keys` and `users`. No foreign keys: a batch takes its
-- locks in one order (rooms, then other unique keys, then the clock), and a key check would add more.

-- What this database is; one row.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    server_name text COLLATE "C" NOT NULL,
    epoch integer NOT NULL DEFAULT 1,            -- raised when a backup is restored
    state_hash_key bytea NOT NULL                -- keys the digests of state groups
);

-- Positions in the log. Taken under an advisory lock that is held until commit, so that positions
-- appear in their order: see append_batch.
CREATE SEQUENCE clock AS bigint MINVALUE 0 START 0;

CREATE TABLE log (
    pos bigint PRIMARY KEY,
    kind smallint NOT NULL,                      -- homeserver.storage.log.Kind
    room_nid bigint,
    user_nid bigint,                             -- of a membership event: whose
    item bigint                                  -- by kind: an event_nid, or another number
);

CREATE TABLE rooms (
    room_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id text COLLATE "C" NOT NULL UNIQUE,
    version text COLLATE "C",                    -- null until the create event is known
    head bigint NOT NULL DEFAULT 0,              -- counts the batches that changed the room
    group_nid bigint,                            -- the current state; null: we have none
    extremities bigint[] NOT NULL DEFAULT '{}'   -- event_nids of what nothing cites yet
) WITH (fillfactor = 50);

CREATE TABLE users (
    user_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE servers (
    server_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server_name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE event_ids (
    event_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text COLLATE "C" NOT NULL UNIQUE    -- of any event that was ever named, stored or not
);

CREATE TABLE state_keys (
    state_key_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text COLLATE "C" NOT NULL,
    state_key text COLLATE "C" NOT NULL,
    UNIQUE (type, state_key)
);

CREATE TABLE events (
    event_nid bigint PRIMARY KEY,
    room_nid bigint NOT NULL,
    room_order bigint,                           -- live: position << 24; history: between; null: outlier
    state_key_nid bigint,                        -- null: not a state event
    group_before bigint,                         -- the state before the event; null: not known
    origin_server_ts bigint NOT NULL,
    depth bigint NOT NULL,
    fate smallint NOT NULL,                      -- homeserver.storage.events.Fate
    auth bigint[] NOT NULL,                      -- the events that it cites for its authority
    redacted_by bigint,                          -- the redaction that took its content
    json bytea NOT NULL                          -- as received or made
);
CREATE UNIQUE INDEX events_by_room_order ON events (room_nid, room_order) WHERE room_order IS NOT NULL;
CREATE INDEX events_by_time ON events (room_nid, origin_server_ts) WHERE room_order IS NOT NULL;

-- Parents that are not stored: where history, or a gap in it, begins.
CREATE TABLE missing_parents (
    room_nid bigint NOT NULL,
    event_nid bigint NOT NULL,                   -- the parent
    child_order bigint NOT NULL,                 -- room_order of an event that cites it
    PRIMARY KEY (room_nid, event_nid)
);
CREATE INDEX missing_parents_by_child ON missing_parents (room_nid, child_order);

-- What events say they are to other events (m.relates_to), as far as they were accepted and not
-- redacted. The other one need not be here.
CREATE TABLE relations (
    event_nid bigint PRIMARY KEY,
    room_nid bigint NOT NULL,
    parent_nid bigint NOT NULL,
    room_order bigint NOT NULL,
    rel_type text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,              -- of the event
    sender text COLLATE "C" NOT NULL,
    key text COLLATE "C"                         -- of an annotation
);
CREATE INDEX relations_by_parent ON relations (parent_nid, rel_type, room_order);
CREATE INDEX relations_by_thread ON relations (room_nid, parent_nid, room_order)
    WHERE rel_type = 'm.thread';

-- The words of what can be searched: events that were accepted and not redacted.
CREATE TABLE searchable (
    event_nid bigint PRIMARY KEY,
    room_nid bigint NOT NULL,
    room_order bigint NOT NULL,
    key smallint NOT NULL,                       -- homeserver.storage.batch.SearchKey
    words tsvector NOT NULL
);
CREATE INDEX searchable_by_word ON searchable USING gin (words);

-- Live messages as unread counts see them: who may have to be told. What one has sent oneself, and
-- what was sent before one's receipt, is left out when they are counted.
CREATE TABLE notable (
    room_nid bigint NOT NULL,
    room_order bigint NOT NULL,
    event_nid bigint NOT NULL,
    sender_nid bigint NOT NULL,
    thread_nid bigint,                           -- the root of its thread
    flags smallint NOT NULL,                     -- homeserver.storage.unread.Flag
    mentioned bigint[],                          -- users of this server who are named
    PRIMARY KEY (room_nid, room_order)
);

-- Redactions of events that are not here yet.
CREATE TABLE early_redactions (
    target_nid bigint NOT NULL,
    redaction_nid bigint NOT NULL,
    PRIMARY KEY (target_nid, redaction_nid)
);

-- Layers of states: see homeserver.storage.state_groups.
CREATE TABLE state_groups (
    group_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_nid bigint NOT NULL,
    parent_nid bigint,
    step integer NOT NULL,
    size integer NOT NULL,
    digest bytea NOT NULL,
    records bytea NOT NULL
);
ALTER TABLE state_groups ALTER COLUMN records SET STORAGE EXTERNAL;
CREATE INDEX state_groups_by_digest ON state_groups (room_nid, digest);

CREATE TABLE current_state (
    room_nid bigint NOT NULL,
    state_key_nid bigint NOT NULL,
    event_nid bigint NOT NULL,
    PRIMARY KEY (room_nid, state_key_nid)
) WITH (fillfactor = 80);

-- Every change of the current state, by events or by resolution.
CREATE TABLE state_changes (
    room_nid bigint NOT NULL,
    pos bigint NOT NULL,
    state_key_nid bigint NOT NULL,
    old_event_nid bigint,
    new_event_nid bigint,
    PRIMARY KEY (room_nid, pos, state_key_nid)
);

-- Memberships by current state.
CREATE TABLE memberships (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    membership smallint NOT NULL,                -- homeserver.storage.events.Membership
    event_nid bigint NOT NULL,
    pos bigint NOT NULL,                         -- when it became so
    PRIMARY KEY (room_nid, user_nid)
) WITH (fillfactor = 80);
CREATE INDEX memberships_by_user ON memberships (user_nid, membership);

-- How many users of each server are joined.
CREATE TABLE room_servers (
    room_nid bigint NOT NULL,
    server_nid bigint NOT NULL,
    joined integer NOT NULL,
    PRIMARY KEY (room_nid, server_nid)
) WITH (fillfactor = 80);
CREATE INDEX room_servers_by_server ON room_servers (server_nid);

-- Transaction ids of sends, per device and endpoint path, each with what came of it.
CREATE TABLE sent (
    device_nid bigint NOT NULL,
    txn_hash bytea NOT NULL,                     -- SHA-256 of the path with its transaction id
    event_nid bigint NOT NULL,
    sent_ts bigint NOT NULL,
    txn_id text COLLATE "C",                     -- as the device wrote it, to tell it with the event
    PRIMARY KEY (device_nid, txn_hash)
);
CREATE INDEX sent_by_time ON sent (sent_ts);
CREATE INDEX sent_by_event ON sent (event_nid);

-- Be the next to write to these rooms: append_batch leaves them out for everybody else until the
-- session gives them up. False, and nothing is kept, if somebody has one of them for longer than
-- `patience`, in milliseconds; whoever then was silent for half a second stands still, and loses it.
CREATE FUNCTION claim_rooms(rooms bigint[], patience integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', patience || 'ms', true);
    PERFORM pg_advisory_lock(room) FROM (SELECT unnest(rooms) AS room ORDER BY room) sorted;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    PERFORM pg_advisory_unlock_all();
    PERFORM pg_terminate_backend(a.pid)
       FROM pg_locks l
       JOIN pg_stat_activity a ON a.pid = l.pid
       JOIN unnest(rooms) AS room
         ON l.classid = (room >> 32)::int::oid AND l.objid = (room & 4294967295)::oid
      WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
        AND l.database = a.datid AND a.datname = current_database()
        AND a.state = 'idle' AND a.state_change < clock_timestamp() - interval '500 ms';
    RETURN false;
END
$$;

-- Write a batch of events into several rooms; called alone, as a transaction of its own.
--
-- Rooms that somebody else is writing to, or has asked to write to next (by an advisory lock on the
-- room's number), or whose head is not the expected one, are left out with all that belongs to them. The others are locked in ascending order; then the clock is taken and
-- held until the commit, so that whoever sees a position has seen all below it. Every event gets a
-- position, in the order of the arrays; answered are the events that were written.
--
-- Prefixes: r_ rooms, e_ events, c_ changes of current state, m_ memberships, s_ servers' counts,
-- g_ state groups, t_ transaction ids, x_ redacted events, l_ relations, n_ notable events,
-- f_ words to find them by.
CREATE FUNCTION append_batch(
    r_room bigint[], r_head bigint[], r_version text[], r_group bigint[], r_extremities text[],
    e_room bigint[], e_event bigint[], e_key bigint[], e_group bigint[], e_ts bigint[],
    e_depth bigint[], e_fate smallint[], e_member bigint[], e_auth text[], e_json bytea[],
    c_room bigint[], c_event bigint[], c_key bigint[], c_old bigint[], c_new bigint[],
    m_room bigint[], m_event bigint[], m_user bigint[], m_membership smallint[],
    s_room bigint[], s_server bigint[], s_delta integer[],
    g_room bigint[], g_group bigint[], g_parent bigint[], g_step integer[], g_size integer[],
    g_digest bytea[], g_records bytea[],
    t_room bigint[], t_device bigint[], t_hash bytea[], t_event bigint[], t_ts bigint[],
    t_txn_id text[],
    x_room bigint[], x_event bigint[], x_redaction bigint[], x_json bytea[],
    l_event bigint[], l_parent bigint[], l_rel_type text[], l_type text[], l_sender text[],
    l_key text[],
    n_event bigint[], n_sender bigint[], n_thread bigint[], n_flags smallint[], n_mentioned text[],
    f_event bigint[], f_key smallint[], f_text text[]
) RETURNS TABLE (event_nid bigint, pos bigint)
LANGUAGE plpgsql AS $$
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
    UPDATE events e
       SET json = x.json, redacted_by = x.redaction
      FROM unnest(x_room, x_event, x_redaction, x_json) AS x (room_nid, event_nid, redaction, json)
     WHERE e.event_nid = x.event_nid AND e.room_nid = x.room_nid AND e.redacted_by IS NULL
       AND x.room_nid = ANY (locked);
    DELETE FROM relations l
     USING unnest(x_room, x_event) AS x (room_nid, event_nid)
     WHERE l.event_nid = x.event_nid AND x.room_nid = ANY (locked);
    DELETE FROM searchable f
     USING unnest(x_room, x_event) AS x (room_nid, event_nid)
     WHERE f.event_nid = x.event_nid AND x.room_nid = ANY (locked);
    DELETE FROM notable n
     USING unnest(x_room, x_event) AS x (room_nid, event_nid), events e
     WHERE e.event_nid = x.event_nid AND n.room_nid = e.room_nid AND n.room_order = e.room_order
       AND x.room_nid = ANY (locked);

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
               m.room_nid, m.user_nid, m.membership, m.event_nid, n.pos
          FROM unnest(m_room, m_event, m_user, m_membership) WITH ORDINALITY
               AS m (room_nid, event_nid, user_nid, membership, nr)
          JOIN numbered n ON n.event_nid = m.event_nid
         ORDER BY m.room_nid, m.user_nid, m.nr DESC
        ON CONFLICT (room_nid, user_nid) DO UPDATE
           SET membership = excluded.membership, event_nid = excluded.event_nid, pos = excluded.pos
    )
    SELECT n.event_nid, n.pos FROM numbered n;

    PERFORM pg_notify('clock', (base + taken)::text);
END
$$;
