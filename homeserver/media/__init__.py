"""Files that people send: kept in a folder, fetched from other servers, made smaller."""
