-- Accounts: who has one, on which devices, with which tokens, and what they keep on the server.
--
-- Secrets are stored as SHA-256 (random ones) or argon2id (passwords), but for registration tokens,
-- which administrators list. Days are days since the epoch, `_ts` milliseconds. Addresses and user
-- agents of clients are not stored.
--
-- Two numbers make a statement's snapshot complete without a transaction. `devices.version` counts
-- the changes of a device's tokens, `accounts.version` those after which a device may be there that
-- was not before. Who must see all tokens, or all devices, names the version that it has read: if
-- the row still has it, nothing was added since.

CREATE TABLE accounts (
    user_nid bigint PRIMARY KEY,
    version integer NOT NULL DEFAULT 0,
    password_hash text COLLATE "C",              -- null: no password is right
    created_day integer NOT NULL,
    is_admin boolean NOT NULL DEFAULT false,
    is_guest boolean NOT NULL DEFAULT false,
    locked boolean NOT NULL DEFAULT false,
    suspended boolean NOT NULL DEFAULT false,
    deactivated boolean NOT NULL DEFAULT false,  -- for ever: the name is not given to anybody else
    erased boolean NOT NULL DEFAULT false,       -- deactivated, and wants to be forgotten
    appservice text COLLATE "C"                  -- id of the one that made the account
) WITH (fillfactor = 80);

CREATE TABLE devices (
    device_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_nid bigint NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    version integer NOT NULL DEFAULT 0,
    display_name text COLLATE "C",
    session text COLLATE "C" NOT NULL UNIQUE,    -- what all tokens of the device begin with
    last_seen_day integer NOT NULL,
    confirmed_ts bigint,                         -- password entered; only for confirmation_grace
    UNIQUE (user_nid, device_id)
) WITH (fillfactor = 80);

-- Tokens of one login and its renewals, which `generation` counts from 1; 0: it cannot be renewed.
CREATE TABLE access_tokens (
    token_hash bytea PRIMARY KEY,
    device_nid bigint NOT NULL,
    generation integer NOT NULL,
    used boolean NOT NULL,                       -- so that older refresh tokens are gone
    expires_ts bigint
);
CREATE INDEX access_tokens_by_device ON access_tokens (device_nid);

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    device_nid bigint NOT NULL,
    generation integer NOT NULL,
    expires_ts bigint                            -- when the device must log in again
);
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_nid);

-- One device letting in another, once (m.login.token).
CREATE TABLE login_tokens (
    token_hash bytea PRIMARY KEY,
    user_nid bigint NOT NULL,
    expires_ts bigint NOT NULL
);
CREATE INDEX login_tokens_by_expiry ON login_tokens (expires_ts);

CREATE TABLE registration_tokens (
    token text COLLATE "C" PRIMARY KEY,
    uses_allowed integer,                        -- null: any number
    pending integer NOT NULL DEFAULT 0,          -- registrations under way with it
    completed integer NOT NULL DEFAULT 0,
    expires_ts bigint
);

-- Nonces handed out for registration with the shared secret.
CREATE TABLE registration_nonces (
    nonce_hash bytea PRIMARY KEY,
    expires_ts bigint NOT NULL
);
CREATE INDEX registration_nonces_by_expiry ON registration_nonces (expires_ts);

-- User-interactive authentication under way.
CREATE TABLE uia_sessions (
    session_hash bytea PRIMARY KEY,
    operation text COLLATE "C" NOT NULL,         -- operationId of the endpoint
    user_nid bigint,                             -- who asks, as far as it is known
    binding bytea NOT NULL,                      -- the request, hashed with the session as key
    completed text[] COLLATE "C" NOT NULL,       -- stages, in order
    registration_token text COLLATE "C",         -- counted as pending there
    made_user_nid bigint,                        -- the account that came of it
    expires_ts bigint NOT NULL
);
CREATE INDEX uia_sessions_by_expiry ON uia_sessions (expires_ts);

CREATE TABLE profiles (
    user_nid bigint PRIMARY KEY,
    fields bytea NOT NULL                        -- a JSON object, sorted
);

CREATE TABLE account_data (
    user_nid bigint NOT NULL,
    room_nid bigint NOT NULL,                    -- 0: of the whole account
    type text COLLATE "C" NOT NULL,
    content bytea,                               -- a JSON object as received; null: deleted
    pos bigint NOT NULL,
    PRIMARY KEY (user_nid, room_nid, type)
);
CREATE INDEX account_data_by_pos ON account_data (user_nid, pos);

CREATE TABLE filters (
    user_nid bigint NOT NULL,
    filter_hash bytea NOT NULL,                  -- its id
    json bytea NOT NULL,
    PRIMARY KEY (user_nid, filter_hash)
);

-- What caches follow; events have readers of their own.
CREATE INDEX log_without_events ON log (pos) WHERE kind <> 1;

-- Append to the log, as the last act of a statement that runs alone, or of a transaction's last
-- one: from here to the commit nobody else gets a position. What is given has as many entries in
-- each array; without any, nothing happens. Answers the first position, the others follow it.
CREATE FUNCTION append_log(kinds smallint[], rooms bigint[], users bigint[], items bigint[])
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    taken bigint := coalesce(cardinality(kinds), 0);
BEGIN
    IF taken = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(7310868735949794660);
    SELECT last_value INTO base FROM clock;
    PERFORM setval('clock', base + taken);
    INSERT INTO log (pos, kind, room_nid, user_nid, item)
    SELECT base + e.nr, e.kind, e.room_nid, e.user_nid, e.item
      FROM unnest(kinds, rooms, users, items) WITH ORDINALITY
           AS e (kind, room_nid, user_nid, item, nr);
    PERFORM pg_notify('clock', (base + taken)::text);
    RETURN base + 1;
END
$$;

-- What users changed of their push rules; who changed nothing has no row.
CREATE TABLE push_rules (
    user_nid bigint PRIMARY KEY,
    changes bytea NOT NULL,                      -- homeserver.push.rulesets.Changes, as JSON
    pos bigint NOT NULL
);

-- The words of people's display names, folded, to find them by.
CREATE TABLE user_words (
    word text COLLATE "C" NOT NULL,
    user_nid bigint NOT NULL,
    PRIMARY KEY (word, user_nid)
);
CREATE INDEX user_words_by_user ON user_words (user_nid);
