"""Accounts, as bridges and moderation bots look at them and change them."""

import pytest

from tests.client_server.stage import staged
from tests.servers import Client, Hearth

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"


@pytest.fixture
async def root(hearth: Hearth) -> Client:
    return await hearth.user("root", is_admin=True)


async def test_who_is_an_administrator(hearth: Hearth, root: Client) -> None:
    ann = await hearth.user("ann")
    path = f"{V1}/users/{ann.user_id}/admin"
    assert (await root.get(path)).ok() == {"admin": False}
    assert (await root.put(path, {"admin": True})).ok() == {}
    assert (await ann.get(path)).ok() == {"admin": True}
    assert (await root.put(path, {"admin": False})).ok() == {}
    assert (await ann.get(path)).errcode == "M_FORBIDDEN"
    own = await root.put(f"{V1}/users/{root.user_id}/admin", {"admin": False})
    assert (own.status, own.errcode) == (400, "M_INVALID_PARAM")
    for user, status in ((f"@nobody:{hearth.name}", 404), ("@ann:elsewhere", 400), ("ann", 400)):
        assert (await root.get(f"{V1}/users/{user}/admin")).status == status
    assert (await hearth.anybody.get(path)).status == 401


async def test_looked_through_page_by_page(hearth: Hearth, root: Client) -> None:
    for name in ("ann", "ben", "cid"):
        await hearth.user(name)
    await hearth.anybody.ask("POST", "/_matrix/client/v3/register?kind=guest", {})
    first = (await root.get(f"{V2}/users", limit=2, guests="false")).ok()
    assert [user["name"] for user in first["users"]] == ["@ann:one.test", "@ben:one.test"]
    assert (first["total"], first["next_token"]) == (4, "2")
    second = (await root.get(f"{V2}/users", **{"from": "2"}, guests="false")).ok()
    assert [user["name"] for user in second["users"]] == ["@cid:one.test", "@root:one.test"]
    assert "next_token" not in second
    assert (await root.get(f"{V2}/users")).ok()["total"] == 5
    behind = (await root.get(f"{V2}/users", **{"from": "50"})).ok()
    assert (behind["users"], behind["total"]) == ([], 5)
    for wrong in ({"from": "-1"}, {"limit": "x"}, {"order_by": "password"}, {"dir": "up"}):
        assert (await root.get(f"{V2}/users", **wrong)).status == 400


async def test_filters_and_orders(hearth: Hearth, root: Client) -> None:
    ann = await hearth.user("ann")
    ben = await hearth.user("ben")
    field = f"/_matrix/client/v3/profile/{ben.user_id}/displayname"
    (await ben.put(field, {"displayname": "Benedict Moss"})).ok()

    async def names(**query: str) -> list[str]:
        found = (await root.get(f"{V2}/users", **query)).ok()
        return [user["name"].split(":")[0] for user in found["users"]]

    assert await names(name="AN") == ["@ann"]
    assert await names(name="moss") == ["@ben"]
    assert await names(name="one.test") == []
    assert await names(user_id="nn:one") == ["@ann"]
    assert await names(name="\0") == ["@ann", "@ben", "@root"]
    assert await names(admins="true") == ["@root"]
    assert await names(dir="b") == ["@root", "@ben", "@ann"]
    assert await names(order_by="admin", dir="b") == ["@root", "@ann", "@ben"]
    (await root.post(f"{V1}/deactivate/{ann.user_id}")).ok()
    assert await names() == ["@ben", "@root"]
    assert await names(deactivated="true") == ["@ann", "@ben", "@root"]
    (await root.put(f"{V2}/users/{ben.user_id}", {"locked": True})).ok()
    assert await names() == ["@root"]
    assert await names(locked="true") == ["@ben", "@root"]


async def test_an_account_is_made_and_changed(hearth: Hearth, root: Client) -> None:
    path = f"{V2}/users/@bot:{hearth.name}"
    assert (await root.get(path)).status == 404
    wanted = {"password": "a long password", "displayname": "Bot", "admin": True}
    made = await root.put(path, wanted)
    assert made.status == 201
    assert (made.json["name"], made.json["displayname"]) == (f"@bot:{hearth.name}", "Bot")
    assert made.json["admin"]
    assert made.json["creation_ts"] < 10**11
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "bot"},
        "password": "a long password",
    }
    token = (await hearth.anybody.post("/_matrix/client/v3/login", login)).ok()["access_token"]
    bot = Client(hearth, token, f"@bot:{hearth.name}")
    room = await staged(bot)
    changed = await root.put(path, {"displayname": "Robot", "avatar_url": "mxc://x/y"})
    assert changed.status == 200
    assert (changed.json["displayname"], changed.json["avatar_url"]) == ("Robot", "mxc://x/y")
    member = (await bot.get(f"{room.path}/state/m.room.member/{bot.user_id}")).ok()
    assert member["displayname"] == "Robot"
    assert (await root.put(path, {"displayname": None})).json["displayname"] is None
    (await root.put(path, {"password": "another password", "logout_devices": False})).ok()
    assert (await bot.get("/_matrix/client/v3/account/whoami")).status == 200
    (await root.post(f"{V1}/reset_password/{bot.user_id}", {"new_password": "a third one"})).ok()
    assert (await bot.get("/_matrix/client/v3/account/whoami")).status == 401
    weak = await root.post(f"{V1}/reset_password/{bot.user_id}", {"new_password": "x"})
    assert weak.errcode == "M_WEAK_PASSWORD"
    wrong: list[dict[str, object]] = [{"threepids": [{}]}, {"user_type": "bot"}, {"admin": "yes"}]
    for body in wrong:
        assert (await root.put(path, body)).status == 400


async def test_the_end_of_an_account(hearth: Hearth, root: Client) -> None:
    ann = await hearth.user("ann")
    room = await staged(ann)
    listed = (await root.get(f"{V1}/users/{ann.user_id}/joined_rooms")).ok()
    assert listed == {"joined_rooms": [room.room_id], "total": 1}
    assert (await root.get(f"{V1}/users/@nobody:{hearth.name}/joined_rooms")).status == 404
    path = f"{V2}/users/{ann.user_id}"
    ended = (await root.put(path, {"deactivated": True})).ok()
    assert ended["deactivated"]
    assert not ended["erased"]
    assert (await ann.get("/_matrix/client/v3/account/whoami")).status == 401
    assert (await root.get(f"{V1}/users/{ann.user_id}/joined_rooms")).ok()["total"] == 0
    (await root.post(f"{V1}/deactivate/{ann.user_id}", {"erase": True})).ok()
    assert (await root.get(path)).ok()["erased"]
    assert (await root.put(path, {"deactivated": False})).status == 400


async def test_the_version(hearth: Hearth, root: Client) -> None:
    found = (await root.get(f"{V1}/server_version")).ok()
    assert found["server_version"].startswith("Hearth ")
