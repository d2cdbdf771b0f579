-- PostgreSQL plans with samples of columns. Of what people say it takes none: a sample outlives what
-- it was taken of. Nothing is looked up by these columns. The type is given again, as that forgets
-- the samples there are.
ALTER TABLE events ALTER json TYPE bytea, ALTER json SET STATISTICS 0;
ALTER TABLE originals ALTER json TYPE bytea, ALTER json SET STATISTICS 0;
ALTER TABLE account_data ALTER content TYPE bytea, ALTER content SET STATISTICS 0;
ALTER TABLE app_service_transactions ALTER content TYPE bytea, ALTER content SET STATISTICS 0;
ALTER TABLE delayed_events ALTER json TYPE bytea, ALTER json SET STATISTICS 0;
ALTER TABLE destinations ALTER txn_content TYPE bytea, ALTER txn_content SET STATISTICS 0;
ALTER TABLE invites ALTER json TYPE bytea, ALTER json SET STATISTICS 0,
                    ALTER state TYPE bytea, ALTER state SET STATISTICS 0;
ALTER TABLE outgoing_edus ALTER content TYPE bytea, ALTER content SET STATISTICS 0;
ALTER TABLE profiles ALTER fields TYPE bytea, ALTER fields SET STATISTICS 0;
ALTER TABLE push_rules ALTER changes TYPE bytea, ALTER changes SET STATISTICS 0;
ALTER TABLE reports ALTER reason TYPE text, ALTER reason SET STATISTICS 0;
ALTER TABLE to_device ALTER json TYPE bytea, ALTER json SET STATISTICS 0;
