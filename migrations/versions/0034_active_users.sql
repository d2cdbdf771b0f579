-- Who used the server lately, where the settings say how many may. Of people only, not of bridged
-- users and guests.
CREATE TABLE active_users (
    user_nid bigint PRIMARY KEY,
    seen_day integer NOT NULL,                   -- the last, in days since the epoch
    notice text COLLATE "C"                      -- the pinned event that tells them that no more may
);
CREATE INDEX active_users_by_day ON active_users (seen_day);

-- How many people used the server since a day.
CREATE FUNCTION count_active(p_since integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*)
      FROM active_users u JOIN accounts a ON a.user_nid = u.user_nid
     WHERE u.seen_day >= p_since AND NOT a.deactivated
$$;

-- Notes that somebody uses the server, unless they did not since a day, and too many others did.
CREATE FUNCTION admit_active(p_user bigint, p_today integer, p_since integer, p_most bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE active_users SET seen_day = greatest(seen_day, p_today)
     WHERE user_nid = p_user AND seen_day >= p_since;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(7310868735949794664);  -- who comes next is counted
    IF count_active(p_since) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO active_users AS old (user_nid, seen_day) VALUES (p_user, p_today)
    ON CONFLICT (user_nid) DO UPDATE SET seen_day = greatest(old.seen_day, excluded.seen_day);
    RETURN true;
END
$$;
