"""Registration by whoever knows the shared secret; what test rigs and tools use.

Not in the specification, but the same with every homeserver that has it: GET answers a nonce, POST
takes it back with the account under a MAC.
"""

import msgspec

from homeserver.accounts.logins import DeviceWish
from homeserver.accounts.registrations import Wish
from homeserver.accounts.shared_secret import Asked, is_right, new_nonce, take_nonce
from homeserver.admin.house import House
from homeserver.errors import Forbidden, MatrixError, Unrecognized
from homeserver.http import Json, Limit, Request, Routes

routes = Routes("client", limit=Limit("registration", "address"))


class RegisterBody(msgspec.Struct):
    """Who is to have an account, and the proof that the secret is known."""

    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None
    inhibit_login: bool = False


@routes.get("/_synapse/admin/v1/register", auth=False)
async def get_registration_nonce(request: Request, house: House) -> Json:
    """Hand out a nonce."""
    _secret(house)
    return {"nonce": await new_nonce(house.process)}


@routes.post("/_synapse/admin/v1/register", auth=False)
async def register_with_shared_secret(request: Request, house: House, body: RegisterBody) -> Json:
    """Make the account, and log it in."""
    secret = _secret(house)
    if not await take_nonce(house.process, body.nonce):
        raise MatrixError("unknown nonce: ask for a new one")
    asked = Asked(body.nonce, body.username, body.password, body.admin, body.user_type)
    if not is_right(secret, asked, body.mac):
        raise Forbidden("the MAC is not right")
    if not body.admin:
        await house.registrations.check_place()
    user = await house.new_accounts.add(body.username, body.password, is_admin=body.admin)
    if body.displayname:
        await house.profiles.set_field(user, "displayname", body.displayname)
    wish = Wish(body.username, None, DeviceWish(), body.inhibit_login)
    made = await house.registrations.finish(user, wish)
    house.welcoming.welcome(made.user_id)
    if made.login is None:
        return {"user_id": made.user_id, "home_server": house.process.server}
    return {
        "user_id": made.user_id,
        "device_id": made.login.device_id,
        "access_token": made.login.tokens.access_token,
        "home_server": house.process.server,
    }


def _secret(house: House) -> str:
    secret = house.settings.registration.shared_secret
    if secret is None:
        raise Unrecognized("there is no shared secret")
    return secret.reveal()
