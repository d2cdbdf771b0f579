-- Invitations to, and knocks at, rooms that this server is not in.
SELECT 1;
