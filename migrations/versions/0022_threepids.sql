-- Addresses of people outside of Matrix, and how they show that an address is theirs.

CREATE TABLE threepids (
    medium text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    user_nid bigint NOT NULL,
    validated_ts bigint NOT NULL,
    added_ts bigint NOT NULL,
    PRIMARY KEY (medium, address)
);
CREATE INDEX threepids_by_user ON threepids (user_nid);

-- What identity servers were told for people here, to untie it again.
CREATE TABLE bound_threepids (
    user_nid bigint NOT NULL,
    id_server text COLLATE "C" NOT NULL,
    medium text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_nid, medium, address, id_server)
);

-- Addresses that are being shown to be somebody's.
CREATE TABLE email_validations (
    sid_hash bytea PRIMARY KEY,
    purpose text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    -- Of what was mailed; NULL where the mail says something else.
    token_hash bytea,
    send_attempt bigint NOT NULL,
    next_link text,
    validated_ts bigint,
    -- The session of user-interactive authentication that it completes a stage of.
    session_hash bytea,
    expires_ts bigint NOT NULL
);
CREATE INDEX email_validations_by_session ON email_validations (session_hash)
 WHERE session_hash IS NOT NULL;
