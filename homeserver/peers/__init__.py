"""Dealings with other servers: their keys, requests to them, what waits to be sent."""
