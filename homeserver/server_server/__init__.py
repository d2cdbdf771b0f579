"""The server-server API: one module per section, one function per operation."""
