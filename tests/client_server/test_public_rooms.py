"""The list of public rooms.

https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
"""

from dataclasses import replace
from typing import Any

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"


async def listed(reader: Client, **body: Any) -> list[str]:
    """The names of the rooms on a page."""
    page = (await reader.post(f"{V3}/publicRooms", body)).ok()
    return [room["name"] for room in page["chunk"]]


async def public(owner: Client, name: str, **more: Any) -> str:
    wanted = {"preset": "public_chat", "visibility": "public", "name": name, **more}
    return str((await owner.post(f"{V3}/createRoom", wanted)).ok()["room_id"])


async def test_what_is_told_of_a_room(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    room = await public(
        ann,
        "Hall",
        topic="Talk",
        room_alias_name="hall",
        creation_content={"type": "m.space"},
        initial_state=[
            {
                "type": "m.room.history_visibility",
                "content": {"history_visibility": "world_readable"},
            },
            {"type": "m.room.avatar", "content": {"url": "mxc://one.test/abc"}},
        ],
    )
    (await ben.post(f"{V3}/join/{room}")).ok()
    await public(ann, "private", preset="private_chat")
    await public(ann, "hidden", visibility="private")
    page = (await ben.get(f"{V3}/publicRooms")).ok()
    assert page == {
        "chunk": [
            {
                "room_id": room,
                "num_joined_members": 2,
                "world_readable": True,
                "guest_can_join": False,
                "join_rule": "public",
                "name": "Hall",
                "topic": "Talk",
                "avatar_url": "mxc://one.test/abc",
                "canonical_alias": "#hall:one.test",
                "room_type": "m.space",
            }
        ],
        "total_room_count_estimate": 1,
    }


async def test_pages_and_filters(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben")
    for number in range(5):
        room = await public(ann, f"Room {number}", topic="Cats" if number == 3 else "dogs")
        if number == 4:
            (await ben.post(f"{V3}/join/{room}")).ok()
    space = {"creation_content": {"type": "m.space"}}
    await public(ann, "Space", **space)
    names = ["Room 4", *(f"Room {n}" for n in range(4)), "Space"]
    found: list[str] = []
    since: dict[str, str] = {}
    for _ in range(3):
        page = (await ann.post(f"{V3}/publicRooms", {"limit": 2, **since})).ok()
        found += [room["name"] for room in page["chunk"]]
        assert ("prev_batch" in page) == bool(since)
        since = {"since": page.get("next_batch", "")}
    assert found == names
    assert since == {"since": ""}
    assert await listed(ann, filter={"generic_search_term": "cAT"}) == ["Room 3"]
    assert await listed(ann, filter={"room_types": ["m.space"]}) == ["Space"]
    assert await listed(ann, filter={"room_types": [None]}) == names[:-1]
    assert await listed(ann, third_party_instance_id="irc") == []
    answer = await ann.post(f"{V3}/publicRooms", {"since": "elsewhere"})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_without_an_account(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    await public(ann, "Hall")
    answer = await hearth.anybody.get(f"{V3}/publicRooms")
    assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN")
    house = hearth.parts.client_house
    rooms = replace(house.settings.rooms, public_list_without_login=True)
    object.__setattr__(house, "settings", replace(house.settings, rooms=rooms))
    answer = await hearth.anybody.get(f"{V3}/publicRooms")
    assert [room["name"] for room in answer.ok()["chunk"]] == ["Hall"]


async def test_lists_of_other_servers(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    await public(ann, "Hall")
    await public(ann, "Ours alone", creation_content={"m.federate": False})
    page = (await ben.get(f"{V3}/publicRooms", server=here.name)).ok()
    assert [room["name"] for room in page["chunk"]] == ["Hall"]
    page = (await ann.get(f"{V3}/publicRooms", server=here.name)).ok()
    assert [room["name"] for room in page["chunk"]] == ["Hall", "Ours alone"]
    wanted = {"filter": {"generic_search_term": "nothing"}}
    answer = await ben.post(f"{V3}/publicRooms?server={here.name}", wanted)
    assert answer.ok()["chunk"] == []
    house = here.parts.server_house
    federation = replace(house.settings.federation, public_rooms=False)
    object.__setattr__(house, "settings", replace(house.settings, federation=federation))
    answer = await ben.get(f"{V3}/publicRooms", server=here.name)
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    answer = await ben.get(f"{V3}/publicRooms", server="127.0.0.1:1")
    assert answer.status == 502
