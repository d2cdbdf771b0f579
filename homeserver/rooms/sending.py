"""Sending events, state and redactions into rooms.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from federation.building import Draft
from federation.errors import IdentifierError
from federation.events import StateKey
from federation.identifiers import (
    EventID,
    RoomAlias,
    RoomID,
    UserID,
    is_user_id,
    parse_event_id,
    parse_room_alias,
)
from federation.power_levels import LevelError
from homeserver.errors import (
    BadAlias,
    BadJson,
    DuplicateAnnotation,
    Forbidden,
    InvalidParam,
    MatrixError,
    UserSuspended,
)
from homeserver.rooms.aliases import CANONICAL, Aliases
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.current import Current
from homeserver.rooms.drafting import Submission
from homeserver.rooms.guest_access import GUEST_ACCESS, check_guest_may_join
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Intake
from homeserver.rooms.notice_rooms import check_may_leave
from homeserver.rooms.posting import post_one
from homeserver.rooms.relating import ANNOTATION, THREAD, Relation, relation_in, relation_of
from homeserver.rooms.restricted import without_authoriser
from homeserver.storage import guests, received, relations
from homeserver.storage.events import get_sent
from homeserver.storage.process import Process
from homeserver.storage.under_way import alone

_LONGEST = 255
"""Bytes of an event's type and state key."""
_ENTERING = frozenset({"join", "invite", "knock"})


class Transaction(NamedTuple):
    """A device's name for one request, so that a repeat is known."""

    device: int
    path: str
    """Of the request, without the transaction ID."""
    txn_id: str
    is_own: bool = True
    """Whether the device chose the ID, and so is told it again with the event."""

    @property
    def once(self) -> tuple[int, bytes]:
        """The device, and a hash of the rest."""
        text = f"{self.path}\0{self.txn_id}"
        return self.device, hashlib.sha256(text.encode(errors="surrogatepass")).digest()

    @property
    def told(self) -> str | None:
        """What the device is told with the event."""
        return self.txn_id if self.is_own and "\0" not in self.txn_id else None


