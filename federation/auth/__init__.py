"""Who may do what in a room.

https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
"""

from federation.auth.rules import authorise, check_auth_events
from federation.auth.selection import CREATE, auth_events_for, select

__all__ = ["CREATE", "auth_events_for", "authorise", "check_auth_events", "select"]
