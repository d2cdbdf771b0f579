"""What this server lets clients do.

https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation
"""

from federation.room_versions import ROOM_VERSIONS
from homeserver.accounts.profile_fields import Changeable
from homeserver.accounts.sessions import Session
from homeserver.client_server.house import House
from homeserver.config.settings import Settings
from homeserver.http import Json, Request, Routes

routes = Routes("client")


@routes.get("/_matrix/client/v3/capabilities", auth=True)
async def get_capabilities(request: Request, house: House, who: Session) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities"""
    return {"capabilities": capabilities(house.settings, is_admin=who.is_admin)}


def capabilities(settings: Settings, *, is_admin: bool) -> dict[str, object]:
    """All of them, following the settings."""
    may = settings.accounts
    delayed = settings.rooms.delayed_events
    fields = Changeable(may.change_displayname, may.change_avatar, may.custom_profile_fields)
    return {
        "m.room_versions": {
            "default": settings.rooms.default_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
        },
        "m.change_password": {"enabled": settings.auth.passwords and may.change_password},
        "m.set_displayname": {"enabled": may.change_displayname},
        "m.set_avatar_url": {"enabled": may.change_avatar},
        "m.profile_fields": fields.capability(),
        # COMPAT(clients from before it was in the specification) MSC4133
        "uk.tcpip.msc4133.profile_fields": fields.capability(),
        "m.3pid_changes": {"enabled": may.change_3pid and settings.smtp is not None},
        "m.get_login_token": {"enabled": settings.auth.login_tokens},
        "m.account_moderation": {"lock": is_admin, "suspend": is_admin},
        # COMPAT(clients from before it was in the specification) MSC4323
        "uk.timedout.msc4323": {"lock": is_admin, "suspend": is_admin},
        "m.forget_forced_upon_leave": {"enabled": settings.rooms.forget_on_leave},
        # COMPAT(clients from before it was in the specification) MSC4267
        "org.matrix.msc4267.forget_forced_upon_leave": {"enabled": settings.rooms.forget_on_leave},
        "io.element.msc4452.preview_url": {"enabled": settings.previews.enabled},
        "org.matrix.msc4140.delayed_events": {
            "max_delay_ms": delayed.max_delay.milliseconds,
            "max_scheduled": delayed.max_scheduled,
        },
    }
