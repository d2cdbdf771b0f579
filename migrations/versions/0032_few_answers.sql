-- Whoever forgets answers looks at all of them.
DROP INDEX incoming_transactions_by_time;
