-- What receiving events from other servers needs beside the graph.
SELECT 1;
