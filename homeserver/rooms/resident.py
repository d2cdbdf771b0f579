"""What a server in a room does for those of other servers: tells of it, lets people in and out.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson

from federation import events as event_formats
from federation.building import Draft, Place, add_signature, template
from federation.canonical_json import JsonObject, encode
from federation.errors import CanonicalJSONError, EventFormatError
from federation.events import Event, StateKey
from federation.identifiers import EventID, RoomID, ServerName, UserID, domain_of, is_user_id
from federation.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.errors import (
    BadJson,
    Forbidden,
    IncompatibleRoomVersion,
    InvalidParam,
    MissingParam,
    NotFound,
)
from homeserver.rooms.absorbing import Absorbing, refusal_of
from homeserver.rooms.blocking import Blocking
from homeserver.rooms.brief_states import brief_state
from homeserver.rooms.current import Current
from homeserver.rooms.drafting import Submission, Work, parents_of
from homeserver.rooms.heads import Head
from homeserver.rooms.ignoring import Ignoring
from homeserver.rooms.intake import Means
from homeserver.rooms.lifetimes import KEYS as LIFETIMES
from homeserver.rooms.lifetimes import Lifetimes, asked_for
from homeserver.rooms.membership import JOIN_RULES, Memberships
from homeserver.rooms.policing import Policing
from homeserver.rooms.receiving import ACL, may_speak
from homeserver.rooms.remote_events import Preview, RemoteEvents
from homeserver.rooms.restricted import AUTHORISER, RESTRICTED, join_rule
from homeserver.rooms.server_views import ServerViews
from homeserver.rooms.stripped import KEYS, stripped
from homeserver.storage import federation_reads, history, invites, memberships, received
from homeserver.storage.batch import Fate, Membership
from homeserver.storage.numbers import RoomNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.state_groups import EventNid, GroupNid

MOST = 100
"""Events of one answer about history."""
_CANDIDATES = 20
"""Events of which one may be told that is closest to a moment."""


class RoomState(NamedTuple):
    """A state with the auth chain of all that is in it."""

    state: list[EventNid]
    chain: list[EventNid]
    servers: Sequence[ServerName] | None = None
    """Where members are left out of the state, the servers that they are of."""


class Resident:
    """Answers other servers about the rooms that this one is in."""

    def __init__(
        self,
        process: Process,
        current: Current,
        means: Means,
        remote: RemoteEvents,
        absorbing: Absorbing,
        policing: Policing,
        memberships_: Memberships,
        blocking: Blocking,
        ignoring: Ignoring,
        views: ServerViews,
        lifetimes: Lifetimes,
    ) -> None:
        self._lifetimes = lifetimes
        self._policing = policing
        self._process = process
        self._current = current
        self._means = means
        self._remote = remote
        self._absorbing = absorbing
        self._memberships = memberships_
        self._blocking = blocking
        self._ignoring = ignoring
        self._views = views

    async def make(
        self, what: str, origin: ServerName, room_id: RoomID, user: UserID, versions: Sequence[str]
    ) -> tuple[JsonObject, RoomVersion]:
        """The event with which somebody of another server would join, leave or knock, unsigned.

        Raises:
            NotFound: we are not in the room.
            Forbidden: the rules do not let them, or it is not their server that asks.
            IncompatibleRoomVersion: their server does not speak the room's version.

        """
        if domain_of(user) != origin:
            raise Forbidden("the user is of another server")
        async with self._process.database.reader() as conn:
            head = await self._here(conn, room_id, origin)
        _check_whole(head)
        version = head.version or ROOM_VERSIONS["1"]
        if what != "leave" and version.name not in (versions or ["1"]):
            raise IncompatibleRoomVersion(room_version=version.name)
        content = await self._content(what, room_id, user)
        draft = Draft("m.room.member", user, content, user, room_id)
        needs = Submission([draft]).needs(version)
        async with self._process.database.reader() as conn:
            head = await self._current.head(conn, room_id, needs) or head
        work = Work(head, version, self._means.signer, self._process.now(), self._means.opaque_ids)
        made = work.make(draft)
        if not isinstance(made, Event):
            raise Forbidden(made.reason)
        auth = [tip.event for key in needs if (tip := head.known.get(key))]
        cited = [event for event in auth if event.event_id in made.auth_events]
        place = Place(parents_of([tip.event for tip in head.tips]), cited)
        made_for = template(draft, place, version, self._process.now())
        return {**made_for, "origin": self._process.server}, version

    async def accept(
        self,
        what: str,
        origin: ServerName,
        room_id: RoomID,
        event_id: EventID,
        body: JsonObject,
        *,
        omit_members: bool = False,
    ) -> tuple[Event, RoomState | None, list[bytes]]:
        """Let an event into a room that another server made of what `make` handed out.

        Answers the event, for a join the state before it, perhaps without most of the members, and
        for a knock the events that are shown.

        Raises:
            NotFound, Forbidden: as `make`.
            UnableToAuthorise, UnableToGrant: as `make`, of a room that lets in members of others.
            BadJson, InvalidParam: it is not such an event, or builds on what is not here.

        """
        async with self._process.database.reader() as conn:
            head = await self._here(conn, room_id, origin)
        _check_whole(head)
        version = head.version or ROOM_VERSIONS["1"]
        event = await self._checked(what, origin, room_id, event_id, body, version)
        policy = await self._policing.decisions(room_id, [event])
        rulings = await self._absorbing.absorb(room_id, [event], policy=policy)
        denied = refusal_of(rulings.get(event.event_id))
        if denied is not None:
            raise Forbidden(denied.reason)
        async with self._process.database.reader() as conn:
            stored = (await received.by_ids(conn, [event.event_id])).get(event.event_id)
            if stored is None:
                raise NotFound("there is no such room here any more")
            if stored.fate is not Fate.ACCEPTED:
                raise Forbidden("the event was refused before")
            but = [origin, self._process.server]
            pos = await federation_reads.forward(conn, stored.room, stored.nid, but)
            state = None
            if what == "join":
                user = event.sender if omit_members else None
                state = await self._state_of(conn, stored.group, stored.room, user)
            shown = await self._current.read(conn, room_id, KEYS) if what == "knock" else {}
        self._process.committed(pos)
        return event, state, [entry.json for entry in shown.values()]

    async def invited(
        self,
        origin: ServerName,
        room_id: RoomID,
        event_id: EventID,
        version_name: str,
        body: JsonObject,
        shown: Sequence[Any],
    ) -> bytes:
        """Take an invitation for somebody here; answers it with our signature.

        https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid

        Raises:
            IncompatibleRoomVersion, InvalidParam, BadJson, Forbidden, NotFound: we do not.
            InviteBlocked: who is invited does not want it.

        """
        if version_name not in ROOM_VERSIONS:
            raise IncompatibleRoomVersion(room_version=version_name)
        version = ROOM_VERSIONS[version_name]
        event = _parsed(body, version)
        target = event.state_key or ""
        is_good = (
            event.event_id == event_id
            and event.room_id == room_id
            and event.type == "m.room.member"
            and event.membership == "invite"
            and is_user_id(target)
        )
        if not is_good or not _may_send(origin, event):
            raise InvalidParam("this is not the invitation that the path names")
        if domain_of(target) != self._process.server:
            raise InvalidParam("the user is not of this server")
        await self._check_may_invite(origin, room_id)
        if not await self._remote.verified(version, [body], room_id, [origin]):
            raise InvalidParam("the invitation is not signed as it must be")
        told = await self._remote.preview(version, shown, room_id, origin)
        if version.room_id_is_create_id:
            _check_preview(told)
        signed = add_signature(body, version, self._means.signer)
        await self._note_invitation(event, version, told.shown)
        return signed.json

    async def state_before(
        self, origin: ServerName, room_id: RoomID, event_id: EventID
    ) -> RoomState:
        """The state before an event, for a server in the room."""
        async with self._process.database.reader() as conn:
            head, _ = await self._check_was_here(conn, room_id, origin, [event_id])
            _check_whole(head)
            stored = (await received.by_ids(conn, [event_id])).get(event_id)
            is_placed = stored is not None and stored.order is not None
            if stored is None or not is_placed or stored.event.room_id != room_id:
                raise NotFound("there is no such event")
            if stored.fate is Fate.REJECTED:
                raise NotFound("there is no such event")
            return await self._state_of(conn, stored.group, stored.room)

    async def event(self, origin: ServerName, event_id: EventID) -> bytes:
        """One event, as the server may see it, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            stored = (await received.by_ids(conn, [event_id])).get(event_id)
            if stored is None or stored.fate is Fate.REJECTED:
                raise NotFound("there is no such event")
            head = await self._shared(conn, stored.event.room_id, origin)
            if not self._unexpired(head, [stored]):
                raise NotFound("there is no such event")
            (shown,) = await self._views.shown(conn, origin, stored.event.room_id, [stored])
            return shown

    async def auth_chain(
        self, origin: ServerName, room_id: RoomID, event_id: EventID
    ) -> list[EventNid]:
        """The auth chain of an event."""
        async with self._process.database.reader() as conn:
            await self.check_server(conn, room_id, origin)
            stored = (await received.by_ids(conn, [event_id])).get(event_id)
            if stored is None or stored.event.room_id != room_id:
                raise NotFound("there is no such event")
            return await federation_reads.auth_chain(conn, [stored.nid])

    async def backfill(
        self, origin: ServerName, room_id: RoomID, before: Sequence[str], limit: int
    ) -> list[bytes]:
        """Events from these on, back in the history."""
        async with self._process.database.reader() as conn:
            head = await self.check_server(conn, room_id, origin)
            nids = await federation_reads.back_from(
                conn, head.room, before, max(1, min(limit, MOST))
            )
            stored = await received.by_nids(conn, nids)
            kept = self._unexpired(head, [stored[nid] for nid in nids if nid in stored])
            return await self._views.shown(conn, origin, room_id, kept)

    async def closest(
        self, origin: ServerName, room_id: RoomID, ts: int, *, forwards: bool
    ) -> Event:
        """The event closest to a moment, for a server in the room, or raise `NotFound`."""
        async with self._process.database.reader() as conn:
            head = await self._shared(conn, room_id, origin)
            found = await history.closest(conn, head.room, ts, None, _CANDIDATES, forwards=forwards)
        for one in found:
            if not self._lifetimes.is_expired(one):
                return one.event
        raise NotFound("there is no such event")

    async def missing(
        self,
        origin: ServerName,
        room_id: RoomID,
        earliest: Collection[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
    ) -> list[bytes]:
        """Events between those that a server has, and those that it heard of."""
        async with self._process.database.reader() as conn:
            head, known = await self._check_was_here(conn, room_id, origin, latest)
            most = max(0, min(limit, MOST))
            nids = await federation_reads.missing(conn, head.room, known, earliest, most, min_depth)
            stored = await received.by_nids(conn, nids)
            ordered = self._unexpired(head, [stored[nid] for nid in nids if nid in stored])
            return await self._views.shown(conn, origin, room_id, ordered)

    async def check_server(self, conn: Connection, room_id: RoomID, origin: ServerName) -> Head:
        """The room's head, if the server is in the room and may speak there.

        Raises:
            NotFound: we are not in the room.
            Forbidden: the server is not, or its ACL keeps it out.

        """
        head = await self._shared(conn, room_id, origin)
        _check_may_speak(head, origin)
        return head

    async def open_to(self, origin: ServerName, room_ids: Collection[RoomID]) -> set[RoomID]:
        """Those of the rooms that there are here whose ACLs let a server take part.

        https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
        """
        if not room_ids:
            return set()
        async with self._process.database.reader() as conn:
            heads = await self._current.heads(conn, room_ids, [ACL])
        return {head.room_id for head in heads if may_speak(head, origin)}

    async def _shared(self, conn: Connection, room_id: RoomID, origin: ServerName) -> Head:
        """The head of a room that both servers are in, whatever its ACL says.

        That does not protect all endpoints, only those that are listed:
        https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
        """
        head = await self._ours(conn, room_id)
        if not await memberships.has_server(conn, head.room, origin):
            raise Forbidden("your server is not in this room")
        return head

    async def _check_was_here(
        self, conn: Connection, room_id: RoomID, origin: ServerName, event_ids: Sequence[str]
    ) -> tuple[Head, Sequence[str]]:
        """The room's head, and those of the events before which the server was in the room.

        For a server that is in it, all. One whose last user was put out is told what it needs to
        understand that.

        Raises:
            NotFound, Forbidden: as `check_server`.

        """
        head = await self._ours(conn, room_id)
        _check_may_speak(head, origin)
        if await memberships.has_server(conn, head.room, origin):
            return head, event_ids
        stored = (await received.by_ids(conn, map(EventID, event_ids))).values()
        own = [one for one in stored if one.room == head.room and one.order is not None]
        present = await self._views.present(conn, origin, room_id, own)
        if not present:
            raise Forbidden("your server is not in this room")
        return head, [one.event.event_id for one in present]

    async def _here(self, conn: Connection, room_id: RoomID, origin: ServerName) -> Head:
        head = await self._ours(conn, room_id)
        _check_may_speak(head, origin)
        return head

    async def _ours(self, conn: Connection, room_id: RoomID) -> Head:
        head = await self._current.head(conn, room_id, [ACL, *LIFETIMES])
        if head is None or not await memberships.has_server(conn, head.room, self._process.server):
            raise NotFound("this server is not in the room")
        return head

    async def _check_may_invite(self, origin: ServerName, room_id: RoomID) -> None:
        """Raise `Forbidden` if the room, as far as we are in it, keeps the server out."""
        async with self._process.database.reader() as conn:
            head = await self._current.head(conn, room_id, [ACL])
            ours = self._process.server
            if head is None or not await memberships.has_server(conn, head.room, ours):
                return
        _check_may_speak(head, origin)

    async def _content(self, what: str, room_id: RoomID, user: UserID) -> JsonObject:
        content: JsonObject = {"membership": what}
        authoriser = await self._authoriser(room_id, user) if what == "join" else None
        return content if authoriser is None else {**content, AUTHORISER: authoriser}

    async def _authoriser(self, room_id: RoomID, user: UserID) -> UserID | None:
        """Who here vouches for somebody who joins; nobody where that is not called for.

        Raises:
            Forbidden, UnableToAuthorise, UnableToGrant: as `Memberships.authoriser`.

        """
        member: StateKey = ("m.room.member", user)
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [JOIN_RULES, member])
        rules = state[JOIN_RULES].content if JOIN_RULES in state else {}
        if join_rule(rules) not in RESTRICTED:
            return None
        if member in state and state[member].membership in {"invite", "join"}:
            return None
        return await self._memberships.authoriser(user, room_id, rules)

    async def _checked(
        self,
        what: str,
        origin: ServerName,
        room_id: RoomID,
        event_id: EventID,
        body: JsonObject,
        version: RoomVersion,
    ) -> Event:
        event = _parsed(body, version)
        is_good = (
            event.event_id == event_id
            and event.room_id == room_id
            and event.type == "m.room.member"
            and event.membership == what
            and event.state_key == event.sender
        )
        if not is_good or domain_of(event.sender) != origin:
            raise InvalidParam("this is not the event that the path names")
        authoriser = event.content.get(AUTHORISER)
        if is_user_id(authoriser) and domain_of(str(authoriser)) == self._process.server:
            # That they were handed such an event, and still may come in, is only their word.
            await self._authoriser(room_id, event.sender)
            signed = add_signature(body, version, self._means.signer)
            body = orjson.loads(signed.json)
        verified = await self._remote.verified(version, [body], room_id, [origin])
        if not verified:
            raise InvalidParam("the event is not signed as it must be")
        async with self._process.database.reader() as conn:
            places = await received.places(conn, [*event.prev_events, *event.auth_events])
        here = {event_id for event_id, is_placed in places.items() if is_placed}
        if not here.issuperset(event.prev_events) or not places.keys() >= set(event.auth_events):
            raise InvalidParam("the event builds on what is not here")
        return verified[0]

    async def _state_of(
        self, conn: Connection, nid: GroupNid | None, room: RoomNid, joiner: UserID | None = None
    ) -> RoomState:
        """A state; without the members whom somebody who joins need not know at once."""
        if nid is None:
            return RoomState([], [])
        group = (await self._means.states.load(conn, [nid]))[nid]
        if joiner is None:
            state = list(group.entries().values())
            return RoomState(state, await federation_reads.auth_chain(conn, state))
        state = await brief_state(conn, self._process.numbers, room, group, joiner)
        chain = set(await federation_reads.auth_chain(conn, state)) - set(state)
        return RoomState(state, list(chain), await memberships.servers_in(conn, room))

    async def _note_invitation(
        self, event: Event, version: RoomVersion, shown: Sequence[JsonObject]
    ) -> None:
        """Note it, unless we are in the room: then the event itself comes too."""
        user_id = UserID(event.state_key or "")
        await self._memberships.check_known(user_id)
        await self._ignoring.check_invitation(event.sender, user_id)
        async with self._process.database.reader() as conn:
            await self._blocking.check(conn, event.room_id)
            numbers = self._process.numbers
            users = await numbers.users.find(conn, [user_id])
            room = (await numbers.rooms.intern(conn, [event.room_id]))[event.room_id]
            if await memberships.has_server(conn, room, self._process.server):
                return
            nid = (await numbers.events.intern(conn, [event.event_id]))[event.event_id]
            told = orjson.dumps([*shown, *stripped([event])])
            row = invites.Invite(room, users[user_id], told, event.json, version.name)
            pos = await invites.add(conn, row, nid, Membership.INVITE)
        self._process.committed(pos)

    def _is_over(self, event: Event, asked: int | None) -> bool:
        times = self._lifetimes
        return times.is_past(event.origin_server_ts, asked) or times.has_vanished(event)

    def _unexpired(self, head: Head, stored: Sequence[received.Stored]) -> list[received.Stored]:
        """Those of a room's events that are not too old to be told to anybody."""
        asked = asked_for(lambda key: tip.event if (tip := head.known.get(key)) else None)
        return [one for one in stored if one.event.is_state or not self._is_over(one.event, asked)]


