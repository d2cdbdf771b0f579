"""Clients that run on Node.js, each a process that does what a test tells it."""
