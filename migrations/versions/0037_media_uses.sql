-- Which files are named where, so that those go with a message that nothing else names.

-- The files, as `server/media_id`, that stand as mxc: URIs in some JSON. It never fails, whatever
-- the bytes are; a slash may be escaped.
CREATE FUNCTION media_named(said bytea) RETURNS text[]
 LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $function$
    SELECT coalesce(array_agg(DISTINCT replace(found[1], '\', '')), '{}')
      FROM regexp_matches(encode(said, 'escape'),
                          'mxc:(?:\\{0,2}/){2}([][A-Za-z0-9.:-]+\\{0,2}/[A-Za-z0-9_-]+)', 'g')
           AS found
     WHERE length(found[1]) <= 600  -- longer than any; an index could not hold it
$function$;

-- Of memberships there are many, with avatars; those of the one who uploaded a file are looked at.
CREATE INDEX events_naming_media ON events USING gin (media_named(json) COLLATE "C")
 WHERE position('\x6d78633a'::bytea IN json) > 0                        -- mxc:
   AND position('\x226d2e726f6f6d2e6d656d62657222'::bytea IN json) = 0; -- "m.room.member"
CREATE INDEX account_data_naming_media ON account_data USING gin (media_named(content) COLLATE "C")
 WHERE position('\x6d78633a'::bytea IN content) > 0;
CREATE INDEX profiles_naming_media ON profiles USING gin (media_named(fields) COLLATE "C")
 WHERE position('\x6d78633a'::bytea IN fields) > 0;
ALTER INDEX events_naming_media ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX account_data_naming_media ALTER COLUMN 1 SET STATISTICS 0;
ALTER INDEX profiles_naming_media ALTER COLUMN 1 SET STATISTICS 0;

-- Files that messages named which are redacted or deleted: to be deleted, if nothing names them.
CREATE TABLE unwanted_media (
    media_nid bigint NOT NULL,
    event_nid bigint NOT NULL,
    due_ts bigint NOT NULL,                      -- not before, in milliseconds since the epoch
    PRIMARY KEY (media_nid, event_nid)
);
CREATE INDEX unwanted_media_due ON unwanted_media (due_ts);

-- Files that nothing knows any more, until they are gone from the disk.
CREATE TABLE dead_files (file_id text COLLATE "C" PRIMARY KEY);
