"""Whose devices a client has to look at again, wherever it is told.

https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.client_server.keyring import Device
from tests.servers import Client, Hearth

V3 = "/_matrix/client/v3"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"


@dataclass
class Two:
    """Ann, to whom things happen, and Ben, who is told."""

    ann: Client
    ben: Client

    async def room(self, *more: Client) -> str:
        """Ann's room, with these others in it."""
        room_id: str = (await self.ann.post(f"{V3}/createRoom", {"preset": "public_chat"})).ok()[
            "room_id"
        ]
        for client in more:
            await do(client, "join", room_id)
        return room_id


async def do(client: Client, what: str, room_id: str, whom: Client | None = None) -> None:
    body = {"user_id": whom.user_id} if whom else {}
    (await client.post(f"{V3}/rooms/{room_id}/{what}", body)).ok()


async def publish(client: Client) -> None:
    (await client.post(f"{V3}/keys/upload", {"device_keys": Device.of(client).keys()})).ok()


async def rename(client: Client) -> None:
    path = f"{V3}/profile/{client.user_id}/displayname"
    (await client.put(path, {"displayname": "another"})).ok()


async def log_out_elsewhere(client: Client) -> None:
    other = await client.log_in_again("OTHER")
    await publish(other)
    (await other.post(f"{V3}/logout")).ok()


Happening = Callable[[Two], Awaitable[Callable[[], Awaitable[Any]]]]
"""Prepares, and answers what then happens."""


def alone(what: Callable[[Two, str], Awaitable[Any]], *, rooms: int = 1) -> Happening:
    """Ann's only room, or rooms, that Ben is not in."""

    async def prepare(two: Two) -> Callable[[], Awaitable[Any]]:
        made = [await two.room() for _ in range(rooms)]
        return lambda: what(two, made[0])

    return prepare


def together(what: Callable[[Two, str], Awaitable[Any]], *, rooms: int = 1) -> Happening:
    """The same, with Ben in it."""

    async def prepare(two: Two) -> Callable[[], Awaitable[Any]]:
        made = [await two.room(two.ben) for _ in range(rooms)]
        return lambda: what(two, made[0])

    return prepare


def at_bens(what: Callable[[Two, str], Awaitable[Any]]) -> Happening:
    """Ben's room, with Ann in it."""

    async def prepare(two: Two) -> Callable[[], Awaitable[Any]]:
        room_id = await Two(two.ben, two.ann).room(two.ann)
        return lambda: what(two, room_id)

    return prepare


async def _and_back(who: Client, room_id: str) -> None:
    await do(who, "leave", room_id)
    await do(who, "join", room_id)


async def _there_and_away(who: Client, room_id: str) -> None:
    await do(who, "join", room_id)
    await do(who, "leave", room_id)


async def _invited(two: Two, room_id: str) -> None:
    await do(two.ann, "invite", room_id, two.ben)
    await do(two.ben, "leave", room_id)


async def _forgotten(two: Two, room_id: str) -> None:
    await do(two.ben, "leave", room_id)
    await do(two.ben, "forget", room_id)


async def _joined_and_renamed(two: Two, room_id: str) -> None:
    await do(two.ben, "join", room_id)
    await rename(two.ben)


ANN, BEN, NOBODY = "ann", "ben", ""

CASES: list[tuple[str, Happening, str, str]] = [
    ("ben joins", alone(lambda t, r: do(t.ben, "join", r)), ANN, NOBODY),
    ("ben joins and is renamed", alone(_joined_and_renamed), ANN, NOBODY),
    ("ben comes and goes", alone(lambda t, r: _there_and_away(t.ben, r)), NOBODY, ANN),
    ("ben refuses", alone(_invited), NOBODY, NOBODY),
    ("ben leaves", together(lambda t, r: do(t.ben, "leave", r)), NOBODY, ANN),
    ("ben leaves one", together(lambda t, r: do(t.ben, "leave", r), rooms=2), NOBODY, NOBODY),
    ("ben leaves and forgets", together(_forgotten), NOBODY, ANN),
    ("ben is kicked", together(lambda t, r: do(t.ann, "kick", r, t.ben)), NOBODY, ANN),
    ("ben is banned", together(lambda t, r: do(t.ann, "ban", r, t.ben)), NOBODY, ANN),
    ("ben leaves and is back", together(lambda t, r: _and_back(t.ben, r)), ANN, NOBODY),
    ("ben is renamed", together(lambda t, _: rename(t.ben)), NOBODY, NOBODY),
    ("ann leaves", together(lambda t, r: do(t.ann, "leave", r)), NOBODY, ANN),
    ("ann leaves one", together(lambda t, r: do(t.ann, "leave", r), rooms=2), NOBODY, NOBODY),
    ("ann is kicked", at_bens(lambda t, r: do(t.ben, "kick", r, t.ann)), NOBODY, ANN),
    ("ann is banned", at_bens(lambda t, r: do(t.ben, "ban", r, t.ann)), NOBODY, ANN),
    ("ann leaves and is back", together(lambda t, r: _and_back(t.ann, r)), ANN, NOBODY),
    ("ann is renamed", together(lambda t, _: rename(t.ann)), NOBODY, NOBODY),
    ("ann has a device", together(lambda t, _: publish(t.ann)), ANN, NOBODY),
    ("ann logs one out", together(lambda t, _: log_out_elsewhere(t.ann)), ANN, NOBODY),
    ("a stranger has one", alone(lambda t, _: publish(t.ann)), NOBODY, NOBODY),
    ("ben has a device", alone(lambda t, _: publish(t.ben)), BEN, NOBODY),
]


async def news(ben: Client, since: str, pos: str) -> list[tuple[list[str], list[str]]]:
    """Who changed and left, by each way in which it is told."""
    told = (await ben.get(f"{V3}/sync", timeout=0, since=since)).ok()
    asked = {"from": since, "to": told["next_batch"]}
    changes = (await ben.get(f"{V3}/keys/changes", **asked)).ok()
    sliding = (await ben.post(SLIDING, _sliding(), timeout=0, pos=pos)).ok()
    assert told["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert told["device_unused_fallback_key_types"] == []
    e2ee = sliding["extensions"]["e2ee"]
    assert e2ee["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert e2ee["device_unused_fallback_key_types"] == []
    found = [told.get("device_lists", {}), changes, e2ee.get("device_lists", {})]
    return [(lists.get("changed", []), lists.get("left", [])) for lists in found]


def _sliding() -> Any:
    return {"extensions": {"e2ee": {"enabled": True}}, "conn_id": "e2ee"}


async def begin(ben: Client) -> tuple[str, str]:
    """Tokens of an initial sync, which tells of no devices, in both kinds."""
    first = (await ben.get(f"{V3}/sync", timeout=0)).ok()
    sliding = (await ben.post(SLIDING, _sliding(), timeout=0)).ok()
    assert "device_lists" not in first
    assert "device_lists" not in sliding["extensions"]["e2ee"]
    return first["next_batch"], sliding["pos"]


async def test_who_changed_and_who_left(hearth: Hearth) -> None:
    wrong = {}
    for number, (name, prepare, changed, left) in enumerate(CASES):
        ann, ben = [await hearth.user(f"{who}{number}") for who in (ANN, BEN)]
        happen = await prepare(Two(ann, ben))
        tokens = await begin(ben)
        await happen()
        people = {ANN: [ann.user_id], BEN: [ben.user_id], NOBODY: []}
        expected = (people[changed], people[left])
        found = await news(ben, *tokens)
        if found != [expected] * 3:
            wrong[name] = found
    assert wrong == {}
