-- The transaction that an application service is being sent: as it is repeated until it arrives.
-- How far in the log that is, stands in duties.

CREATE TABLE app_service_transactions (
    service_id text COLLATE "C" PRIMARY KEY,
    txn_id text COLLATE "C" NOT NULL,
    content bytea NOT NULL
);
