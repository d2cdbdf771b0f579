"""What is told to those who know a server's name only.

https://spec.matrix.org/v1.19/client-server-api/#server-discovery
https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from typing import Any

from homeserver.client_server.house import House
from homeserver.errors import NotFound
from homeserver.http import Json, Request, Routes

routes = Routes("client")


@routes.get("/.well-known/matrix/client", auth=False)
async def get_wellknown(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient"""
    known = house.settings.well_known
    base_url = str(house.settings.base_url).rstrip("/")
    found: dict[str, Any] = {**known.client_extra, "m.homeserver": {"base_url": base_url}}
    if known.identity_server is not None:
        found["m.identity_server"] = {"base_url": str(known.identity_server).rstrip("/")}
    if known.rtc_foci:
        found["org.matrix.msc4143.rtc_foci"] = [dict(focus) for focus in known.rtc_foci]
    if known.authentication is not None:
        about: dict[str, str] = {"issuer": str(known.authentication.issuer)}
        if known.authentication.account is not None:
            about["account"] = str(known.authentication.account)
        found["org.matrix.msc2965.authentication"] = about
    return found


@routes.get("/.well-known/matrix/server", auth=False)
async def get_well_known_server(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver"""
    server = house.settings.well_known.server
    if server is None:
        raise NotFound("this server is reached by its name itself")
    return {"m.server": server}


@routes.get("/.well-known/matrix/support", auth=False)
async def get_wellknown_support(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport"""
    support = house.settings.support
    if not support.contacts and support.page is None:
        raise NotFound("nobody is named")
    contacts = []
    for contact in support.contacts:
        shown: dict[str, str] = {"role": contact.role}
        if contact.matrix_id is not None:
            shown["matrix_id"] = contact.matrix_id
        if contact.email_address is not None:
            shown["email_address"] = contact.email_address
        contacts.append(shown)
    found: dict[str, Any] = {"contacts": contacts} if contacts else {}
    if support.page is not None:
        found["support_page"] = str(support.page)
    return found