class Sending:
    """Sends events of people of this server."""

    def __init__(
        self,
        process: Process,
        intake: Intake,
        current: Current,
        aliases: Aliases,
        blocking: Blocking,
        ignoring: Ignoring,
    ) -> None:
        self._process = process
        self._blocking = blocking
        self._ignoring = ignoring
        self._intake = intake
        self._current = current
        self._aliases = aliases

    async def send(
        self,
        sender: UserID,
        room_id: RoomID,
        kind: str,
        content: Mapping[str, Any],
        transaction: Transaction,
        ts: int | None = None,
        sticky: int | None = None,
    ) -> EventID:
        """Send a message event, of another time than now if that is given.

        It sticks for so many milliseconds, if that is given. The ID of the first try, if this is a
        repeat.

        Raises:
            Forbidden: the rules of the room forbid it.
            BadJson, TooLarge, InvalidParam: it cannot be an event.

        """
        check_name(kind)
        redacts = None
        if kind == "m.room.redaction":
            redacts = _redacts(content)
            await self._check_redaction(sender, room_id, redacts)
            content = {key: value for key, value in content.items() if key != "redacts"}
        draft = Draft(kind, sender, content, None, room_id, redacts, sticky)
        once = transaction.once
        submission = Submission([draft], once=once, txn_id=transaction.told, ts=ts)
        relation = relation_in(kind, content)
        if relation is None or relation.rel_type not in {ANNOTATION, THREAD}:
            return await post_one(self._intake, submission, room_id)
        return await self._relate(room_id, relation, submission, once)

    async def redact(
        self,
        sender: UserID,
        room_id: RoomID,
        event_id: EventID,
        content: Mapping[str, Any],
        transaction: Transaction,
    ) -> EventID:
        """Take the content out of an event; errors as `send`."""
        named = {**content, "redacts": event_id}
        return await self.send(sender, room_id, "m.room.redaction", named, transaction)

    async def set_state(
        self,
        sender: UserID,
        room_id: RoomID,
        kind: str,
        state_key: str,
        content: Mapping[str, Any],
        transaction: Transaction | None = None,
        ts: int | None = None,
        sticky: int | None = None,
    ) -> EventID:
        """Set an entry of the room's state, of another time than now if that is given.

        The event that says so already, if there is one and the new one is not to stick. With a
        transaction, a repeat of it answers the ID of the first try.

        Raises:
            Forbidden: the rules of the room forbid it.
            BadJson, TooLarge, InvalidParam: it cannot be an event.
            BadAlias: a canonical alias that does not lead to the room.
            CannotLeaveNotices: there the server speaks to them.

        """
        check_name(kind, state_key)
        if kind == "m.room.create":
            raise Forbidden("a room is created once")
        if kind == "m.room.member":
            await self._check_membership(sender, room_id, state_key, content.get("membership"))
            content = without_authoriser(content)
        if kind == "m.room.tombstone" and content.get("replacement_room") == room_id:
            raise InvalidParam("a room is not replaced by itself")
        if kind == "m.room.canonical_alias" and not state_key:
            await self._check_aliases(room_id, content)
        draft = Draft(kind, sender, content, state_key, room_id, sticky=sticky)
        once = transaction.once if transaction else None
        return await post_one(self._intake, Submission([draft], once=once, ts=ts), room_id)

    async def check_suspended(self, user: UserID, redacts: object) -> None:
        """See that somebody suspended takes back their own words, or raise `UserSuspended`.

        https://spec.matrix.org/v1.19/client-server-api/#account-suspension
        """
        if not isinstance(redacts, str):
            raise UserSuspended
        async with self._process.database.reader() as conn:
            target = (await received.by_ids(conn, [EventID(redacts)])).get(EventID(redacts))
        if target is None or target.event.sender != user:
            raise UserSuspended

    async def unname(self, sender: UserID, room_id: RoomID, alias: RoomAlias) -> None:
        """Name an alias that leads nowhere now in the room's state no more, if the sender may."""
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [CANONICAL])
        before = state[CANONICAL].content if CANONICAL in state else {}
        content = {key: value for key, value in before.items() if value != alias}
        others = before.get("alt_aliases")
        if isinstance(others, list) and alias in others:
            content["alt_aliases"] = [other for other in others if other != alias]
        if content != before:
            draft = Draft(CANONICAL[0], sender, content, CANONICAL[1], room_id)
            with suppress(Forbidden):
                await post_one(self._intake, Submission([draft]), room_id)

    async def _check_membership(
        self, sender: UserID, room_id: RoomID, state_key: str, membership: object
    ) -> None:
        """See that nobody comes in, or gets away, where `Memberships` would not let them."""
        if not is_user_id(state_key):
            raise BadJson("the state key of a membership is a user ID")
        if membership == "leave" and state_key == sender:
            await check_may_leave(self._process, sender, room_id)
        if membership == "invite":
            await self._ignoring.check_invitation(sender, UserID(state_key))
        if isinstance(membership, str) and membership in _ENTERING:
            member: StateKey = ("m.room.member", state_key)
            async with self._process.database.reader() as conn:
                state = await self._current.read(conn, room_id, [member, GUEST_ACCESS])
                if member not in state or state[member].membership != "join":
                    await self._blocking.check(conn, room_id)
                    if membership == "join" and await guests.is_guest(conn, sender):
                        check_guest_may_join(state.get(GUEST_ACCESS))

    async def _relate(
        self, room_id: RoomID, relation: Relation, submission: Submission, once: tuple[int, bytes]
    ) -> EventID:
        """Send a reaction, or what is said in a thread, if it may be one."""
        if relation.rel_type == THREAD:
            await self._check_thread(relation, once)
            return await post_one(self._intake, submission, room_id)
        (draft,) = submission.drafts
        what = (draft.type, draft.sender, relation.parent, str(relation.key))
        async with alone(self._process, what, repr(once).encode()) as is_alone:
            if not is_alone:
                raise DuplicateAnnotation
            await self._check_annotation(room_id, relation, draft, once)
            return await post_one(self._intake, submission, room_id)

    async def _check_thread(self, relation: Relation, once: tuple[int, bytes]) -> None:
        """See that a thread begins with an event that is related to none, unless it was sent.

        https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
        """
        async with self._process.database.reader() as conn:
            root = (await received.by_ids(conn, [relation.parent])).get(relation.parent)
            if root is None or relation_of(root.event) is None or await get_sent(conn, [once]):
                return
        raise MatrixError("the event is related to another: no thread begins there")

    async def _check_annotation(
        self, room_id: RoomID, relation: Relation, draft: Draft, once: tuple[int, bytes]
    ) -> None:
        """See that nobody annotates an event twice in the same way, unless it was sent before.

        https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
        """
        async with self._process.database.reader() as conn:
            if not await get_sent(conn, [once]) and await relations.is_annotated(
                conn, room_id, relation.parent, draft.type, draft.sender, relation.key
            ):
                raise DuplicateAnnotation

    async def _check_redaction(self, sender: UserID, room_id: RoomID, event_id: EventID) -> None:
        """See that people take back their own words, or are there to take back others'.

        The rules of rooms let a server redact what anybody of it said: to tell its people apart
        is left to it.
        """
        async with self._process.database.reader() as conn:
            target = (await received.by_ids(conn, [event_id])).get(event_id)
            if target is None or target.event.sender == sender:
                return
            levels = await self._current.levels(conn, room_id)
        try:
            may = levels is not None and levels.of(sender) >= levels.named("redact")
        except LevelError:
            may = False
        if not may:
            raise Forbidden("you may not redact what others say here")

    async def _check_aliases(self, room_id: RoomID, content: Mapping[str, Any]) -> None:
        """See that new aliases lead to the room; those that were there may stay as they are.

        https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
        """
        known = await self._aliases.canonical(room_id)
        for alias in _named(content):
            if alias not in known and not await self._leads_to(alias, room_id):
                raise BadAlias(f"{alias} does not lead to this room")

    async def _leads_to(self, alias: str, room_id: RoomID) -> bool:
        try:
            parsed: RoomAlias = parse_room_alias(alias)
        except IdentifierError as error:
            raise InvalidParam("not a room alias") from error
        return await self._aliases.leads_to(parsed, room_id)


def _named(content: Mapping[str, Any]) -> list[str]:
    """The aliases that a canonical alias names.

    "If not present, null, or empty the room should be considered to not have a canonical alias."
    """
    others = content.get("alt_aliases", [])
    if not isinstance(others, list):
        raise BadJson("alt_aliases must be a list")
    alias = content.get("alias")
    named = [*others] if alias is None or alias == "" else [alias, *others]
    if not all(isinstance(alias, str) for alias in named):
        raise InvalidParam("an alias is a string")
    return named


def _redacts(content: Mapping[str, Any]) -> EventID:
    redacts = content.get("redacts")
    try:
        return parse_event_id(redacts if isinstance(redacts, str) else "")
    except IdentifierError as error:
        raise BadJson("redacts must be an event ID") from error


def check_name(kind: str, state_key: str | None = None) -> None:
    """See that no event is of an impossible type or state key, or raise `InvalidParam`."""
    if not 0 < len(kind.encode(errors="replace")) <= _LONGEST:
        raise InvalidParam(f"an event type has 1 to {_LONGEST} bytes")
    if state_key is not None and len(state_key.encode(errors="replace")) > _LONGEST:
        raise InvalidParam(f"a state key has at most {_LONGEST} bytes")
