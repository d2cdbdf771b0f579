"""Administrators of the server putting somebody in charge of a room, or into it."""

from collections.abc import Sequence

from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.events import StateKey
from federation.identifiers import RoomID, ServerName, UserID
from federation.power_levels import CREATOR_LEVEL, LevelError, PowerLevels
from homeserver.errors import Forbidden, InvalidParam, MatrixError, NotFound
from homeserver.rooms.current import CREATE, POWER_LEVELS, Current
from homeserver.rooms.intake import Intake
from homeserver.rooms.membership import JOIN_RULES, Memberships
from homeserver.rooms.posting import post_all
from homeserver.storage import memberships
from homeserver.storage.process import Process

_HIGHEST = 100
"""What somebody is given by who has no number, as creators have none."""


class TakingCharge:
    """Acts in rooms in the name of people of this server who may.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        current: the states of rooms.
        members: changes memberships.

    """

    def __init__(
        self, process: Process, intake: Intake, current: Current, members: Memberships
    ) -> None:
        self._process = process
        self._intake = intake
        self._current = current
        self._members = members

    async def promote(self, room_id: RoomID, user: UserID) -> None:
        """Give somebody as much power as anybody of this server has who may hand it out.

        They are invited if they cannot come in by themselves.

        Raises:
            NotFound: there is no such room here.
            InvalidParam: nobody of this server may give power there.

        """
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            state = await self._current.read(conn, room_id, [CREATE, POWER_LEVELS, JOIN_RULES])
            if room is None or CREATE not in state:
                raise NotFound("there is no such room here")
            people = await memberships.local_members(conn, room)
        levels = PowerLevels(state[CREATE], state.get(POWER_LEVELS))
        giver = _strongest(people, levels)
        if giver is None:
            raise InvalidParam("nobody of this server may give power in this room")
        if _of(levels, user) < _of(levels, giver):
            content = state[POWER_LEVELS].content if POWER_LEVELS in state else {}
            await self._give(room_id, giver, user, levels, content)
        rules = state[JOIN_RULES].content if JOIN_RULES in state else {}
        if user not in people and rules.get("join_rule") != "public":
            await self._invite(room_id, giver, user)

    async def bring(
        self, admin: UserID, user: UserID, room_id: RoomID, via: Sequence[ServerName]
    ) -> None:
        """Let somebody of this server join; the administrator invites them if need be.

        Raises:
            Forbidden: the room does not let them in, nor the administrator invite them.
            NotFound: there is no such room, or no such user.

        """
        rules: StateKey = JOIN_RULES
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [rules])
        rule = state[rules].content.get("join_rule") if rules in state else "public"
        standing = await self._members.standing(user, room_id)
        if rule != "public" and standing not in {"join", "invite"}:
            await self._members.invite(admin, room_id, user, None)
        await self._members.join(user, room_id, via, {})

    async def _give(
        self,
        room_id: RoomID,
        giver: UserID,
        user: UserID,
        levels: PowerLevels,
        content: JsonObject,
    ) -> None:
        level = _of(levels, giver)
        given = _HIGHEST if level == CREATOR_LEVEL else int(level)
        if level == CREATOR_LEVEL:
            given = max(given, int(levels.required("m.room.power_levels", is_state=True)))
        users = content.get("users")
        named = {**(users if isinstance(users, dict) else {}), user: given}
        draft = Draft("m.room.power_levels", giver, {**content, "users": named}, "", room_id)
        await post_all(self._intake, room_id, [draft])

    async def _invite(self, room_id: RoomID, giver: UserID, user: UserID) -> None:
        if await self._members.standing(user, room_id) == "invite":
            return
        try:
            await self._members.invite(giver, room_id, user, None)
        except Forbidden:
            raise
        except MatrixError as error:
            raise InvalidParam(error.message) from error


def _strongest(people: Sequence[UserID], levels: PowerLevels) -> UserID | None:
    """Who has most power of those who may change power."""
    try:
        needed = levels.required("m.room.power_levels", is_state=True)
    except LevelError:
        return None
    able = [person for person in people if _of(levels, person) >= needed]
    return max(able, key=lambda person: _of(levels, person), default=None)


def _of(levels: PowerLevels, user: UserID) -> float:
    try:
        return levels.of(user)
    except LevelError:
        return 0
