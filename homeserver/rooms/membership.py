"""Coming, going, and being sent: memberships of people, as people ask for them.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from federation.identifiers import RoomID, ServerName, UserID, domain_of
from federation.power_levels import LevelError, PowerLevels
from homeserver.accounts.profiles import Profiles
from homeserver.errors import (
    Forbidden,
    GuestAccessForbidden,
    MatrixError,
    NotFound,
    UnableToAuthorise,
    UnableToGrant,
)
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.clearing import FLAG
from homeserver.rooms.current import CREATE, POWER_LEVELS, Current, entries
from homeserver.rooms.guest_access import GUEST_ACCESS, check_guest_may_join, lets_guests_in
from homeserver.rooms.heads import Head
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake
from homeserver.rooms.notice_rooms import check_may_leave
from homeserver.rooms.posting import post_all
from homeserver.rooms.remote import RemoteRooms
from homeserver.rooms.restricted import (
    AUTHORISER,
    RESTRICTED,
    allowed_rooms,
    join_rule,
    without_authoriser,
)
from homeserver.rooms.wholeness import Wholeness
from homeserver.storage import invites, memberships
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

JOIN_RULES: StateKey = ("m.room.join_rules", "")
_MEMBER = "m.room.member"


class Memberships:
    """Changes memberships.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        current: the states of rooms.
        profiles: what a membership shows of somebody.
        remote: for rooms that we are not in.
        blocking: rooms that nobody is let into.
        ignoring: who does not want to be invited.
        wholeness: waits for members that are not known yet.
        lets_guests_in: whether other servers say so of a room that we are not in.

    """

    def __init__(
        self,
        process: Process,
        intake: Intake,
        current: Current,
        profiles: Profiles,
        remote: RemoteRooms,
        blocking: Blocking,
        ignoring: Ignoring,
        wholeness: Wholeness,
        lets_guests_in: Callable[[RoomID, Sequence[ServerName]], Awaitable[bool]],
    ) -> None:
        self._lets_guests_in = lets_guests_in
        self._wholeness = wholeness
        self._process = process
        self._intake = intake
        self._current = current
        self._profiles = profiles
        self._remote = remote
        self._blocking = blocking
        self._ignoring = ignoring

    async def join(
        self,
        user: UserID,
        room_id: RoomID,
        via: Sequence[ServerName],
        extra: Mapping[str, Any],
        *,
        is_guest: bool = False,
    ) -> None:
        """Join a room; whoever is in it already is.

        Args:
            user: of this server.
            room_id: which.
            via: servers to go through if we are not in the room.
            extra: what the client adds to the membership's content.
            is_guest: whether the user is a guest.

        Raises:
            Forbidden: the room does not let them in.
            GuestAccessForbidden: it lets no guests in.
            NotFound: there is no such room, or nobody to go through.

        """
        content = {**without_authoriser(extra), **await self._shown(user), "membership": "join"}
        head, inviter = await self._door(user, room_id)
        if head is not None:
            await self._join_here(user, head, via, content, is_guest=is_guest)
            return
        candidates = await self._known_too(room_id, self._candidates(room_id, via, inviter))
        if is_guest:
            await self._join_elsewhere_as_guest(user, room_id, candidates, content)
        else:
            await self._remote.join(user, room_id, candidates, content)

    async def _door(self, user: UserID, room_id: RoomID) -> tuple[Head | None, UserID | None]:
        """The room, if this server is in it; else who invites the user there, if anybody does."""
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                return None, None
            door = await memberships.door(conn, room, user, self._process.server)
            self._blocking.check_door(is_blocked=door.is_blocked)
            if not door.is_here:
                invited = await invites.find(conn, room_id, user)
                return None, invited.sender if invited else None
            keys = _entrance(user)
            absent = keys[:1] if door.is_stranger else ()
            return await self._current.head_at(conn, room_id, door.head, keys, absent), None

    async def _join_here(
        self,
        user: UserID,
        head: Head,
        via: Sequence[ServerName],
        content: JsonObject,
        *,
        is_guest: bool,
    ) -> None:
        """Join a room that this server is in."""
        state = entries(head, _entrance(user))
        own = state.get((_MEMBER, user))
        if is_guest:
            check_guest_may_join(state.get(GUEST_ACCESS))
        if own is not None and own.membership == "join":
            return
        rules = state[JOIN_RULES].content if JOIN_RULES in state else {}
        if head.partial is not None:
            # Others know whether they were put out once.
            await self._join_through_others(user, head.room_id, via, content)
            return
        if join_rule(rules) in RESTRICTED and not _is_invited(own):
            try:
                authoriser = await self.authoriser(user, head.room_id, rules)
            except (UnableToAuthorise, UnableToGrant):
                await self._join_through_others(user, head.room_id, via, content)
                return
            content[AUTHORISER] = authoriser
        await self._set(user, head.room_id, user, content)

    async def _join_through_others(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], content: JsonObject
    ) -> None:
        """Join a room that this server is in, but cannot let the user into by itself."""
        candidates = await self._known_too(room_id, self._candidates(room_id, via, None))
        await self._remote.join(user, room_id, candidates, content, is_here=True)

    async def _join_elsewhere_as_guest(
        self,
        user: UserID,
        room_id: RoomID,
        candidates: Sequence[ServerName],
        content: JsonObject,
    ) -> None:
        """Join a room that is said to let guests in; out again if its state says otherwise.

        A room of which nobody tells is none that does.
        """
        if not await self._lets_guests_in(room_id, candidates):
            raise GuestAccessForbidden("the room does not let guests in, as far as is known")
        await self._remote.join(user, room_id, candidates, content)
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [GUEST_ACCESS])
        if not lets_guests_in(state.get(GUEST_ACCESS)):
            with suppress(MatrixError):  # `PuttingOut` may have done so already
                await self.leave(user, room_id, None, is_forced=True)
            raise GuestAccessForbidden("the room does not let guests in")

    async def leave(
        self, user: UserID, room_id: RoomID, reason: str | None, *, is_forced: bool = False
    ) -> None:
        """Leave a room, reject an invitation, or take back a knock; who is out already is.

        Args:
            user: of this server.
            room_id: which.
            reason: why.
            is_forced: whether somebody else wants it so, whom nothing holds back.

        Raises:
            Forbidden: they never had anything to do with it, or are banned.
            CannotLeaveNotices: there the server speaks to them.

        """
        if not is_forced:
            await check_may_leave(self._process, user, room_id)
        membership, is_here = await self._standing(user, room_id)
        if membership == "leave":
            return
        if membership is None:
            raise Forbidden("you are not in this room")
        content = _content("leave", reason)
        if is_here:
            await self._set(user, room_id, user, content)
        else:
            await self._remote.leave(user, room_id, content)

    async def knock(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], reason: str | None
    ) -> None:
        """Ask to be let in.

        Raises:
            Forbidden: the room takes no knocks, or not theirs.
            NotFound: there is no such room, or nobody to go through.

        """
        content = {**await self._shown(user), **_content("knock", reason)}
        await self._check_open(room_id)
        _, is_here = await self._standing(user, room_id)
        if is_here:
            await self._set(user, room_id, user, content)
        else:
            candidates = await self._known_too(room_id, self._candidates(room_id, via, None))
            await self._remote.knock(user, room_id, candidates, content)

    async def invite(
        self,
        sender: UserID,
        room_id: RoomID,
        target: UserID,
        reason: str | None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Invite somebody, of whatever server.

        Raises:
            Forbidden: the rules of the room forbid it.
            InviteBlocked: the target does not want it.
            NotFound: there is nobody of that name here.

        """
        await self._check_open(room_id)
        await self._wholeness.wait(room_id)
        await self._ignoring.check_invitation(sender, target)
        content = {**(extra or {}), **_content("invite", reason)}
        if domain_of(target) == self._process.server:
            content |= await self._shown(target)
            await self._set(sender, room_id, target, content)
        else:
            draft = Draft("m.room.member", sender, content, target, room_id)
            await self._remote.invite(draft)

    async def kick(
        self,
        sender: UserID,
        room_id: RoomID,
        target: UserID,
        reason: str | None,
        *,
        redact: bool | None = None,
    ) -> None:
        """Put somebody out, or take back an invitation or a knock.

        Args:
            sender: of this server.
            room_id: which.
            target: whom.
            reason: why.
            redact: whether all is redacted that they said; `None`: there is no word of it.

        Raises:
            Forbidden: the rules of the room forbid it, or the target is not there.

        """
        await self._check_present(sender, room_id)
        await self._wholeness.wait(room_id)
        membership, _ = await self._standing(target, room_id)
        if membership not in {"join", "invite", "knock"}:
            raise Forbidden("the user is not in this room")
        await self._set(sender, room_id, target, _put_out("leave", reason, redact))

    async def ban(
        self,
        sender: UserID,
        room_id: RoomID,
        target: UserID,
        reason: str | None,
        *,
        redact: bool | None = None,
    ) -> None:
        """Put somebody out for good, as `kick`, or raise `Forbidden`."""
        await self._check_present(sender, room_id)
        await self._wholeness.wait(room_id)
        await self._set(sender, room_id, target, _put_out("ban", reason, redact))

    async def unban(
        self, sender: UserID, room_id: RoomID, target: UserID, reason: str | None
    ) -> None:
        """Take back a ban, or raise `Forbidden`."""
        await self._check_present(sender, room_id)
        await self._wholeness.wait(room_id)
        membership, _ = await self._standing(target, room_id)
        if membership != "ban":
            raise Forbidden("the user is not banned from this room")
        await self._set(sender, room_id, target, _content("leave", reason))

    async def forget(self, user: UserNid, room_id: RoomID) -> None:
        """Let go of a room that was left.

        Raises:
            NotFound: there is no such room.
            MatrixError: they are still in it.

        """
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                raise NotFound("there is no such room here")
            pos = await memberships.forget(conn, user, room, self._process.now())
        if not self._process.committed(pos):
            raise MatrixError("only a room that was left can be forgotten")

    async def joined(self, user: UserNid) -> list[RoomID]:
        """The rooms that somebody is in."""
        async with self._process.database.reader() as conn:
            return await memberships.joined_rooms(conn, user)

    async def leave_all(self, user: UserNid, user_id: UserID) -> None:
        """Leave and forget every room, as when an account ends; what fails is left as it is."""
        async with self._process.database.reader() as conn:
            rooms = await memberships.rooms_of(conn, user)
        for room in rooms:
            if room.membership.name in {"JOIN", "INVITE", "KNOCK"}:
                try:
                    await self.leave(user_id, room.room_id, None, is_forced=True)
                except MatrixError:
                    continue  # a room that cannot be left is no reason to stay in the others
        async with self._process.database.reader() as conn:
            self._process.committed(await memberships.forget_all(conn, user, self._process.now()))

    async def show_profile(
        self, user: UserNid, user_id: UserID, profile: Mapping[str, Any]
    ) -> None:
        """Show a changed name or avatar in all rooms that somebody is in.

        https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
        """
        shown = {key: profile[key] for key in ("displayname", "avatar_url") if key in profile}
        member: StateKey = ("m.room.member", user_id)
        for room_id in await self.joined(user):
            async with self._process.database.reader() as conn:
                state = await self._current.read(conn, room_id, [member])
            if member not in state or state[member].membership != "join":
                continue
            content = dict(state[member].content)
            for key in ("displayname", "avatar_url", AUTHORISER):
                content.pop(key, None)
            try:
                await self._set(user_id, room_id, user_id, {**content, **shown})
            except Forbidden:
                continue  # some rooms fix how people are shown

    async def _set(
        self, sender: UserID, room_id: RoomID, target: UserID, content: JsonObject
    ) -> None:
        draft = Draft("m.room.member", sender, content, target, room_id)
        await post_all(self._intake, room_id, [draft])

    async def _shown(self, user: UserID) -> JsonObject:
        """The name and avatar of somebody of this server, or raise `NotFound`."""
        profile = await self._profiles.get(user)
        return {key: profile[key] for key in ("displayname", "avatar_url") if key in profile}

    async def standing(self, user: UserID, room_id: RoomID) -> str | None:
        """The user's membership; `None` if they never had any."""
        return (await self._standing(user, room_id))[0]

    async def _standing(self, user: UserID, room_id: RoomID) -> tuple[str | None, bool]:
        """The user's membership, and whether this server is in the room."""
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            if room is None:
                return None, False
            users = await self._process.numbers.users.find(conn, [user])
            found = (
                await memberships.membership_of(conn, room, users[user]) if user in users else None
            )
            is_here = await memberships.has_server(conn, room, self._process.server)
        return (found.name.lower() if found is not None else None), is_here

    async def _check_open(self, room_id: RoomID) -> None:
        async with self._process.database.reader() as conn:
            await self._blocking.check(conn, room_id)

    async def _check_present(self, sender: UserID, room_id: RoomID) -> None:
        membership, _ = await self._standing(sender, room_id)
        if membership != "join":
            raise Forbidden("you are not in this room")

    def _candidates(
        self, room_id: RoomID, via: Sequence[ServerName], inviter: UserID | None
    ) -> list[ServerName]:
        """Servers to go through: as asked, then who invited, then whose room it may be."""
        named = list(via)
        if inviter is not None:
            named.append(domain_of(inviter))
        if ":" in room_id:
            named.append(domain_of(room_id))
        return [name for name in dict.fromkeys(named) if name != self._process.server]

    async def check_known(self, user_id: UserID) -> None:
        """Raise `NotFound` unless there is such a user of this server, or a bridge makes them."""
        await self._profiles.get(user_id)

    async def _known_too(
        self, room_id: RoomID, candidates: Sequence[ServerName]
    ) -> list[ServerName]:
        """The servers, and then others that are in the room, or were when we were in it last."""
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            known = await memberships.servers_in(conn, room, 20) if room is not None else []
        every = dict.fromkeys([*candidates, *known])
        return [server for server in every if server != self._process.server]

    async def authoriser(self, user: UserID, room_id: RoomID, rules: Mapping[str, Any]) -> UserID:
        """Who of this server vouches that the user fulfils a condition of the room.

        https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms

        Raises:
            Forbidden: the user fulfils none.
            UnableToAuthorise: of none of the rooms that the conditions name all members are known.
            UnableToGrant: nobody here has the power to let the user in.

        """
        rooms = allowed_rooms(rules)
        async with self._process.database.reader() as conn:
            users = await self._process.numbers.users.find(conn, [user])
            server = self._process.server
            known = await memberships.in_one_of(conn, users.get(user), rooms, server)
            if not known.is_joined:
                if rooms and not known.is_all:
                    raise UnableToAuthorise
                raise Forbidden("you are in none of the rooms whose members may join")
            room = await self._current.room(conn, room_id)
            members = await memberships.local_members(conn, room) if room is not None else []
            state = await self._current.read(conn, room_id, [CREATE, POWER_LEVELS])
        levels = PowerLevels(state[CREATE], state.get(POWER_LEVELS))
        found = next((member for member in members if _may_invite(member, levels)), None)
        if found is None:
            raise UnableToGrant
        return found


def _may_invite(user: UserID, levels: PowerLevels) -> bool:
    try:
        return levels.of(user) >= levels.named("invite")
    except LevelError:
        return False


def _is_invited(member: Event | None) -> bool:
    return member is not None and member.membership in {"invite", "join"}


def _content(membership: str, reason: str | None) -> JsonObject:
    return {"membership": membership, **({"reason": reason} if reason is not None else {})}


def _put_out(membership: str, reason: str | None, redact: bool | None) -> JsonObject:
    content = _content(membership, reason)
    return content if redact is None else {**content, FLAG: redact}


def _entrance(user: UserID) -> tuple[StateKey, ...]:
    """What of a state says whether somebody may come in."""
    return ((_MEMBER, user), JOIN_RULES, GUEST_ACCESS)
