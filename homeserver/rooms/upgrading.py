"""Replacing a room by one of another version.

The new room is made first, whole; only then does the old one say where to go. A crash in between
leaves a room that nobody knows of, and the old one as it was.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from federation.building import Draft, Place, Signer, build
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from federation.identifiers import RoomID, UserID, is_user_id
from federation.power_levels import LevelError, PowerLevels
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.accounts.profiles import Profiles
from homeserver.errors import Conflict, Forbidden, InvalidParam, NotFound, UnsupportedRoomVersion
from homeserver.rooms.carrying_over import move_names
from homeserver.rooms.current import CREATE, POWER_LEVELS, Current
from homeserver.rooms.heads import Head
from homeserver.rooms.intake import Intake
from homeserver.rooms.posting import post_all
from homeserver.storage import memberships, room_states
from homeserver.storage.batch import Membership
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process
from homeserver.storage.under_way import alone

TOMBSTONE = "m.room.tombstone"
CANONICAL: StateKey = ("m.room.canonical_alias", "")
COPIED: Sequence[StateKey] = tuple(
    (f"m.room.{name}", "")
    for name in (
        "server_acl",
        "encryption",
        "name",
        "avatar",
        "topic",
        "guest_access",
        "history_visibility",
        "join_rules",
    )
)
"""What "the recommended state events to transfer are", but for the power levels."""
_MOST_COPIED = 5000
"""Bans, and children of a space."""


class _Old(NamedTuple):
    """The room that is replaced."""

    room: RoomNid
    room_id: RoomID
    head: Head
    state: Mapping[StateKey, Event]


class Upgrading:
    """Upgrades rooms.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        current: the states of rooms.
        profiles: what a membership shows of somebody.
        signer: signs for this server.
        new_id: an opaque localpart for rooms whose ID does not follow from their create event.

    """

    def __init__(
        self,
        process: Process,
        intake: Intake,
        current: Current,
        profiles: Profiles,
        signer: Signer,
        new_id: Callable[[], str],
    ) -> None:
        self._process = process
        self._intake = intake
        self._current = current
        self._profiles = profiles
        self._signer = signer
        self._new_id = new_id

    async def upgrade(
        self, user: UserID, room_id: RoomID, version_name: str, creators: Sequence[str]
    ) -> RoomID:
        """Make the new room, move everybody's way there, and answer it.

        Args:
            user: who is in charge of the old room, and will be of the new one.
            room_id: of the old room.
            version_name: of the new one.
            creators: `additional_creators` of the new one, where its version has such.

        Raises:
            UnsupportedRoomVersion: there is no such version.
            InvalidParam: the creators are no users.
            NotFound: there is no such room here.
            Forbidden: they may not send `m.room.tombstone` there.
            Conflict: somebody does it already.

        """
        if version_name not in ROOM_VERSIONS:
            raise UnsupportedRoomVersion(f"there is no room version {version_name[:20]!r} here")
        if not all(is_user_id(creator) for creator in creators):
            raise InvalidParam("additional_creators must be a list of user IDs")
        version = ROOM_VERSIONS[version_name]
        holder = secrets.token_bytes(8)
        async with alone(self._process, ("upgrade", room_id), holder) as is_alone:
            if not is_alone:
                raise Conflict("the room is being upgraded just now")
            return await self._upgrade(user, room_id, version, creators)

    async def _upgrade(
        self, user: UserID, room_id: RoomID, version: RoomVersion, creators: Sequence[str]
    ) -> RoomID:
        old = await self._read(user, room_id)
        created = self._created(user, old, version, creators)
        drafts = await self._drafts(user, old, version, created)
        await post_all(self._intake, created.room_id, drafts, created)
        await self._move_names(old, created.room_id)
        await self._close(user, old, created.room_id)
        return created.room_id

    async def _read(self, user: UserID, room_id: RoomID) -> _Old:
        member: StateKey = ("m.room.member", user)
        keys = [*COPIED, CREATE, POWER_LEVELS, CANONICAL, member]
        async with self._process.database.reader() as conn:
            head = await self._current.head(conn, room_id, keys)
            if head is None:
                raise NotFound("there is no such room here")
            state = {key: tip.event for key in keys if (tip := head.known.get(key))}
            if member not in state or state[member].membership != "join":
                raise Forbidden("you are not in this room")
            if not _may_send(user, TOMBSTONE, state):
                raise Forbidden("you are not permitted to upgrade this room")
            banned = await memberships.users_with(conn, head.room, Membership.BAN, _MOST_COPIED)
            children = await room_states.keys_of(conn, head.room, "m.space.child", _MOST_COPIED)
            more: list[StateKey] = [("m.room.member", str(one)) for one in banned]
            more += [("m.space.child", child) for child in children]
            state |= await self._current.read(conn, room_id, more)
        return _Old(head.room, room_id, head, state)

    def _created(
        self, user: UserID, old: _Old, version: RoomVersion, creators: Sequence[str]
    ) -> Event:
        """The beginning of the new room."""
        before: JsonObject = {"room_id": old.room_id}
        if not version.room_id_is_create_id:
            before["event_id"] = old.head.tips[-1].event.event_id
        content: JsonObject = {"room_version": version.name, "predecessor": before}
        said = old.state[CREATE].content
        content |= {key: said[key] for key in ("type", "m.federate") if key in said}
        if version.create_names_creator:
            content["creator"] = user
        if version.privileged_creators and creators:
            content["additional_creators"] = list(dict.fromkeys(creators))
        needs_id = not version.room_id_is_create_id
        room_id = RoomID(f"!{self._new_id()}:{self._process.server}") if needs_id else None
        return build(
            Draft("m.room.create", user, content, "", room_id),
            Place(),
            version,
            self._signer,
            now=self._process.now(),
            opaque_id=self._new_id(),
        )

    async def _drafts(
        self, user: UserID, old: _Old, version: RoomVersion, created: Event
    ) -> list[Draft]:
        """What the new room begins with."""
        room_id = created.room_id

        def state(kind: str, content: Mapping[str, Any], key: str = "") -> Draft:
            return Draft(kind, user, content, key, room_id)

        profile = await self._profiles.get(user)
        shown = {k: profile[k] for k in ("displayname", "avatar_url") if k in profile}
        levels = _levels(old.state, created, version)
        # Who is in charge of the upgrade is, until all is copied, in charge of everything.
        meanwhile = levels
        if not version.privileged_creators:
            banned = [key for (kind, key), event in old.state.items() if event.membership == "ban"]
            users = levels.get("users", {})
            meanwhile = {**levels, "users": {**users, user: _enough(levels, banned)}}
        drafts = [
            state("m.room.member", {**shown, "membership": "join"}, user),
            state("m.room.power_levels", meanwhile),
        ]
        drafts += [state(key[0], old.state[key].content) for key in COPIED if key in old.state]
        for (kind, key), event in old.state.items():
            if kind == "m.space.child" and event.content.get("via"):
                drafts.append(state(kind, event.content, key))
            if kind == "m.room.member" and event.membership == "ban":
                drafts.append(state(kind, event.content, key))
        if CANONICAL in old.state:
            drafts.append(state(CANONICAL[0], old.state[CANONICAL].content))
        if meanwhile != levels:
            drafts.append(state("m.room.power_levels", levels))
        return drafts

    async def _move_names(self, old: _Old, new_id: RoomID) -> None:
        """Let our aliases, and our public list, lead to the new room."""
        async with self._process.database.reader() as conn:
            new = (await self._process.numbers.rooms.intern(conn, [new_id]))[new_id]
            await move_names(conn, old.room, new)

    async def _close(self, user: UserID, old: _Old, new_id: RoomID) -> None:
        """Say in the old room where to go, and let nobody go on there as far as that is allowed."""
        body = {"body": "This room has been replaced", "replacement_room": new_id}
        tombstone = Draft(TOMBSTONE, user, body, "", old.room_id)
        await post_all(self._intake, old.room_id, [tombstone])
        closing = []
        if CANONICAL in old.state:
            closing.append(Draft(CANONICAL[0], user, {}, "", old.room_id))
        if POWER_LEVELS in old.state:
            content = _closed(old.state[POWER_LEVELS].content)
            closing.append(Draft(POWER_LEVELS[0], user, content, "", old.room_id))
        for draft in closing:
            try:
                await post_all(self._intake, old.room_id, [draft])
            except Forbidden:
                continue  # "If possible"


_ALL = 100
_HIGHEST = 2**53 - 1


def _may_send(user: UserID, kind: str, state: Mapping[StateKey, Event]) -> bool:
    levels = PowerLevels(state[CREATE], state.get(POWER_LEVELS))
    try:
        return levels.of(user) >= levels.required(kind, is_state=True)
    except LevelError:
        return False


def _levels(state: Mapping[StateKey, Event], created: Event, version: RoomVersion) -> JsonObject:
    """The old power levels, as the new room can have them."""
    content = dict(state[POWER_LEVELS].content) if POWER_LEVELS in state else {}
    users = content.get("users")
    users = dict(users) if isinstance(users, dict) else {}
    if version.privileged_creators:
        # "the users property of the power levels must not contain the room creators"
        for creator in (created.sender, *created.content.get("additional_creators", [])):
            users.pop(creator, None)
    elif state[CREATE].version.privileged_creators:
        # Who stood above all levels has one now.
        users[created.sender] = _above_all({**content, "users": users})
    elif POWER_LEVELS not in state:
        users[created.sender] = _ALL
    return {**content, "users": users}


def _above_all(content: Mapping[str, Any]) -> int:
    """A level that suffices for whatever the room asks for, and is nobody's below it."""
    named = [content.get(name) for name in ("users", "events")]
    tables = [content, *(table for table in named if isinstance(table, dict))]
    return max(_ALL, *(level for table in tables for level in _levels_in(table)))


def _enough(content: Mapping[str, Any], banned: Sequence[str]) -> int:
    """The same, and above all who are banned: nobody bans their equals."""
    users = content.get("users", {})
    theirs = {user: users.get(user, content.get("users_default")) for user in banned}
    return min(max([_above_all(content), *(one + 1 for one in _levels_in(theirs))]), _HIGHEST)


def _levels_in(table: Mapping[str, Any]) -> list[int]:
    return [level for level in table.values() if type(level) is int]


def _closed(content: Mapping[str, Any]) -> JsonObject:
    """Power levels with which nobody talks on by mistake.

    "setting `events_default` and `invite` to the greater of `50` and `users_default + 1`"
    """
    default = content.get("users_default")
    least = max(50, (default if type(default) is int else 0) + 1)
    closed = dict(content)
    for name in ("events_default", "invite"):
        now = content.get(name)
        closed[name] = max(least, now if type(now) is int else 0)
    return closed
