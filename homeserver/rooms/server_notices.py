"""The server speaking to people, in a room for each of them.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from federation.identifiers import EventID, RoomID, UserID, domain_of
from homeserver.accounts.account_data import AccountData
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.profiles import Profiles
from homeserver.config.settings import ServerNotices as Settings
from homeserver.errors import InvalidParam, MatrixError, NotFound, UserInUse
from homeserver.rooms.create import Preset
from homeserver.rooms.creation import Creation, RoomWish
from homeserver.rooms.membership import Memberships
from homeserver.rooms.sending import Sending, Transaction
from homeserver.storage import accounts, notice_rooms
from homeserver.storage.events import get_sent
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process

TAG = "m.server_notice"
_TAGS = "m.tag"


class Notice(NamedTuple):
    """What is to be said."""

    type: str
    content: Mapping[str, Any]
    state_key: str | None = None


class _Means(NamedTuple):
    new_accounts: NewAccounts
    profiles: Profiles
    account_data: AccountData
    creation: Creation
    memberships: Memberships
    sending: Sending


class ServerNotices:
    """Speaks to people.

    Args:
        process: the one that this is part of.
        settings: who speaks, and what the rooms are called; `None`: nobody does.
        new_accounts: makes the account that speaks.
        profiles: names it.
        account_data: where rooms are tagged.
        creation: makes the rooms.
        members: invites people.
        sending: sends what is said.

    """

    def __init__(
        self,
        process: Process,
        settings: Settings | None,
        new_accounts: NewAccounts,
        profiles: Profiles,
        account_data: AccountData,
        creation: Creation,
        members: Memberships,
        sending: Sending,
    ) -> None:
        self._process = process
        self._settings = settings
        self._means = _Means(new_accounts, profiles, account_data, creation, members, sending)
        self._making: defaultdict[UserID, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, target: UserID, notice: Notice, transaction: Transaction) -> EventID:
        """Say something to somebody of this server, once for each transaction.

        Raises:
            MatrixError: the server does not speak to people.
            InvalidParam: the user is of another server.
            NotFound: there is no such account, or no longer.
            BadJson, TooLarge: it cannot be an event.

        """
        settings = self._given()
        async with self._process.database.reader() as conn:
            said = (await get_sent(conn, [transaction.once])).get(transaction.once)
        if said is not None:
            return said  # nor are they invited again who have left since
        user = await self._target(target)
        speaker = await self.speaker()
        async with self._making[target]:
            room_id = await self._room(settings, speaker, user, target)
        sending = self._means.sending
        if notice.state_key is not None:
            return await sending.set_state(
                speaker, room_id, notice.type, notice.state_key, notice.content, transaction
            )
        return await sending.send(speaker, room_id, notice.type, notice.content, transaction)

    async def speaker(self) -> UserID:
        """Who speaks; made when it is first needed."""
        settings = self._given()
        user_id = self._means.new_accounts.user_id(settings.localpart)
        async with self._process.database.reader() as conn:
            account = await accounts.find(conn, user_id)
        if account is None:
            try:
                user = await self._means.new_accounts.add(settings.localpart)
            except UserInUse:
                return user_id  # another process was quicker
            await self._means.profiles.impose_field(user, "displayname", settings.display_name)
        return user_id

    def _given(self) -> Settings:
        if self._settings is None:
            raise MatrixError("server notices are not enabled: see server_notices in the settings")
        return self._settings

    async def _target(self, user_id: UserID) -> UserNid:
        if domain_of(user_id) != self._process.server:
            raise InvalidParam("server notices are for people of this server")
        async with self._process.database.reader() as conn:
            account = await accounts.find(conn, user_id)
        if account is None or account.deactivated:
            raise NotFound("there is no such account")
        return account.user

    async def _room(
        self, settings: Settings, speaker: UserID, user: UserNid, target: UserID
    ) -> RoomID:
        """The room for somebody, who is invited again if they have left it."""
        async with self._process.database.reader() as conn:
            room_id = await notice_rooms.find(conn, user)
        members = self._means.memberships
        if room_id is None or await members.standing(speaker, room_id) != "join":
            room_id = await self._new_room(settings, speaker, user, room_id)
            await self._tag(user, room_id)
        if await members.standing(target, room_id) not in {"join", "invite"}:
            await members.invite(speaker, room_id, target, None)
        return room_id

    async def _new_room(
        self, settings: Settings, speaker: UserID, user: UserNid, instead_of: RoomID | None
    ) -> RoomID:
        """Make a room in which nobody else can speak."""
        wish = RoomWish(
            user=await self._process.number_of(speaker),
            creator=speaker,
            can_encrypt=False,
            preset=Preset.PRIVATE,
            name=settings.room_name,
            creation_content={"m.federate": False},
            levels={"users_default": -10},
        )
        made = await self._means.creation.create(wish)
        async with self._process.database.reader() as conn:
            nid = (await self._process.numbers.rooms.intern(conn, [made]))[made]
            await notice_rooms.put(conn, user, nid, instead_of)
            # Of two that are made at a time, the first is used.
            return await notice_rooms.find(conn, user) or made

    async def _tag(self, user: UserNid, room_id: RoomID) -> None:
        """Tell the user's clients what the room is for, beside what they made of it."""
        data = self._means.account_data
        try:
            content = orjson.loads(await data.get(user, room_id, _TAGS))
        except NotFound:
            content = {}
        tags = content.get("tags")
        tagged = {**(tags if isinstance(tags, dict) else {}), TAG: {}}
        await data.put(user, room_id, _TAGS, orjson.dumps({**content, "tags": tagged}))
