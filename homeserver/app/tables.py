"""The tables of endpoints that are served."""

from collections.abc import Sequence

from homeserver.http import Routes

CLIENT: Sequence[Routes] = ()
"""All that clients ask for, media and administration too."""

FEDERATION: Sequence[Routes] = ()
"""All that other servers ask for, keys and media too."""
