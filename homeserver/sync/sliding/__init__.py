"""Simplified sliding sync: what a client is shown of the rooms that it asks for.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""
