"""The headers of pages for people in a browser."""

from collections.abc import Mapping


def html_headers(beside: str = "") -> Mapping[str, str]:
    """What a page may do: show itself and send its form, and what else is named here."""
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{policy}; {beside}" if beside else policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
