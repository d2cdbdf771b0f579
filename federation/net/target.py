"""Request targets: the path and query of a request, exactly as sent and as signed.

https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

_TARGET = re.compile(r"/[!$-~]*", re.ASCII)  # visible ASCII but `"` and `#`


def encode_target(*segments: str, query: Iterable[tuple[str, str]] = ()) -> str:
    """Join path segments and query parameters, percent-encoding each of them.

    `encode_target("_matrix", "federation", "v1", "event", "$a/b")` is
    `/_matrix/federation/v1/event/%24a%2Fb`; an empty last segment leaves a slash at the end.
    """
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    encoded = urlencode(list(query), quote_via=quote, safe="")
    return f"{path}?{encoded}" if encoded else path


def is_target(text: str) -> bool:
    """Whether `text` can stand in a request line as it is."""
    return _TARGET.fullmatch(text) is not None
