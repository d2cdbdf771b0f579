-- Device keys, one-time keys, cross-signing, to-device messages and key backup.
--
-- Keys are public, and stored as their owners signed them.

CREATE TABLE device_keys (
    device_nid bigint PRIMARY KEY,
    user_nid bigint NOT NULL,
    json bytea NOT NULL
);
CREATE INDEX device_keys_by_user ON device_keys (user_nid);

CREATE TABLE one_time_keys (
    device_nid bigint NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    nr bigint GENERATED ALWAYS AS IDENTITY,      -- those that came first go first
    json bytea NOT NULL,
    PRIMARY KEY (device_nid, algorithm, key_id)
);
CREATE INDEX one_time_keys_in_order ON one_time_keys (device_nid, algorithm, nr);

CREATE TABLE fallback_keys (
    device_nid bigint NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    json bytea NOT NULL,
    used boolean NOT NULL DEFAULT false,
    PRIMARY KEY (device_nid, algorithm)
);

CREATE TABLE cross_signing_keys (
    user_nid bigint NOT NULL,
    usage text COLLATE "C" NOT NULL,             -- master, self_signing or user_signing
    json bytea NOT NULL,
    PRIMARY KEY (user_nid, usage)
);

-- Signatures on keys beside those that came with them.
CREATE TABLE key_signatures (
    target_nid bigint NOT NULL,                  -- the user whose key was signed
    target text COLLATE "C" NOT NULL,            -- a device ID, or a public key
    signer_nid bigint NOT NULL,
    key_id text COLLATE "C" NOT NULL,            -- of the signer
    signature text COLLATE "C" NOT NULL,
    PRIMARY KEY (target_nid, target, signer_nid, key_id)
);

CREATE TABLE to_device (
    device_nid bigint NOT NULL,
    pos bigint NOT NULL,
    json bytea NOT NULL,                         -- type, sender and content
    PRIMARY KEY (device_nid, pos)
);

-- Requests to send to devices, and messages of other servers, that were carried out.
CREATE TABLE to_device_done (
    sender text COLLATE "C" NOT NULL,            -- a device's number, or a server's name
    txn_id text COLLATE "C" NOT NULL,
    done_ts bigint NOT NULL,
    PRIMARY KEY (sender, txn_id)
);
CREATE INDEX to_device_done_by_time ON to_device_done (done_ts);

CREATE TABLE backup_versions (
    user_nid bigint NOT NULL,
    version integer NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    auth_data bytea NOT NULL,
    etag bigint NOT NULL DEFAULT 0,              -- counts the changes
    deleted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_nid, version)
);

CREATE TABLE backup_keys (
    user_nid bigint NOT NULL,
    version integer NOT NULL,
    room_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    first_message_index bigint NOT NULL,
    forwarded_count bigint NOT NULL,
    is_verified boolean NOT NULL,
    session_data bytea NOT NULL,                 -- encrypted by the client
    PRIMARY KEY (user_nid, version, room_id, session_id)
);

-- With a device goes what is its own, whoever deletes it; before the row itself, because after
-- it comes the clock.
CREATE FUNCTION forget_keys_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM device_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM one_time_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM fallback_keys WHERE device_nid = OLD.device_nid;
    DELETE FROM to_device WHERE device_nid = OLD.device_nid;
    RETURN OLD;
END
$$;
CREATE TRIGGER forget_keys BEFORE DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION forget_keys_of_device();
