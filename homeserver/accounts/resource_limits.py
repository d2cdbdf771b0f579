"""Whether the server can be used at all.

https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
"""

from homeserver.config.settings import ResourceLimits as Settings
from homeserver.errors import ResourceLimitExceeded

BLOCKED = "hs_disabled"
"""The `limit_type` by which clients know that it was the administrators who closed the server."""


class ResourceLimits:
    """Refuses people while the server is closed; administrators never.

    Args:
        settings: whether it is (`resource_limits.blocked`), and whom to ask.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, *, is_admin: bool = False) -> None:
        """Raise `ResourceLimitExceeded` for whom the server is closed."""
        blocked = self._settings.blocked
        if blocked is not None and not is_admin:
            contact = self._settings.admin_contact
            raise ResourceLimitExceeded(blocked, admin_contact=contact, limit_type=BLOCKED)
