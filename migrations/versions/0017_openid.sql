-- What somebody gives to another service, which asks us whose it is.
-- Databases made in between have it already.
CREATE TABLE IF NOT EXISTS openid_tokens (
    token_hash bytea PRIMARY KEY,
    user_nid bigint NOT NULL,
    expires_ts bigint NOT NULL
);
