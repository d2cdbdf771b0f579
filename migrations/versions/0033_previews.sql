-- Pictures of web pages that people linked to. They belong to nobody, and go soon.
ALTER TABLE media ADD COLUMN is_preview boolean NOT NULL DEFAULT false;
CREATE INDEX media_of_previews ON media (created_ts) WHERE is_preview;
