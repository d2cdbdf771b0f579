"""A busy room of two servers, as those see it who are in it all the time.

https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
import json
from collections import Counter

from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
_EACH = 30
"""Messages of each of four people."""
_FILTER = json.dumps({"room": {"timeline": {"limit": 1000}}})


async def _follow(who: Client, room: str, wanted: int, began: asyncio.Event) -> Counter[str]:
    """What `/sync` shows live, until that is all."""
    answer = (await who.get(f"{V3}/sync", filter=_FILTER)).ok()
    began.set()
    heard: Counter[str] = Counter()
    while heard.total() < wanted:
        query = {"since": answer["next_batch"], "timeout": 10_000, "filter": _FILTER}
        answer = (await who.get(f"{V3}/sync", **query)).ok()
        told = answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {})
        assert not told.get("limited")
        events = told.get("events", [])
        heard.update(e["content"]["body"] for e in events if e["type"] == "m.room.message")
    return heard


async def _talk(who: Client, room: str, name: str) -> set[str]:
    texts = [f"{name} {number}" for number in range(_EACH)]
    for text in texts:
        path = f"{V3}/rooms/{room}/send/m.room.message/{text.replace(' ', '-')}"
        (await who.put(path, {"msgtype": "m.text", "body": text})).ok()
    return set(texts)


async def test_everybody_is_told_everything_once(pair: tuple[Hearth, Hearth]) -> None:
    """While people of both servers speak at once, so that forks arise and meet again."""
    one, other = pair
    people = [await one.user("ann"), await one.user("abe")]
    people += [await other.user("ben"), await other.user("bea")]
    wish = {"preset": "public_chat", "room_version": "11"}
    room = str((await people[0].post(f"{V3}/createRoom", wish)).ok()["room_id"])
    for who in people[1:]:
        (await who.post(f"{V3}/join/{room}?via={one.name}")).ok()
    began = [asyncio.Event() for _ in people]
    wanted = _EACH * len(people)
    following = [
        asyncio.create_task(_follow(who, room, wanted, event))
        for who, event in zip(people, began, strict=True)
    ]
    await asyncio.gather(*(event.wait() for event in began))
    said = await asyncio.gather(*(_talk(who, room, who.user_id.split(":")[0]) for who in people))
    async with asyncio.timeout(60):
        heard = await asyncio.gather(*following)
    everything = Counter({text: 1 for texts in said for text in texts})
    assert all(one_heard == everything for one_heard in heard)
