"""Accounts, for administrators and their tools.

Not in the specification: the paths, parameters and answers are those of Synapse's admin API, which
bridges and moderation bots are written for. What is not kept here (kinds of users, shadow bans)
is answered as what there is none of, and refused where it is to be set.
"""

from typing import Any, Literal

import msgspec

from federation.identifiers import UserID, parse_user_id
from homeserver.accounts.administration import Changes, profile_of
from homeserver.accounts.sessions import Session
from homeserver.admin.house import House
from homeserver.admin.paging import Count, Direction, Start
from homeserver.errors import InvalidParam, NotFound
from homeserver.http import Auth, Json, Reply, Request, Routes
from homeserver.storage.account_lists import Listed, Search
from homeserver.storage.process import DAY

routes = Routes("client")

_V1 = "/_synapse/admin/v1"
_V2 = "/_synapse/admin/v2"
_SHOWN = ("displayname", "avatar_url")


class UsersQuery(msgspec.Struct):
    """Which accounts, and how many of them."""

    start: Start = msgspec.field(default=0, name="from")
    limit: Count = 100
    user_id: str | None = None
    name: str | None = None
    guests: bool = True
    deactivated: bool = False
    locked: bool = False
    admins: bool | None = None
    order_by: Literal["name", "is_guest", "admin", "deactivated", "creation_ts", "last_seen_ts"] = (
        "name"
    )
    dir: Direction = "f"


class UserBody(msgspec.Struct):
    """What an account is to be like; what is missing stays as it is."""

    password: str | None = None
    logout_devices: bool = True
    displayname: str | None | msgspec.UnsetType = msgspec.UNSET
    avatar_url: str | None | msgspec.UnsetType = msgspec.UNSET
    admin: bool | None = None
    deactivated: bool | None = None
    locked: bool | None = None
    threepids: list[Any] = []
    external_ids: list[Any] = []
    user_type: str | None = None


class AdminBody(msgspec.Struct):
    """Whether somebody is an administrator."""

    admin: bool


class DeactivateBody(msgspec.Struct):
    """How an account ends."""

    erase: bool = False


class PasswordBody(msgspec.Struct):
    """A new password for somebody."""

    new_password: str
    logout_devices: bool = True


@routes.get(_V1 + "/users/{userId}/admin", auth=Auth.ADMINISTRATOR)
async def get_user_admin(request: Request, house: House) -> Json:
    """Tell whether somebody is an administrator."""
    account = await house.administration.account(_user(request))
    return {"admin": account.is_admin}


@routes.put(_V1 + "/users/{userId}/admin", auth=Auth.ADMINISTRATOR)
async def set_user_admin(request: Request, house: House, body: AdminBody, who: Session) -> Json:
    """Make somebody an administrator, or an ordinary user."""
    account = await house.administration.account(_user(request))
    _check_not_oneself(account, body.admin, who)
    await house.administration.change(account, Changes(is_admin=body.admin))
    return {}


@routes.get(_V2 + "/users", auth=Auth.ADMINISTRATOR)
async def list_users(request: Request, house: House, query: UsersQuery) -> Json:
    """Look through the accounts."""
    search = Search(
        user_id=_clean(query.user_id),
        guests=query.guests,
        deactivated=query.deactivated,
        locked=query.locked,
        admins=query.admins,
        order_by=query.order_by,
        backwards=query.dir == "b",
    )
    page = await house.administration.search(search, _clean(query.name), query.start, query.limit)
    more = {} if page.next_start is None else {"next_token": str(page.next_start)}
    users = [_row(account) for account in page.accounts]
    return {"users": users, "total": page.total, **more}


@routes.get(_V2 + "/users/{userId}", auth=Auth.ADMINISTRATOR)
async def get_user(request: Request, house: House) -> Json:
    """One account."""
    return await _whole(house, await house.administration.account(_user(request)))


@routes.put(_V2 + "/users/{userId}", auth=Auth.ADMINISTRATOR)
async def put_user(request: Request, house: House, body: UserBody, who: Session) -> Reply:
    """Make an account, or change it."""
    user_id = _user(request)
    if body.threepids or body.external_ids or body.user_type is not None:
        raise InvalidParam("threepids, external_ids and user_type cannot be set here")
    changes = Changes(
        password=body.password,
        log_out=body.logout_devices,
        is_admin=body.admin,
        locked=body.locked,
    )
    before = await house.administration.find(user_id)
    if before is None:
        await house.administration.make(user_id, changes)
        house.welcoming.welcome(user_id)
    else:
        _check_change(before, body, who)
        await house.administration.change(before, changes)
    account = await house.administration.account(user_id)
    await _set_profile(house, account, body)
    if body.deactivated and not account.deactivated:
        await _end(house, account, erase=False)
    after = await house.administration.account(user_id)
    return Reply(201 if before is None else 200, await _whole(house, after))


