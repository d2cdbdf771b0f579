"""Messages to devices: all of them, once, in order.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

from typing import Any

import pytest

from homeserver.storage import to_device
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"


async def send(sender: Client, messages: Any, txn: str, kind: str = "m.test") -> None:
    path = f"{V3}/sendToDevice/{kind}/{txn}"
    assert (await sender.put(path, {"messages": messages})).ok() == {}


async def received(reader: Client, since: str | None = None) -> tuple[list[Any], str]:
    more = {"since": since} if since else {}
    answer = (await reader.get(f"{V3}/sync", timeout=0, **more)).ok()
    return answer.get("to_device", {}).get("events", []), answer["next_batch"]


async def test_to_one_device_and_to_all(hearth: Hearth) -> None:
    ann, phone = await hearth.user("ann", "DESK"), await hearth.user("ben", "PHONE")
    tablet = await phone.log_in_again("TABLET")
    await send(ann, {phone.user_id: {"PHONE": {"n": 1}}}, "1")
    await send(ann, {phone.user_id: {"*": {"n": 2}}}, "2")
    for device, expected in ((phone, [1, 2]), (tablet, [2])):
        found, _ = await received(device)
        assert [event["content"]["n"] for event in found] == expected
        assert {(event["sender"], event["type"]) for event in found} == {(ann.user_id, "m.test")}
        assert all(event.keys() == {"sender", "type", "content"} for event in found)


async def test_a_repeated_request_sends_once(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben", "PHONE")
    for _ in range(3):
        await send(ann, {ben.user_id: {"PHONE": {}}}, "same")
    await send(ann, {ben.user_id: {"PHONE": {}}}, "same", "m.other")
    found, _ = await received(ben)
    assert [event["type"] for event in found] == ["m.test", "m.other"]


async def test_they_come_in_pages_and_go_once_they_are_acknowledged(hearth: Hearth) -> None:
    ann, ben = await hearth.user("ann"), await hearth.user("ben", "PHONE")
    for number in range(250):
        await send(ann, {ben.user_id: {"PHONE": {"n": number}}}, str(number))
    seen: list[int] = []
    since = None
    for expected in (100, 100, 50, 0):
        found, after = await received(ben, since)
        again, _ = await received(ben, since)
        assert again == found, "until the next token is used they are there"
        assert len(found) == expected
        seen += [event["content"]["n"] for event in found]
        since = after
    assert seen == list(range(250))
    process = hearth.parts.base.process
    async with process.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device") == 0


async def test_a_full_device_keeps_what_came_first(
    hearth: Hearth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can push messages out, or fill the disk; once some are fetched there is room again."""
    monkeypatch.setattr(to_device, "MOST_WAITING", 5)
    ann, ben = await hearth.user("ann"), await hearth.user("ben", "PHONE")
    tablet = await ben.log_in_again("TABLET")
    for number in range(8):
        await send(ann, {ben.user_id: {"PHONE": {"n": number}}}, str(number))
    await send(ann, {ben.user_id: {"*": {"n": 8}}}, "8")
    found, since = await received(ben)
    assert [event["content"]["n"] for event in found] == [0, 1, 2, 3, 4]
    assert [event["content"]["n"] for event in (await received(tablet))[0]] == [8]
    assert (await received(ben, since))[0] == []
    await send(ann, {ben.user_id: {"PHONE": {"n": 9}}}, "9")
    found, _ = await received(ben, since)
    assert [event["content"]["n"] for event in found] == [9]


async def test_nobody_and_nonsense(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    await send(ann, {"@nobody:one.test": {"*": {}}, "@ann:one.test": {"NOWHERE": {}}}, "1")
    async with hearth.parts.base.process.database.reader() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device_done") == 0
    wrong: list[Any] = [[], {"@a:b": []}, None, {"ann": {"*": {}}}]
    for bad in ({"messages": messages} for messages in wrong):
        answer = await ann.put(f"{V3}/sendToDevice/m.test/bad", bad)
        assert answer.status == 400, bad
        assert answer.errcode in {"M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"}


async def test_across_servers_once_and_in_order(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann", "DESK"), await there.user("ben", "PHONE")
    tablet = await ben.log_in_again("TABLET")
    for number in range(20):
        await send(ann, {ben.user_id: {"*": {"n": number}}}, str(number))
    for device in (ben, tablet):

        async def all_here(device: Client = device) -> list[Any]:
            found, _ = await received(device)
            return found if len(found) >= 20 else []

        found = await eventually(all_here)
        assert [event["content"]["n"] for event in found] == list(range(20))
        assert {event["sender"] for event in found} == {ann.user_id}


async def test_what_waited_while_the_other_server_was_away(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben", "PHONE")
    sending = there.workers[0]
    assert sending.parts
    here.parts.federating.peers.client.policy = type(here.settings.federation)(enabled=False)
    await send(ann, {ben.user_id: {"PHONE": {"n": 1}}}, "1")
    await send(ann, {ben.user_id: {"PHONE": {"n": 2}}}, "2")
    assert (await received(ben))[0] == []
    here.parts.federating.peers.client.policy = here.settings.federation

    async def all_here() -> bool:
        found, _ = await received(ben)
        return [event["content"]["n"] for event in found] == [1, 2]

    await eventually(all_here, within=10)
