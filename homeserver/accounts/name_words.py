"""The words by which people are found. Pure.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

import re

_MOST = 20
_LONGEST = 100
_BETWEEN = re.compile(r"[\W_]+")


def words_in(text: object) -> list[str]:
    """The words of a name or of what is searched for, folded, each once."""
    if not isinstance(text, str):
        return []
    folded = text.encode(errors="replace").decode().casefold()
    found = dict.fromkeys(word[:_LONGEST] for word in _BETWEEN.split(folded) if word)
    return list(found)[:_MOST]
