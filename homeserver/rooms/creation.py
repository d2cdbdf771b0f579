"""Making rooms.

https://spec.matrix.org/v1.19/client-server-api/#creation
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from federation.building import Draft, Place, Signer, build
from federation.errors import CanonicalJSONError, EventFormatError, EventSizeError, IdentifierError
from federation.events import Event
from federation.identifiers import (
    RoomAlias,
    RoomID,
    UserID,
    domain_of,
    is_user_id,
    new_room_alias,
)
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.accounts.profiles import Profiles
from homeserver.config.settings import Rooms as Settings
from homeserver.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    InvalidRoomState,
    MatrixError,
    RoomInUse,
    TooLarge,
    UnsupportedRoomVersion,
)
from homeserver.rooms.create import InitialState, NewRoom, Preset, create_event, first_events
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake
from homeserver.rooms.posting import RoomExists, post_all
from homeserver.rooms.remote import RemoteRooms
from homeserver.storage import aliases
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

MOST_INVITES = 100
MOST_STATE = 10_000
_AT_ONCE = 1000
"""Events with which a room begins, whole or not at all; more come after them, as many at a time:
nobody else's room waits for that long."""
_MOST_LATER = 1000
"""Milliseconds that a create event may be ahead of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomWish:
    """What somebody asks for, before it is known whether it can be."""

    user: UserNid
    creator: UserID
    can_encrypt: bool
    """Whether the device that asks has keys."""
    version: str | None = None
    preset: Preset | None = None
    is_public: bool = False
    """Whether the room is to be in the public list."""
    alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invites: Sequence[str] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[InitialState] = ()
    levels: Mapping[str, Any] = field(default_factory=dict)


class Creation:
    """Makes rooms.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        profiles: what memberships show of people.
        remote: invites people of other servers.
        signer: signs for this server.
        settings: the section `rooms`.
        new_id: an opaque localpart for rooms whose ID does not follow from their create event.
        ignoring: who does not want to be invited.

    """

    def __init__(
        self,
        process: Process,
        intake: Intake,
        profiles: Profiles,
        remote: RemoteRooms,
        signer: Signer,
        settings: Settings,
        new_id: Callable[[], str],
        ignoring: Ignoring,
    ) -> None:
        self._process = process
        self._intake = intake
        self._profiles = profiles
        self._remote = remote
        self._signer = signer
        self._settings = settings
        self._new_id = new_id
        self._ignoring = ignoring

    async def create(self, wish: RoomWish) -> RoomID:
        """Make a room, with all that it begins with.

        Raises:
            UnsupportedRoomVersion, InvalidRoomState, InvalidParam, BadJson, TooLarge: there can
                be no such room.
            RoomInUse: another room has the alias.
            Forbidden: its own rules forbid how it is to begin.
            InviteBlocked: somebody of this server does not want to be invited.

        """
        new = await self._plan(wish)
        for user in _invited(new):
            if self._is_here(user):
                await self._ignoring.check_invitation(wish.creator, user)
        room_id = await self._begin(wish, new)
        if wish.is_public:
            await self._publish(room_id)
        # Made elsewhere, they have to be asked of that server, once the room is there.
        invitations = {d.state_key: d for d in first_events(new, room_id) if _is_invitation(d)}
        for draft in invitations.values():
            if not self._is_here(draft.state_key):
                await self._invite(draft)
        return room_id

    def _is_here(self, user: str | None) -> bool:
        return domain_of(user or "") == self._process.server

    async def _begin(self, wish: RoomWish, new: NewRoom) -> RoomID:
        """Write the first events; answer the ID that follows from them."""
        later = 0
        while True:
            created = self._create_event(new, later)
            room_id = created.room_id
            drafts = await self._drafts(new, room_id)
            if new.alias is not None:
                await self._reserve(wish.user, new.alias, room_id)
            try:
                await post_all(self._intake, room_id, drafts[:_AT_ONCE], created)
                for start in range(_AT_ONCE, len(drafts), _AT_ONCE):
                    await post_all(self._intake, room_id, drafts[start : start + _AT_ONCE])
            except MatrixError as error:
                if new.alias is not None:
                    await self._release(new.alias)
                if isinstance(error, RoomExists) and later < _MOST_LATER:
                    # Two rooms that somebody begins alike in the same millisecond would be one.
                    later += 1
                    continue
                if isinstance(error, Forbidden):
                    raise InvalidRoomState(error.message) from error
                raise
            return room_id

    async def _plan(self, wish: RoomWish) -> NewRoom:
        version = _version(wish.version or self._settings.default_version)
        preset = wish.preset or (Preset.PUBLIC if wish.is_public else Preset.PRIVATE)
        invites = _invites(wish)
        _check_creators(wish, version)
        _check_levels(wish, version)
        profile = await self._profiles.get(wish.creator)
        return NewRoom(
            creator=wish.creator,
            version=version,
            preset=preset,
            invite_level=getattr(self._settings.invite_level, preset.value),
            encrypt=wish.can_encrypt and getattr(self._settings.encryption, preset.value),
            name=wish.name,
            topic=wish.topic,
            alias=self._alias(wish.alias_name),
            invites=invites,
            is_direct=wish.is_direct,
            profile={k: profile[k] for k in ("displayname", "avatar_url") if k in profile},
            creation_content=wish.creation_content,
            initial_state=wish.initial_state,
            levels=wish.levels,
        )

    def _alias(self, name: str | None) -> RoomAlias | None:
        if name is None:
            return None
        try:
            return new_room_alias(name, self._process.server)
        except IdentifierError as error:
            raise InvalidParam("room_alias_name cannot be part of an alias") from error

    def _create_event(self, new: NewRoom, later: int) -> Event:
        needs_id = not new.version.room_id_is_create_id
        room_id = RoomID(f"!{self._new_id()}:{self._process.server}") if needs_id else None
        try:
            return build(
                create_event(new, room_id),
                Place(),
                new.version,
                self._signer,
                now=self._process.now() + later,
                opaque_id=self._new_id(),
            )
        except EventSizeError as error:
            raise TooLarge(str(error)) from error
        except (CanonicalJSONError, EventFormatError) as error:
            raise BadJson(str(error)) from error

    async def _drafts(self, new: NewRoom, room_id: RoomID) -> list[Draft]:
        """The first events; of the invitations, those of people here, as they are shown."""
        drafts = []
        for draft in first_events(new, room_id):
            if _is_invitation(draft):
                if not self._is_here(draft.state_key):
                    continue
                shown = await self._profiles.get(UserID(draft.state_key or ""))
                content = {
                    **{k: shown[k] for k in ("displayname", "avatar_url") if k in shown},
                    **draft.content,
                }
                draft = Draft(draft.type, draft.sender, content, draft.state_key, room_id)
            drafts.append(draft)
        return drafts

    async def _reserve(self, user: UserNid, alias: RoomAlias, room_id: RoomID) -> None:
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]
            if not await aliases.add(conn, alias, room, user):
                raise RoomInUse

    async def _release(self, alias: RoomAlias) -> None:
        async with self._process.database.reader() as conn:
            await aliases.remove(conn, alias)

    async def _publish(self, room_id: RoomID) -> None:
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]
            await aliases.publish(conn, room)

    async def _invite(self, draft: Draft) -> None:
        try:
            await self._remote.invite(draft)
        except MatrixError:
            return  # the room is there; that one server cannot be reached is no reason to fail


def _is_invitation(draft: Draft | InitialState) -> bool:
    """Whether somebody is invited, be it by `invite` or by an entry of `initial_state`."""
    is_about_member = draft.type == "m.room.member" and is_user_id(draft.state_key or "")
    return is_about_member and draft.content.get("membership") == "invite"


def _invited(wanted: RoomWish | NewRoom) -> list[UserID]:
    """Everybody who is invited with the room, each once."""
    as_state = [entry.state_key for entry in wanted.initial_state if _is_invitation(entry)]
    return [UserID(user) for user in dict.fromkeys([*wanted.invites, *as_state])]


def _version(name: str) -> RoomVersion:
    if name not in ROOM_VERSIONS:
        raise UnsupportedRoomVersion(f"there is no room version {name[:20]!r} here")
    return ROOM_VERSIONS[name]


def _invites(wish: RoomWish) -> list[UserID]:
    if len(_invited(wish)) > MOST_INVITES:
        raise TooLarge(f"a new room has at most {MOST_INVITES} invitations")
    if not all(is_user_id(user) for user in wish.invites):
        raise InvalidParam("invite must hold user IDs")
    if len(wish.initial_state) > MOST_STATE:
        raise TooLarge(f"a new room has at most {MOST_STATE} entries of initial_state")
    wanted = dict.fromkeys(UserID(user) for user in wish.invites)
    wanted.pop(wish.creator, None)
    return list(wanted)


def _check_creators(wish: RoomWish, version: RoomVersion) -> None:
    if not version.privileged_creators:
        return
    named = wish.creation_content.get("additional_creators", [])
    if not isinstance(named, list) or not all(is_user_id(user) for user in named):
        raise InvalidParam("additional_creators must be a list of user IDs")


def _check_levels(wish: RoomWish, version: RoomVersion) -> None:
    """Creators have no level of their own where they stand above all levels."""
    users = wish.levels.get("users")
    if not version.privileged_creators or not isinstance(users, dict):
        return
    creators = {wish.creator, *wish.creation_content.get("additional_creators", [])}
    if wish.preset is Preset.TRUSTED:
        creators.update(wish.invites)
    if creators & users.keys():
        raise InvalidRoomState("the power levels must not name creators")
