"""The rim that all endpoints stand on: requests in, answers out, and what every one has in common.

An endpoint is a function in a table (`routes`). What it needs is read from its parameters
(`binding`), brought in by `dispatch` (who asks, how often, the query, the body), and what it
returns or raises becomes an answer (`replies`, `failures`). Nothing here knows an endpoint.

https://spec.matrix.org/v1.19/client-server-api/#api-standards
"""

from homeserver.http.authentication import Authenticator
from homeserver.http.bodies import BodyStream
from homeserver.http.replies import Answer, Json, Reply, Stream, redirect
from homeserver.http.requests import Caller, Request, parsed
from homeserver.http.routes import Auth, Limit, Routes

__all__ = [
    "Answer",
    "Auth",
    "Authenticator",
    "BodyStream",
    "Caller",
    "Json",
    "Limit",
    "Reply",
    "Request",
    "Routes",
    "Stream",
    "parsed",
    "redirect",
]
