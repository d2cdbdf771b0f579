"""How often the database is asked for what is asked most: as often however much there is."""

from dataclasses import dataclass
from typing import Any

from tests.client_server.stage import Stage, staged
from tests.servers import Client, Hearth
from tests.statements import Asked

SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
RULES: dict[str, Any] = {
    "lists": {
        "all": {
            "ranges": [[0, 99]],
            "timeline_limit": 1,
            "required_state": [["m.room.name", ""], ["m.room.member", "$LAZY"]],
        }
    },
    "extensions": {
        name: {"enabled": True}
        for name in ("to_device", "e2ee", "account_data", "receipts", "typing")
    },
}
FILTER = '{"room": {"timeline": {"limit": 3}, "state": {"lazy_load_members": true}}}'


V1 = "/_matrix/client/v1"
V3 = "/_matrix/client/v3"
ROOM, V1_ROOM = f"{V3}/rooms/{{room}}", f"{V1}/rooms/{{room}}"
SEARCH = {"search_categories": {"room_events": {"search_term": "hello"}}}

READS: dict[str, tuple[int, str, Any]] = {
    "messages": (2, f"{ROOM}/messages?dir=b&limit=3", None),
    "members": (3, f"{ROOM}/members", None),
    "joined members": (3, f"{ROOM}/joined_members", None),
    "state": (4, f"{ROOM}/state", None),
    "event": (9, f"{ROOM}/event/{{event}}", None),
    "context": (11, f"{ROOM}/context/{{event}}?limit=5", None),
    "relations": (5, f"{V1_ROOM}/relations/{{event}}?recurse=true&limit=5", None),
    "threads": (10, f"{V1_ROOM}/threads?limit=5", None),
    "moment": (4, f"{V1_ROOM}/timestamp_to_event?ts=0&dir=f", None),
    "room as it is": (17, f"{ROOM}/initialSync", None),
    "rooms as they are": (17, f"{V3}/initialSync", None),
    "search": (12, f"{V3}/search", SEARCH),
    "hierarchy": (9, f"{V1}/rooms/{{space}}/hierarchy", None),
    "summary": (6, f"{V1}/room_summary/{{room}}", None),
    "public rooms": (3, f"{V3}/publicRooms", {}),
    "people": (1, f"{V3}/user_directory/search", {"search_term": "person"}),
    "notifications": (11, f"{V3}/notifications", None),
    "mutual rooms": (1, f"{V1}/mutual_rooms?user_id=@bob:one.test", None),
    "joined rooms": (1, f"{V3}/joined_rooms", None),
    "aliases": (2, f"{ROOM}/aliases", None),
}
"""How many statements each costs at most, and how it is asked."""


@dataclass
class World:
    """Rooms of Ann's in a space, with people, messages, threads and reactions."""

    ann: Client
    bob: Client
    space: Stage
    people: int = 0

    async def grow(self, many: int) -> dict[str, str]:
        """So much more of everything; the last room, and an event in it."""
        for number in range(many):
            room = await staged(self.ann, name=f"Room {number}")
            for who in (self.bob, await self._person()):
                await room.member(who, "join")
            await self.space.state("m.space.child", {"via": ["one.test"]}, room.room_id)
            listed = f"{V3}/directory/list/room/{room.room_id}"
            (await self.ann.put(listed, {"visibility": "public"})).ok()
            for _ in range(4):
                event = await room.say(self.bob, "hello")
        for _ in range(many):
            await room.member(await self._person(), "join")
            root = await room.say(self.bob, "hello ann")
            for parent in (root, event):
                for kind, rel_type in (("m.room.message", "m.thread"), ("m.other", "m.reference")):
                    relation = {"rel_type": rel_type, "event_id": parent}
                    content = {"msgtype": "m.text", "body": "x", "m.relates_to": relation}
                    await room.send(self.bob, kind, content)
        return {"room": room.room_id, "event": event, "space": self.space.room_id}

    async def _person(self) -> Client:
        self.people += 1
        return await self.ann.hearth.user(f"person{self.people}")


async def test_more_of_everything_costs_no_statements(hearth: Hearth, asked: Asked) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    world = World(ann, bob, await staged(ann, name="Space", creation_content={"type": "m.space"}))
    conn_ids = iter(range(100))
    # Somebody is online, and so looked for.
    (await bob.get(f"{V3}/sync")).ok()

    async def statements(many: int) -> dict[str, list[str]]:
        names = await world.grow(many)
        found = {}
        for name, (_, path, body) in READS.items():
            method, where = "GET" if body is None else "POST", path.format(**names)

            async def read(method: str = method, where: str = where, body: Any = body) -> None:
                (await ann.ask(method, where, body)).ok()

            found[name] = await asked.by(read)
        since = (await ann.get(f"{V3}/sync")).ok()["next_batch"]

        async def slide() -> None:
            (await ann.post(SLIDING, {**RULES, "conn_id": str(next(conn_ids))})).ok()

        return found | {
            "sync": await asked.by(lambda: ann.get(f"{V3}/sync", filter=FILTER)),
            "nothing": await asked.by(lambda: ann.get(f"{V3}/sync", since=since)),
            "sliding": await asked.by(slide),
        }

    few, many = await statements(1), await statements(9)
    grown = {name: (few[name], many[name]) for name in few if few[name] != many[name]}
    assert not grown
    most = {name: count for name, (count, _, _) in READS.items()}
    most |= {"sync": 9, "nothing": 0, "sliding": 5}
    assert not {name: found for name, found in few.items() if len(found) > most[name]}
