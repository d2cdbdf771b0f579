"""Settings that change what the server does."""

from pathlib import Path

from federation.identifiers import RoomAlias, ServerName
from homeserver.config.checks import NOT_BUILT, warnings
from homeserver.config.settings import Auth, Cas, Privacy, Registration, Settings
from homeserver.config.values import HttpUrl
from tests.database import Server
from tests.servers import Hearth, eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"


async def test_new_people_join_rooms(postgres: Server, tmp_path: Path) -> None:
    rooms = (RoomAlias("#nowhere:one.test"), RoomAlias("#hall:one.test"))
    registration = Registration(mode="open", auto_join=rooms)
    settings = test_settings("one.test", tmp_path, registration=registration)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as hearth,
    ):
        ann = await hearth.user("ann")
        wanted = {"preset": "public_chat", "room_alias_name": "hall"}
        room = (await ann.post(f"{V3}/createRoom", wanted)).ok()["room_id"]
        body = {
            "username": "ben",
            "password": "long enough it is",
            "auth": {"type": "m.login.dummy"},
        }
        (await hearth.anybody.post(f"{V3}/register", body)).ok()

        async def is_there() -> bool:
            members = (await ann.get(f"{V3}/rooms/{room}/joined_members")).ok()
            return "@ben:one.test" in members["joined"]

        await eventually(is_there)


async def test_profiles_of_strangers(postgres: Server, tmp_path: Path) -> None:
    privacy = Privacy(profiles_of_strangers=False)
    settings = test_settings("one.test", tmp_path, privacy=privacy)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as hearth,
    ):
        ann, ben = await hearth.user("ann"), await hearth.user("ben")
        for path in (f"{V3}/profile/{ann.user_id}", f"{V3}/profile/{ann.user_id}/displayname"):
            assert (await hearth.anybody.get(path)).errcode == "M_MISSING_TOKEN"
            assert (await ben.get(path)).errcode == "M_FORBIDDEN"
        assert (await ann.get(f"{V3}/profile/{ann.user_id}")).status == 200
        room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
        (await ben.post(f"{V3}/join/{room}")).ok()
        assert (await ben.get(f"{V3}/profile/{ann.user_id}")).status == 200


async def test_what_a_profile_is_otherwise(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    assert (await hearth.anybody.get(f"{V3}/profile/{ann.user_id}")).status == 200


def test_what_has_no_effect_is_said() -> None:
    usual = Settings(server_name=ServerName("one.test"))
    assert not [remark for remark in warnings(usual) if "nothing acts" in remark]
    cas = Auth(cas=Cas(server_url=HttpUrl("https://cas.test/")))
    given = Settings(server_name=ServerName("one.test"), auth=cas)
    assert "auth.cas" in NOT_BUILT
    assert "auth.cas: nothing acts on this setting yet" in list(warnings(given))
