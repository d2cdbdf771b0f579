-- Receipts: how far people have read, in whole rooms and in threads of them.
--
-- A row is moved forward only, never back; its event may be one that we do not have (yet).

CREATE TABLE receipts (
    room_nid bigint NOT NULL,
    user_nid bigint NOT NULL,
    type smallint NOT NULL,                      -- homeserver.storage.receipts.ReceiptType
    thread text COLLATE "C" NOT NULL,            -- its root's event ID, or main; empty: of all threads
    event_nid bigint NOT NULL,
    ts bigint NOT NULL,
    pos bigint NOT NULL,
    PRIMARY KEY (room_nid, user_nid, type, thread)
) WITH (fillfactor = 70);
CREATE INDEX receipts_by_pos ON receipts (room_nid, pos);
