"""What sliding sync tells beside rooms, what its filters select, and what a position outlives.

https://github.com/matrix-org/matrix-spec-proposals/pull/4186
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeserver.app.housekeeping import tidy
from homeserver.storage import history
from homeserver.storage.pool import Connection
from homeserver.storage.process import DAY
from tests.client_server.test_sliding_sync import ALL, V3, asked, listing, sliding, texts
from tests.client_server.test_sync import room_of, say
from tests.database import Server
from tests.servers import Client, Hearth, own_database, serving, test_settings
from tests.statements import Asked


@pytest.fixture
async def ann(hearth: Hearth) -> Client:
    return await hearth.user("ann")


@pytest.fixture
async def bob(hearth: Hearth) -> Client:
    return await hearth.user("bob")


def extended(*names: str, **more: Any) -> dict[str, Any]:
    return listing() | {"extensions": {name: {"enabled": True, **more} for name in names}}


async def data(who: Client, kind: str, content: Any, room_id: str | None = None) -> None:
    room = f"/rooms/{room_id}" if room_id else ""
    (await who.put(f"{V3}/user/{who.user_id}{room}/account_data/{kind}", content)).ok()


async def test_messages_for_a_device(ann: Client, bob: Client) -> None:
    async def send(number: int) -> None:
        messages = {bob.user_id: {bob.device_id: {"number": number}}}
        path = f"{V3}/sendToDevice/m.test/{number}"
        (await ann.put(path, {"messages": messages})).ok()

    def numbers(found: Any) -> list[int]:
        events = found["extensions"]["to_device"]["events"]
        return [event["content"]["number"] for event in events]

    def asking(since: str | None = None, limit: int = 2) -> Any:
        wanted = {"enabled": True, "limit": limit} | ({"since": since} if since else {})
        return {"extensions": {"to_device": wanted}, "conn_id": "encryption"}

    first = await sliding(bob, asking())
    assert numbers(first) == []
    since = first["extensions"]["to_device"]["next_batch"]
    waiting = asyncio.create_task(sliding(bob, asking(since), first["pos"], timeout="20000"))
    await send(0)
    async with asyncio.timeout(5):
        second = await waiting
    assert numbers(second) == [0]
    await send(1)
    await send(2)
    # Not acknowledged yet, so it comes again; no more than two.
    third = await sliding(bob, asking(since), first["pos"])
    assert numbers(third) == [0, 1]
    since = third["extensions"]["to_device"]["next_batch"]
    fourth = await sliding(bob, asking(since), third["pos"])
    assert numbers(fourth) == [2]
    # What was acknowledged is gone, also for a connection that begins anew.
    assert numbers(await sliding(bob, asking())) == [2]
    bad = await asked(bob, asking("nonsense"))
    assert (bad.status, bad.errcode) == (400, "M_INVALID_PARAM")


async def test_devices_that_changed(ann: Client, bob: Client) -> None:
    first = await sliding(ann, extended("e2ee"))
    assert first["extensions"]["e2ee"] == {
        "device_one_time_keys_count": {"signed_curve25519": 0},
        "device_unused_fallback_key_types": [],
    }
    room_id = await room_of(ann)
    first = await sliding(ann, {"extensions": {"e2ee": {"enabled": True}}}, first["pos"])
    asking = {"extensions": {"e2ee": {"enabled": True}}}
    waiting = asyncio.create_task(sliding(ann, asking, first["pos"], timeout="20000"))
    await asyncio.sleep(0.1)
    (await bob.post(f"{V3}/join/{room_id}")).ok()
    async with asyncio.timeout(5):
        second = await waiting
    assert second["extensions"]["e2ee"]["device_lists"] == {"changed": [bob.user_id], "left": []}
    third = await sliding(ann, asking, second["pos"])
    assert "device_lists" not in third["extensions"]["e2ee"]
    await say(bob, room_id, "nothing new")
    fourth = await sliding(ann, asking, third["pos"])
    assert "device_lists" not in fourth["extensions"]["e2ee"]
    (await bob.post(f"{V3}/rooms/{room_id}/leave")).ok()
    fifth = await sliding(ann, asking, fourth["pos"])
    assert fifth["extensions"]["e2ee"]["device_lists"]["left"] == [bob.user_id]


async def test_a_device_that_changes_wakes_who_shares_a_room(ann: Client, bob: Client) -> None:
    await room_of(ann, bob)
    other = await bob.log_in_again()
    asking = {"extensions": {"e2ee": {"enabled": True}}, "conn_id": "encryption"}
    pos = (await sliding(ann, asking))["pos"]
    pos = (await sliding(ann, asking, pos))["pos"]
    since = (await ann.get(f"{V3}/sync")).ok()["next_batch"]
    waiting = asyncio.create_task(sliding(ann, asking, pos, timeout="20000"))
    old_way = asyncio.create_task(ann.get(f"{V3}/sync", since=since, timeout="20000"))
    await asyncio.sleep(0.1)
    (await other.post(f"{V3}/logout")).ok()
    async with asyncio.timeout(5):
        found, v3 = await waiting, (await old_way).ok()
    assert found["extensions"]["e2ee"]["device_lists"]["changed"] == [bob.user_id]
    assert v3["device_lists"]["changed"] == [bob.user_id]


async def test_account_data(ann: Client) -> None:
    room_id, other = await room_of(ann), await room_of(ann)
    await data(ann, "org.one", {"n": 1})
    await data(ann, "org.room", {"n": 1}, room_id)
    first = await sliding(ann, extended("account_data"))
    found = first["extensions"]["account_data"]
    assert {"m.push_rules", "org.one"} <= {event["type"] for event in found["global"]}
    assert found["rooms"] == {room_id: [{"type": "org.room", "content": {"n": 1}}]}
    waiting = asyncio.create_task(
        sliding(ann, extended("account_data"), first["pos"], timeout="20000")
    )
    await data(ann, "org.room", {"n": 2}, other)
    async with asyncio.timeout(5):
        second = await waiting
    assert second["extensions"]["account_data"] == {
        "rooms": {other: [{"type": "org.room", "content": {"n": 2}}]}
    }
    third = await sliding(ann, extended("account_data"), second["pos"])
    assert third["extensions"] == {}
    # Wanted for no list: only what is everybody's.
    await data(ann, "org.room", {"n": 3}, other)
    await data(ann, "org.one", {"n": 3})
    none = await sliding(ann, extended("account_data", lists=[], rooms=[]), third["pos"])
    assert none["extensions"]["account_data"].keys() == {"global"}


async def test_account_data_of_a_room_out_of_sight(ann: Client) -> None:
    one, _ = await room_of(ann), await room_of(ann)
    narrow = extended("account_data") | listing(ranges=[[0, 0]])
    pos = (await sliding(ann, extended("account_data")))["pos"]
    await data(ann, "org.room", {"n": 1}, one)
    found = await sliding(ann, narrow, pos)
    assert found["extensions"] == {}
    back = await sliding(ann, extended("account_data"), found["pos"])
    assert list(back["extensions"]["account_data"]["rooms"]) == [one]


async def read_up_to(who: Client, room_id: str, event_id: str, kind: str = "m.read") -> None:
    (await who.post(f"{V3}/rooms/{room_id}/receipt/{kind}/{event_id}")).ok()


async def test_receipts(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    old, new = await say(ann, room_id, "old"), await say(ann, room_id, "new")
    await read_up_to(bob, room_id, old)
    await read_up_to(ann, room_id, old, "m.read.private")
    short = extended("receipts") | listing(timeline_limit=1)
    # Of others only what is shown; one's own always.
    mine = (await sliding(ann, short))["extensions"]["receipts"]["rooms"][room_id]
    assert mine["type"] == "m.receipt"
    assert mine["content"].keys() == {old}
    assert mine["content"][old].keys() == {"m.read.private"}
    await read_up_to(bob, room_id, new)
    first = await sliding(ann, short)
    content = first["extensions"]["receipts"]["rooms"][room_id]["content"]
    assert content[new]["m.read"].keys() == {bob.user_id}
    waiting = asyncio.create_task(sliding(ann, short, first["pos"], timeout="20000"))
    newest = await say(bob, room_id, "newest")
    async with asyncio.timeout(5):
        second = await waiting
    assert "receipts" not in second["extensions"]
    await read_up_to(bob, room_id, newest)
    third = await sliding(ann, short, second["pos"])
    assert third["rooms"] == {}
    assert third["extensions"]["receipts"]["rooms"][room_id]["content"].keys() == {newest}
    assert (await sliding(ann, short, third["pos"]))["extensions"] == {}


async def test_typing(ann: Client, bob: Client) -> None:
    room_id = await room_of(ann, bob)
    first = await sliding(ann, extended("typing"))
    assert first["extensions"] == {}
    waiting = asyncio.create_task(sliding(ann, extended("typing"), first["pos"], timeout="20000"))
    await asyncio.sleep(0.05)
    path = f"{V3}/rooms/{room_id}/typing/{bob.user_id}"
    (await bob.put(path, {"typing": True, "timeout": 20000})).ok()
    async with asyncio.timeout(5):
        second = await waiting
    wanted = {"rooms": {room_id: {"type": "m.typing", "content": {"user_ids": [bob.user_id]}}}}
    assert second["extensions"]["typing"] == wanted
    assert (await sliding(ann, extended("typing"), second["pos"]))["extensions"] == {}
    assert (await sliding(ann, extended("typing")))["extensions"]["typing"] == wanted


SCOPES: list[tuple[dict[str, Any], str]] = [
    ({}, "listed opened"),
    ({"lists": ["all"]}, "listed opened"),
    ({"lists": ["*"], "rooms": []}, "listed"),
    ({"lists": ["other"]}, "opened"),
    ({"lists": [], "rooms": ["*"]}, "opened"),
    ({"lists": [], "rooms": []}, ""),
    ({"lists": [], "rooms": ["LISTED"]}, "listed"),
    # What nobody asks for is not told, whatever the extension wants.
    ({"lists": [], "rooms": ["HIDDEN"]}, ""),
]


async def test_extensions_are_for_the_rooms_that_they_name(ann: Client, bob: Client) -> None:
    """Of the lists and subscriptions that there are; MSC3575, "Extensions"."""
    hidden, opened, listed = [await room_of(ann, bob) for _ in range(3)]
    for room_id in (hidden, opened, listed):
        said = await say(ann, room_id, "read me")
        await read_up_to(bob, room_id, said)
        await data(ann, "org.room", {"n": 1}, room_id)
        typing = f"{V3}/rooms/{room_id}/typing/{bob.user_id}"
        (await bob.put(typing, {"typing": True, "timeout": 30_000})).ok()
    names = {listed: "listed", opened: "opened", hidden: "hidden"}
    config = {"timeline_limit": 1, "required_state": []}
    wrong = {}
    for scope, expected in SCOPES:
        named = {"LISTED": listed, "HIDDEN": hidden}
        rooms = {"rooms": [named.get(r, r) for r in scope["rooms"]]} if "rooms" in scope else {}
        asking = {"enabled": True, **scope, **rooms}
        body = {
            "lists": {"all": config | {"ranges": [[0, 0]]}},
            "room_subscriptions": {opened: config},
            "extensions": dict.fromkeys(("receipts", "typing", "account_data"), asking),
        }
        told = (await sliding(ann, body))["extensions"]
        for name in ("receipts", "typing", "account_data"):
            found = " ".join(sorted(names[r] for r in told.get(name, {}).get("rooms", {})))
            if found != expected:
                wrong[name, str(scope)] = found
    assert wrong == {}


async def selected(who: Client, **filters: Any) -> set[str]:
    found = await sliding(who, listing(filters=filters))
    assert found["lists"]["all"]["count"] == len(found["rooms"])
    return set(found["rooms"])


async def test_filters(ann: Client, bob: Client) -> None:
    plain = await room_of(ann)
    secret = await room_of(
        ann,
        initial_state=[
            {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        ],
    )
    space = await room_of(ann, creation_content={"type": "m.space"})
    child = {"via": ["one.test"]}
    (await ann.put(f"{V3}/rooms/{space}/state/m.space.child/{plain}", child)).ok()
    asked_in = await room_of(bob, invite=[ann.user_id], creation_content={"type": "org.odd"})
    await data(ann, "m.direct", {bob.user_id: [secret]})
    await data(ann, "m.tag", {"tags": {"m.favourite": {}, "u.x": {}}}, plain)
    everything = {plain, secret, space, asked_in}
    assert await selected(ann) == everything
    assert await selected(ann, is_dm=True) == {secret}
    assert await selected(ann, is_dm=False) == everything - {secret}
    assert await selected(ann, is_encrypted=True) == {secret}
    assert await selected(ann, is_encrypted=False) == everything - {secret}
    assert await selected(ann, is_invite=True) == {asked_in}
    assert await selected(ann, is_invited=False) == everything - {asked_in}
    assert await selected(ann, room_types=["m.space", "org.odd"]) == {space, asked_in}
    assert await selected(ann, room_types=[None]) == {plain, secret}
    assert await selected(ann, not_room_types=["m.space"]) == everything - {space}
    assert await selected(ann, room_types=["m.space"], not_room_types=["m.space"]) == set()
    assert await selected(ann, tags=["m.favourite"]) == {plain}
    assert await selected(ann, tags=["m.favourite"], not_tags=["u.x"]) == set()
    assert await selected(ann, not_tags=["u.x"]) == everything - {plain}
    assert await selected(ann, spaces=[space]) == {plain}
    assert await selected(ann, spaces=["!unknown:one.test"]) == set()


async def test_what_filters_ask_may_change(ann: Client) -> None:
    room_id = await room_of(ann)
    body = listing(filters={"is_encrypted": True, "is_dm": True})
    first = await sliding(ann, body)
    assert first["lists"]["all"]["count"] == 0
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    (await ann.put(f"{V3}/rooms/{room_id}/state/m.room.encryption", content)).ok()
    second = await sliding(ann, body, first["pos"])
    assert second["rooms"] == {}
    await data(ann, "m.direct", {"@x:one.test": [room_id]})
    third = await sliding(ann, body, second["pos"])
    assert third["rooms"][room_id]["is_dm"] is True
    await data(ann, "m.direct", {})
    fourth = await sliding(ann, listing(), third["pos"])
    assert fourth["rooms"][room_id]["is_dm"] is False


async def test_nobody_is_bothered_by_invitations_of_ignored_users(ann: Client, bob: Client) -> None:
    pos = (await sliding(ann, ALL))["pos"]
    await data(ann, "m.ignored_user_list", {"ignored_users": {bob.user_id: {}}})
    room_id = await room_of(bob, invite=[ann.user_id])
    ignoring = await sliding(ann, ALL, pos)
    assert (ignoring["rooms"], ignoring["lists"]["all"]["count"]) == ({}, 0)
    assert "rooms" not in (await ann.get(f"{V3}/sync")).ok()
    await data(ann, "m.ignored_user_list", {"ignored_users": {}})
    assert set((await sliding(ann, ALL, ignoring["pos"]))["rooms"]) == {room_id}


async def test_what_cannot_be_asked(ann: Client) -> None:
    for body, errcode in (
        ({"lists": {str(n): {"timeline_limit": 1} for n in range(101)}}, "M_INVALID_PARAM"),
        (listing(ranges=[[5, 1]]), "M_INVALID_PARAM"),
        (listing(ranges=[[0, -1]]), "M_INVALID_PARAM"),
        ({"conn_id": "\0"}, "M_INVALID_PARAM"),
        ({"room_subscriptions": {"nonsense": {"timeline_limit": 1}}}, "M_INVALID_PARAM"),
        ({"lists": {"all": {}}}, "M_MISSING_PARAM"),
        ({"set_presence": "asleep"}, "M_INVALID_PARAM"),
        (listing(required_state=[["m.room.name\0", ""]]), "M_INVALID_PARAM"),
        (listing(required_state=[["m.room.name", "\0"]]), "M_INVALID_PARAM"),
        (listing(required_state={"include": [{"type": "\0"}]}), "M_INVALID_PARAM"),
        ({"conn_id": "\ud800"}, "M_NOT_JSON"),
        (listing(required_state=[["\ud800", ""]]), "M_NOT_JSON"),
        ({"lists": {"\ud800": {"timeline_limit": 1}}}, "M_NOT_JSON"),
    ):
        answer = await asked(ann, body)
        assert (answer.status, answer.errcode) == (400, errcode), body


async def test_nothing_new_costs_no_query(ann: Client, bob: Client, asked: Asked) -> None:
    for _ in range(3):
        await room_of(ann, bob)
    names = ("to_device", "e2ee", "account_data", "receipts", "typing")
    body = extended(*names) | listing(filters={"is_encrypted": False, "not_tags": ["u.x"]})
    pos = (await sliding(bob, body))["pos"]
    found = await sliding(bob, body, pos)
    pos, since = found["pos"], found["extensions"]["to_device"]["next_batch"]
    body["extensions"]["to_device"]["since"] = since
    pos = (await sliding(bob, body, pos))["pos"]
    asked.statements.clear()
    for _ in range(3):
        pos = (await sliding(bob, body, pos))["pos"]
    assert asked.statements == []


async def test_a_position_outlives_its_process(postgres: Server, tmp_path: Path) -> None:
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        async with serving(settings, where) as before:
            ann = await before.user("ann")
            room_id = await room_of(ann)
            await say(ann, room_id, "one")
            first = await sliding(ann, ALL)
            await say(ann, room_id, "two")
        async with serving(settings, where) as after:
            again = Client(after, ann.token, ann.user_id, ann.device_id)
            second = await sliding(again, ALL, first["pos"])
            room = second["rooms"][room_id]
            assert (texts(room), "initial" in room) == (["two"], False)
            repeated = await sliding(again, ALL, first["pos"])
            assert texts(repeated["rooms"][room_id]) == ["two"]


async def stored(hearth: Hearth) -> int:
    async with hearth.parts.base.process.database.reader() as conn:
        return int(await conn.fetchval("SELECT count(*) FROM sliding_positions"))


async def test_what_is_stored_is_bounded(hearth: Hearth, ann: Client) -> None:
    body = ALL
    pos = (await sliding(ann, body))["pos"]
    for _ in range(3):
        room_id = await room_of(ann)
        pos = (await sliding(ann, body, pos))["pos"]
    written = await stored(hearth)
    for number in range(5):
        await say(ann, room_id, str(number))
        pos = (await sliding(ann, body, pos))["pos"]
    # A room that is followed is told of without a write.
    assert await stored(hearth) == written
    base = pos
    for _ in range(6):
        await room_of(ann)
        await sliding(ann, body, base)
    assert await stored(hearth) <= 4
    assert (await asked(ann, body, base)).status == 200
    for number in range(40):
        await sliding(ann, {"conn_id": str(number)})
    assert await stored(hearth) <= 31
    (await ann.post(f"{V3}/logout")).ok()
    assert await stored(hearth) == 0


async def test_an_unused_connection_ends(
    hearth: Hearth, ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pos = (await sliding(ann, ALL))["pos"]
    await tidy(hearth.parts)
    assert (await asked(ann, ALL, pos)).status == 200
    process = hearth.parts.base.process
    later = process.now() + 40 * DAY
    monkeypatch.setattr(type(process), "today", later // DAY)
    await tidy(hearth.parts)
    assert (await asked(ann, ALL, pos)).errcode == "M_UNKNOWN_POS"


async def test_after_a_restart_only_what_happened_is_read(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = test_settings("one.test", tmp_path)
    async with own_database(postgres, f"hearth_{id(tmp_path)}") as where:
        async with serving(settings, where) as before:
            ann = await before.user("ann")
            rooms = [await room_of(ann) for _ in range(3)]
            first = await sliding(ann, ALL)
            await say(ann, rooms[1], "two")
        async with serving(settings, where) as after:
            again = Client(after, ann.token, ann.user_id, ann.device_id)
            asked_for: list[int] = []
            pages = history.pages

            async def counted(conn: Connection, spans: Any, limit: Any) -> Any:
                asked_for.extend(spans)
                return await pages(conn, spans, limit)

            monkeypatch.setattr(history, "pages", counted)
            second = await sliding(again, ALL, first["pos"])
            assert list(second["rooms"]) == [rooms[1]]
            assert len(asked_for) == 1
