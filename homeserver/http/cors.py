"""What lets programs in browsers speak to this server: the same headers on every answer.

https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
"""

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match, Range"
    ),
    "Access-Control-Expose-Headers": "ETag, Retry-After",
}

PREFLIGHT = {**CORS, "Access-Control-Max-Age": "86400"}
"""For `OPTIONS`, which is asked before everything else; the browser may remember it for a day."""