@routes.get(_V1 + "/users/{userId}/joined_rooms", auth=Auth.ADMINISTRATOR)
async def get_rooms_of_user(request: Request, house: House) -> Json:
    """The rooms that somebody is in, as far as this server knows; also of other servers."""
    user_id = _user(request)
    async with house.process.database.reader() as conn:
        user = (await house.process.numbers.users.find(conn, [user_id])).get(user_id)
    if user is None:
        raise NotFound("nobody of this name is known here")
    rooms = await house.memberships.joined(user)
    return {"joined_rooms": rooms, "total": len(rooms)}


@routes.post(_V1 + "/deactivate/{userId}", auth=Auth.ADMINISTRATOR)
async def deactivate_user(request: Request, house: House, body: DeactivateBody) -> Json:
    """End somebody's account."""
    account = await house.administration.account(_user(request))
    is_untold = await _end(house, account, erase=body.erase)
    return {"id_server_unbind_result": "success" if is_untold else "no-support"}


@routes.post(_V1 + "/reset_password/{userId}", auth=Auth.ADMINISTRATOR)
async def reset_password(request: Request, house: House, body: PasswordBody) -> Json:
    """Give somebody another password."""
    account = await house.administration.account(_user(request))
    changes = Changes(password=body.new_password, log_out=body.logout_devices)
    await house.administration.change(account, changes)
    return {}


async def _end(house: House, account: Listed, *, erase: bool) -> bool:
    """End an account; whether identity servers know no more of it."""
    await house.memberships.leave_all(account.user, account.user_id)
    is_untold = await house.threepids.unbind_all(account.user, account.user_id)
    await house.management.deactivate(account.user, erase=erase)
    return is_untold


async def _set_profile(house: House, account: Listed, body: UserBody) -> None:
    wanted = {"displayname": body.displayname, "avatar_url": body.avatar_url}
    given = {name: value for name, value in wanted.items() if value is not msgspec.UNSET}
    if not given:
        return
    change = None
    for name, value in given.items():
        change = await house.profiles.impose_field(account.user, name, value or "")
    if change is not None:
        await house.memberships.show_profile(account.user, account.user_id, change.after)


def _check_not_oneself(account: Listed, is_admin: bool | None, who: Session) -> None:
    if is_admin is False and account.user == who.user:
        raise InvalidParam("you cannot make an ordinary user of yourself")


def _check_change(account: Listed, body: UserBody, who: Session) -> None:
    _check_not_oneself(account, body.admin, who)
    if account.deactivated and body.deactivated is False:
        raise InvalidParam("an account that has ended does not come back")
    if body.deactivated and body.locked:
        raise InvalidParam("an account that has ended is not locked")


def _user(request: Request) -> UserID:
    return request.param("userId", parse_user_id)


def _clean(text: str | None) -> str | None:
    """Without the one character that the database cannot hold."""
    return None if text is None else text.replace("\0", "")


def _row(account: Listed) -> dict[str, Any]:
    profile = profile_of(account)
    seen = account.last_seen_day
    return {
        "name": account.user_id,
        "is_guest": account.is_guest,
        "admin": account.is_admin,
        "deactivated": account.deactivated,
        "erased": account.erased,
        "locked": account.locked,
        "suspended": account.suspended,
        "shadow_banned": False,
        "approved": True,
        "user_type": None,
        **{name: profile.get(name) for name in _SHOWN},
        "creation_ts": account.created_day * DAY,
        "last_seen_ts": None if seen is None else seen * DAY,
    }


async def _whole(house: House, account: Listed) -> dict[str, Any]:
    addresses = await house.threepids.of(account.user)
    return {
        **_row(account),
        # In seconds here, in milliseconds in the list.
        "creation_ts": account.created_day * DAY // 1000,
        "appservice_id": account.appservice,
        "threepids": [
            {
                "medium": one.medium,
                "address": one.address,
                "added_at": one.added_ts,
                "validated_at": one.validated_ts,
            }
            for one in addresses
        ],
        "external_ids": [],
    }