def _may_send(origin: ServerName, invitation: Event) -> bool:
    """Whether a server may send an invitation: its own people's, or one by address.

    "If the event is a 3rd party invite, the sender must already match the 3rd party invite, and the
    server which actually sends the event may be a different server."
    """
    if domain_of(invitation.sender) == origin:
        return True
    signed: Any = invitation.content
    for key in ("third_party_invite", "signed"):
        signed = signed.get(key) if isinstance(signed, dict) else None
    return isinstance(signed, dict) and signed.get("mxid") == invitation.state_key


def _check_may_speak(head: Head, origin: ServerName) -> None:
    """Raise `Forbidden` if the room's ACL keeps the server out."""
    if not may_speak(head, origin):
        raise Forbidden("your server may not take part in this room")


def _check_whole(head: Head) -> None:
    """Raise `NotFound` as long as not all members are known: another server has to be asked."""
    if head.partial is not None:
        raise NotFound("this server does not know all members of the room yet")


def _check_preview(told: Preview) -> None:
    """Raise if what is shown of a room does not prove which room it is.

    https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    if not any(one["type"] == "m.room.create" for one in told.shown):
        raise MissingParam("invite_room_state has no m.room.create of this room")
    if not told.is_whole:
        raise InvalidParam("invite_room_state has what is no event of this room")


def _parsed(body: JsonObject, version: RoomVersion) -> Event:
    try:
        return event_formats.parse(encode(body, strict=False), version).event
    except (CanonicalJSONError, EventFormatError) as error:
        raise BadJson(f"this is not an event: {error}") from error
