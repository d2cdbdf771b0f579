"""How often the database is asked for what is asked most: as often however much there is."""

from typing import Any

from tests.client_server.stage import staged
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


async def _rooms(ann: Client, bob: Client, many: int) -> str:
    """Rooms with members, names and messages; the path of the last."""
    for number in range(many):
        room = await staged(ann, name=f"Room {number}")
        await room.member(bob, "join")
        for _ in range(4):
            await room.say(bob, "hello")
    return room.path


async def test_rooms_and_events_cost_no_statements(hearth: Hearth, asked: Asked) -> None:
    ann, bob = await hearth.user("ann"), await hearth.user("bob")
    conn_ids = iter(range(100))

    async def statements(many: int) -> dict[str, list[str]]:
        path = await _rooms(ann, bob, many)
        since = (await ann.get("/_matrix/client/v3/sync")).ok()["next_batch"]

        async def slide() -> None:
            (await ann.post(SLIDING, {**RULES, "conn_id": str(next(conn_ids))})).ok()

        return {
            "messages": await asked.by(lambda: ann.get(f"{path}/messages", dir="b", limit=3)),
            "members": await asked.by(lambda: ann.get(f"{path}/members")),
            "sync": await asked.by(lambda: ann.get("/_matrix/client/v3/sync", filter=FILTER)),
            "nothing": await asked.by(lambda: ann.get("/_matrix/client/v3/sync", since=since)),
            "sliding": await asked.by(slide),
        }

    few, many = await statements(1), await statements(9)
    assert few == many
    assert {name: len(found) for name, found in few.items()} == {
        "messages": 2,
        "members": 2,
        "sync": 8,
        "nothing": 0,
        "sliding": 2,
    }
