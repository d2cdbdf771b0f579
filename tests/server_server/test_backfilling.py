"""History that only another server has, as somebody reads it who came late."""

from aiohttp import web

from homeserver.storage.stream_tokens import ORDER_BITS
from tests.server_server.peer import Peer
from tests.servers import Client, Hearth, eventually

V3 = "/_matrix/client/v3"


async def history(reader: Client, room: str, limit: int = 50) -> list[str]:
    """The bodies of all messages that `/messages` shows, the latest first."""
    found: list[str] = []
    start: str | None = None
    for _ in range(50):
        more = {"from": start} if start else {}
        page = (await reader.get(f"{V3}/rooms/{room}/messages", dir="b", limit=limit, **more)).ok()
        found += [e["content"]["body"] for e in page["chunk"] if e["type"] == "m.room.message"]
        start = page.get("end")
        if start is None:
            return found
    raise AssertionError("the history has no end")


async def say(speaker: Client, room: str, *texts: str) -> None:
    for number, text in enumerate(texts):
        path = f"{V3}/rooms/{room}/send/m.room.message/{text}-{number}"
        (await speaker.put(path, {"msgtype": "m.text", "body": text})).ok()


async def public_room(owner: Client, **more: object) -> str:
    return str(
        (await owner.post(f"{V3}/createRoom", {"preset": "public_chat", **more})).ok()["room_id"]
    )


async def test_all_that_was_said_before_ones_server_came(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await public_room(ann)
    texts = [f"message {number}" for number in range(230)]
    await say(ann, room, *texts)
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    await say(ann, room, "welcome")
    assert (await history(ben, room))[-230:] == texts[::-1]
    # The second time nobody is asked.
    await here.workers[0].stop()
    assert (await history(ben, room, limit=100))[-230:] == texts[::-1]


async def test_a_history_that_is_all_forks(federated: tuple[Hearth, Peer]) -> None:
    """300 events, of which five at a time build on the same five: each is shown, once."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga)
    for row in range(60):
        room.tips = [peer.say(room, f"{row} {number}", olga) for number in range(5)]
    (await ann.post(f"{V3}/join/{room.room_id}", via=peer.name)).ok()
    said = {f"{row} {number}" for row in range(60) for number in range(5)}
    found = await history(ann, room.room_id, limit=100)
    assert set(found) == said
    assert len(found) == len(said)
    rows = [int(text.split()[0]) for text in found]
    assert rows == sorted(rows, reverse=True), "what others build on comes before it"


async def test_state_of_the_past_is_that_of_then(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await public_room(ann)
    name = f"{V3}/rooms/{room}/state/m.room.name"
    await ann.put(name, {"name": "first"})
    await say(ann, room, "early")
    await ann.put(name, {"name": "second"})
    await say(ann, room, "late")
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    page = (await ben.get(f"{V3}/rooms/{room}/messages", dir="b", limit=100)).ok()["chunk"]
    named = [e for e in page if e["type"] == "m.room.name"]
    assert [e["content"]["name"] for e in named] == ["second", "first"]
    assert named[0]["unsigned"]["prev_content"] == {"name": "first"}
    early = next(e for e in page if e["content"].get("body") == "early")
    around = (await ben.get(f"{V3}/rooms/{room}/context/{early['event_id']}", limit=0)).ok()
    assert "first" in [e["content"].get("name") for e in around["state"]]


async def test_what_was_said_in_confidence_stays_hidden(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await public_room(ann)
    visibility = f"{V3}/rooms/{room}/state/m.room.history_visibility"
    await say(ann, room, "shared")
    await ann.put(visibility, {"history_visibility": "joined"})
    await say(ann, room, "secret")
    await ann.put(visibility, {"history_visibility": "shared"})
    await say(ann, room, "open")
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    assert await history(ben, room) == ["open", "shared"]


async def test_nobody_has_it(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await public_room(ann)
    await say(ann, room, "early")
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    await say(ben, room, "hello")
    await here.workers[0].stop()
    assert await history(ben, room) == ["hello"]


async def test_nobody_has_it_just_now(federated: tuple[Hearth, Peer]) -> None:
    """It is asked for again soon, and less and less often."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga)
    room.add(peer.say(room, "early", olga))
    (await ann.post(f"{V3}/join/{room.room_id}", via=peer.name)).ok()
    peer.lies["backfill"] = lambda _: web.json_response({}, status=502)

    def asked() -> int:
        return sum("/backfill/" in path for path in peer.asked)

    for _ in range(3):
        assert await history(ann, room.room_id) == []
    assert asked() == 1
    peer.lies.clear()

    async def is_read() -> bool:
        return await history(ann, room.room_id) == ["early"]

    await eventually(is_read)
    assert asked() == 2


async def test_nobody_is_asked_for_what_came_late(federated: tuple[Hearth, Peer]) -> None:
    """What was missing before an event comes after it, as a server sends it that was away."""
    hearth, peer = federated
    olga, ann = peer.user("olga"), await hearth.user("ann")
    room = peer.found(olga)
    (await ann.post(f"{V3}/join/{room.room_id}", via=peer.name)).ok()
    assert await history(ann, room.room_id) == []
    lost = peer.say(room, "lost", olga)
    room.add(lost)
    event = peer.say(room, "here", olga)
    room.before[event.event_id] = room.before[lost.event_id] = dict(room.state)
    peer.lies["get_missing_events"] = lambda _: {"events": []}
    assert await peer.send([event]) == {event.event_id: {}}
    assert await peer.send([lost]) == {lost.event_id: {}}
    peer.asked.clear()
    assert set(await history(ann, room.room_id)) == {"lost", "here"}
    assert not any("/backfill/" in path for path in peer.asked)


async def test_places_between_two_live_events(pair: tuple[Hearth, Hearth]) -> None:
    here, there = pair
    ann, ben = await here.user("ann"), await there.user("ben")
    room = await public_room(ann)
    await say(ann, room, *(f"{n}" for n in range(20)))
    (await ben.post(f"{V3}/join/{room}", server_name=here.name)).ok()
    await history(ben, room)
    process = there.parts.base.process
    async with process.database.reader() as conn:
        rows = await conn.fetch(
            "SELECT room_order, depth FROM events WHERE room_order IS NOT NULL ORDER BY room_order"
        )
        gaps = await conn.fetchval("SELECT count(*) FROM missing_parents")
    assert gaps == 0
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    live = [row[0] for row in rows if not row[0] % (1 << ORDER_BITS)]
    assert live == [rows[-1][0]]
