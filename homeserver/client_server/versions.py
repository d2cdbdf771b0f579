"""Which versions of the API are served, and what beyond them.

https://spec.matrix.org/v1.19/client-server-api/#api-versions
"""

from homeserver.client_server.house import House
from homeserver.http import Json, Request, Routes

routes = Routes("client")

VERSIONS = ("r0.6.1", *(f"v1.{minor}" for minor in range(1, 20)))
"""What is left out is optional, or says so: OAuth 2.0 (v1.15) answers 404."""

FEATURES = (
    "org.matrix.msc1763",
    "org.matrix.msc3266",
    "org.matrix.msc3391",
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
    "org.matrix.msc3814",
    "org.matrix.msc3874",
    "org.matrix.msc3881",
    "org.matrix.msc3916.stable",
    "org.matrix.msc4115",
    "org.matrix.msc4140",
    "org.matrix.msc4155",
    "org.matrix.msc4306",
    "org.matrix.msc4354",
    "org.matrix.msc4380",
    "org.matrix.msc4380.stable",
    "org.matrix.simplified_msc3575",
    "uk.timedout.msc4323",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
)
"""Flags of what is served although no version above promises it."""


@routes.get("/_matrix/client/versions", auth=False)
async def get_versions(request: Request, house: House) -> Json:
    """https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions"""
    encryption = house.settings.rooms.encryption
    return {
        "versions": list(VERSIONS),
        "unstable_features": {
            **dict.fromkeys(FEATURES, True),
            # COMPAT(Element): it shows that the choice is not the person's.
            "io.element.e2ee_forced.private": encryption.private_chat,
            "io.element.e2ee_forced.trusted_private": encryption.trusted_private_chat,
            "io.element.e2ee_forced.public": encryption.public_chat,
            **({"fi.mau.msc2815": True} if house.settings.redaction.keep else {}),
        },
    }
