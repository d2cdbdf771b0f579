-- The EDUs of a transaction that did not arrive: one may be written later than another, though its number is lower.
ALTER TABLE destinations ADD COLUMN txn_edus bigint[];
