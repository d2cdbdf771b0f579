"""Finding people.

https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from pathlib import Path
from typing import Any

from homeserver.config.settings import Privacy
from tests.database import Server
from tests.servers import Client, Hearth, own_database, serving, test_settings

V3 = "/_matrix/client/v3"


async def found(who: Client, term: str, **more: Any) -> list[str]:
    """The IDs of the people who are found."""
    body = {"search_term": term, **more}
    answer = (await who.post(f"{V3}/user_directory/search", body)).ok()
    return [one["user_id"] for one in answer["results"]]


async def person(hearth: Hearth, name: str, shown: str | None = None) -> Client:
    client = await hearth.user(name)
    if shown:
        path = f"{V3}/profile/{client.user_id}/displayname"
        (await client.put(path, {"displayname": shown})).ok()
    return client


async def test_by_name_and_by_id(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    zoe = await person(hearth, "zoe", "Anna-Maria Zöller")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "private_chat"})).ok()["room_id"]
    (await ann.post(f"{V3}/rooms/{room}/invite", {"user_id": zoe.user_id})).ok()
    assert await found(ann, "zöl") == [], "who shares no room yet"
    (await zoe.post(f"{V3}/join/{room}")).ok()
    for term in ("zöl", "ZÖLLER", "anna", "maria zöl", "zo", "@zoe", "zoe", "@zoe:one.test"):
        assert zoe.user_id in await found(ann, term), term
    for term in ("öller", "anna peter", "oe", "", "  ", "\0", "@"):
        assert zoe.user_id not in await found(ann, term), term
    answer = await ann.post(f"{V3}/user_directory/search", {"search_term": "zöller"})
    assert answer.ok() == {
        "results": [{"user_id": zoe.user_id, "display_name": "Anna-Maria Zöller"}],
        "limited": False,
    }
    path = f"{V3}/profile/{zoe.user_id}/displayname"
    (await zoe.put(path, {"displayname": "Somebody"})).ok()
    assert await found(ann, "zöller") == []
    assert await found(ann, "somebody") == [zoe.user_id]


async def test_people_in_public_rooms(hearth: Hearth) -> None:
    ann, eve = await hearth.user("ann"), await person(hearth, "eve", "Eve")
    assert await found(ann, "eve") == []
    (await eve.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()
    assert await found(ann, "eve") == [eve.user_id]


async def test_a_room_that_is_public_no_more(hearth: Hearth) -> None:
    ann, eve = await hearth.user("ann"), await person(hearth, "eve", "Eve")
    room = (await eve.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    rules = f"{V3}/rooms/{room}/state/m.room.join_rules"
    for rule, expected in (("invite", []), ("public", [eve.user_id]), ("knock", [])):
        (await eve.put(rules, {"join_rule": rule})).ok()
        assert await found(ann, "eve") == expected


async def test_people_in_rooms_that_anybody_may_look_into(hearth: Hearth) -> None:
    ann, eve = await hearth.user("ann"), await person(hearth, "eve", "Eve")
    room = (await eve.post(f"{V3}/createRoom", {"preset": "private_chat"})).ok()["room_id"]
    visibility = f"{V3}/rooms/{room}/state/m.room.history_visibility"
    for value, expected in (("world_readable", [eve.user_id]), ("shared", [])):
        (await eve.put(visibility, {"history_visibility": value})).ok()
        assert await found(ann, "eve") == expected


async def test_what_one_is_called_in_a_room_finds_nobody(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await person(hearth, "ben", "Ben")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}")).ok()
    path = f"{V3}/rooms/{room}/state/m.room.member/{ben.user_id}"
    (await ben.put(path, {"membership": "join", "displayname": "Nickname"})).ok()
    assert await found(ann, "nickname") == []


async def test_no_more_than_asked_for(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    for number in range(4):
        one = await hearth.user(f"person{number}")
        (await one.post(f"{V3}/join/{room}")).ok()
    body = {"search_term": "person", "limit": 3}
    answer = (await ann.post(f"{V3}/user_directory/search", body)).ok()
    assert (len(answer["results"]), answer["limited"]) == (3, True)


async def test_everybody_where_the_setting_says_so(postgres: Server, tmp_path: Path) -> None:
    privacy = Privacy(directory_of_everybody=True)
    settings = test_settings("one.test", tmp_path, privacy=privacy)
    async with (
        own_database(postgres, f"hearth_{id(tmp_path)}") as where,
        serving(settings, where) as hearth,
    ):
        ann, eve = await hearth.user("ann"), await person(hearth, "eve", "Eve")
        assert await found(ann, "eve") == [eve.user_id]


async def test_people_of_other_servers(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = (await ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()["room_id"]
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    assert await found(ann, "ben") == [ben.user_id]
    # A room is public to us as long as somebody of us is in it.
    cat = await there.user("cat")
    assert await found(cat, "ann") == [ann.user_id]
    (await ben.post(f"{V3}/rooms/{room}/leave")).ok()
    assert await found(cat, "ann") == []
