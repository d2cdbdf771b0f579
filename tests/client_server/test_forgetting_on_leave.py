"""Leaving is forgetting where the server says so (MSC4267)."""

from dataclasses import replace
from pathlib import Path

import pytest

from homeserver.config.settings import Rooms
from tests.database import Server
from tests.servers import eventually, own_database, serving, test_settings

V3 = "/_matrix/client/v3"


@pytest.mark.parametrize("forgets", [True, False])
async def test_leaving(postgres: Server, tmp_path: Path, forgets: bool) -> None:
    settings = replace(test_settings("one.test", tmp_path), rooms=Rooms(forget_on_leave=forgets))
    async with (
        own_database(postgres, f"forget_on_leave_{forgets}".lower()) as where,
        serving(settings, where) as hearth,
    ):
        owner, member = await hearth.user("owner"), await hearth.user("member")
        found = (await owner.get(f"{V3}/capabilities")).ok()["capabilities"]
        assert found["m.forget_forced_upon_leave"] == {"enabled": forgets}
        assert found["org.matrix.msc4267.forget_forced_upon_leave"] == {"enabled": forgets}
        made = await owner.post(f"{V3}/createRoom", {"preset": "public_chat"})
        room = made.ok()["room_id"]
        (await member.post(f"{V3}/rooms/{room}/join")).ok()
        since = (await member.get(f"{V3}/sync")).ok()["next_batch"]
        (await member.post(f"{V3}/rooms/{room}/leave")).ok()
        status = (await member.get(f"{V3}/rooms/{room}/messages", dir="b")).status
        assert status == (403 if forgets else 200)
        left = (await member.get(f"{V3}/sync", since=since)).ok()["rooms"].get("leave", {})
        assert room in left, "all devices learn that they are out"
        events = left[room].get("state", {})["events"] + left[room]["timeline"]["events"]
        assert [e["content"]["membership"] for e in events if e["type"] == "m.room.member"] == [
            "leave"
        ]


@pytest.mark.parametrize("how", ["kick", "ban", "state"])
async def test_being_sent_away_and_coming_back(postgres: Server, tmp_path: Path, how: str) -> None:
    settings = replace(test_settings("one.test", tmp_path), rooms=Rooms(forget_on_leave=True))
    async with (
        own_database(postgres, f"forget_on_{how}") as where,
        serving(settings, where) as hearth,
    ):
        owner, member = await hearth.user("owner"), await hearth.user("member")
        made = await owner.post(f"{V3}/createRoom", {"preset": "public_chat"})
        path = f"{V3}/rooms/{made.ok()['room_id']}"
        (await member.post(f"{path}/join")).ok()
        since = (await member.get(f"{V3}/sync")).ok()["next_batch"]
        if how == "state":
            state = f"{path}/state/m.room.member/{member.user_id}"
            (await member.put(state, {"membership": "leave"})).ok()
        else:
            (await owner.post(f"{path}/{how}", {"user_id": member.user_id})).ok()

        async def is_forgotten() -> bool:
            return (await member.get(f"{path}/messages", dir="b")).status == 403

        await eventually(is_forgotten)
        left = (await member.get(f"{V3}/sync", since=since)).ok()["rooms"].get("leave", {})
        assert list(left) == [made.json["room_id"]], "all devices learn that they are out"
        if how == "ban":
            (await owner.post(f"{path}/unban", {"user_id": member.user_id})).ok()
        (await member.post(f"{path}/join")).ok()
        (await member.get(f"{path}/messages", dir="b")).ok()
        # Others who are in it forget nothing.
        (await owner.get(f"{path}/messages", dir="b")).ok()
