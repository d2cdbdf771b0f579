"""Merging the states of a room's branches into one.

https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
"""

from federation.state_resolution.resolve import resolve

__all__ = ["resolve"]
