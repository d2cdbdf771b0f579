-- Files that people sent, and those fetched from other servers.

CREATE TABLE media (
    media_nid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin text COLLATE "C" NOT NULL,            -- the server's name
    media_id text COLLATE "C" NOT NULL,
    user_nid bigint,                             -- who sent it, if that was here
    file_id text COLLATE "C",                    -- names the file; null: announced, not yet uploaded
    size bigint NOT NULL DEFAULT 0,
    sha256 bytea,
    content_type text COLLATE "C",
    file_name text COLLATE "C",
    created_ts bigint NOT NULL,
    used_day integer NOT NULL,                   -- when somebody last wanted it
    UNIQUE (origin, media_id)
);
CREATE INDEX media_by_use ON media (used_day);
CREATE INDEX media_announced ON media (user_nid) WHERE file_id IS NULL;

CREATE TABLE thumbnails (
    media_nid bigint NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    is_cropped boolean NOT NULL,
    file_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    PRIMARY KEY (media_nid, width, height, is_cropped)
);
