"""Joining, leaving, knocking and inviting where another server has to be asked.

https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

import orjson

from federation import building
from federation.building import Draft, sign_event
from federation.canonical_json import JsonObject
from federation.decision import Denied
from federation.errors import (
    CanonicalJSONError,
    EventFormatError,
    FederationError,
    HttpError,
    IdentifierError,
)
from federation.events import Event, StateKey
from federation.identifiers import (
    EventID,
    RoomAlias,
    RoomID,
    ServerName,
    UserID,
    domain_of,
    parse_room_id,
    parse_server_name,
)
from federation.net.target import encode_target
from federation.net.transport import Limits
from federation.room_versions import ROOM_VERSIONS, EventIDFormat, RoomVersion
from homeserver.accounts import profile_fields
from homeserver.errors import (
    BadGateway,
    Forbidden,
    IncompatibleRoomVersion,
    InviteBlocked,
    MatrixError,
    NotFound,
    UnableToAuthorise,
    UnableToGrant,
)
from homeserver.peers.peers import Peers
from homeserver.peers.sending import DUTY
from homeserver.rooms import outliers
from homeserver.rooms.absorbing import Absorbing, refusal_of
from homeserver.rooms.aliases import Place
from homeserver.rooms.completing import Completing
from homeserver.rooms.current import CREATE, Current
from homeserver.rooms.drafting import Submission, Work
from homeserver.rooms.intake import Means
from homeserver.rooms.policing import Policing
from homeserver.rooms.purging import Purging
from homeserver.rooms.receiving import Receiving
from homeserver.rooms.remote_events import (
    JoinAnswer,
    RemoteEvents,
    decoded,
    is_unknown_endpoint,
)
from homeserver.rooms.stripped import KEYS, servers_shown
from homeserver.rooms.wholeness import Wholeness
from homeserver.storage import invites, memberships, outgoing, partial_rooms, received
from homeserver.storage.batch import Membership
from homeserver.storage.loading import load_event
from homeserver.storage.numbers import RoomNid
from homeserver.storage.process import Process

_MAKE = Limits(total=30.0, body=1024 * 1024)
"""For the event of whoever joins: others wait to be tried."""
_V1 = ("_matrix", "federation", "v1")
_V2 = ("_matrix", "federation", "v2")
_MOST_CANDIDATES = 10
_MOST_LEFT_THROUGH = 3
"""Servers in a room that are asked to let somebody out who was invited from here."""
_INVITATION_PAUSES = (0.05, 0.25, 1.0)
"""Seconds: a server tells the room of its invitation only once we have signed it."""
_JUST_PUT_OUT = 60_000
"""Milliseconds since somebody was put out in which their server may not know it yet."""
_LOOKS, _BETWEEN_LOOKS = 40, 0.05
"""How often it is seen whether it knows; seconds."""
_WHOLE_SECONDS = 0.5
"""How long somebody who joins waits for all members."""
_FOLLOW_SECONDS = 60.0
"""How long, if somebody else came in while they were on the way."""
_MOST_SERVERS = 10_000
_MOST_VIA = 100
_SMALL = Limits(total=30.0, body=256 * 1024)
"""For answers about one person or name."""


class FederatedRooms:
    """See `remote.RemoteRooms`."""

    def __init__(
        self,
        process: Process,
        peers: Peers,
        remote: RemoteEvents,
        absorbing: Absorbing,
        policing: Policing,
        receiving: Receiving,
        current: Current,
        means: Means,
        completing: Completing,
        wholeness: Wholeness,
        purging: Purging,
    ) -> None:
        self._purging = purging
        self._completing = completing
        self._wholeness = wholeness
        self._policing = policing
        self._receiving = receiving
        self._process = process
        self._peers = peers
        self._remote = remote
        self._absorbing = absorbing
        self._current = current
        self._means = means
        self._importing: WeakValueDictionary[RoomID, asyncio.Lock] = WeakValueDictionary()

    async def join(
        self,
        user: UserID,
        room_id: RoomID,
        via: Sequence[ServerName],
        content: JsonObject,
        *,
        is_here: bool = False,
    ) -> None:
        """Join through the first of the servers that lets us; see `remote.RemoteRooms`."""

        async def through(server: ServerName) -> None:
            version, made = await self._make_join(server, user, room_id, content)
            answer = await self._remote.send_join(
                server, room_id, made, is_state_wanted=not is_here
            )
            # Of a restricted room: with the signature of who let us in.
            event = answer.event if answer.event and answer.event == made else made
            if is_here:
                await self._add(server, room_id, event)
            else:
                await self._import(server, room_id, version, event, answer)

        await self._first(via, through)

    async def leave(self, user: UserID, room_id: RoomID, content: JsonObject) -> None:
        """Reject an invitation, or take back a knock; here in any case."""
        async with self._process.database.reader() as conn:
            found = await invites.find(conn, room_id, user)
            if found is None:
                raise NotFound("there is no such room here")
            others = await memberships.servers_in(conn, found.room, _MOST_LEFT_THROUGH)
            told = await invites.stripped_states(conn, [found.room], found.user)
        shown = servers_shown(told.get(found.room, b"[]"))[:_MOST_LEFT_THROUGH]
        servers = dict.fromkeys([domain_of(found.sender), *_room_server(room_id), *others, *shown])
        draft = Draft("m.room.member", user, content, user, room_id)
        event = await self._leave_through(servers, draft, room_id) or self._left_alone(found, draft)
        async with self._process.database.reader() as conn:
            nids = await self._process.numbers.events.intern(conn, [event.event_id])
            pos = await invites.remove(conn, found, event, nids[event.event_id])
        self._process.committed(pos)

    async def _leave_through(
        self, servers: Iterable[ServerName], draft: Draft, room_id: RoomID
    ) -> Event | None:
        """The departure, which one of the servers took; `None` if none did."""
        for server in servers:
            if server == self._process.server:
                continue
            try:
                _, event = await self._handshake(
                    "leave", server, draft.sender, room_id, dict(draft.content)
                )
                await self._send_leave(server, room_id, event)
            except (FederationError, MatrixError):
                continue  # nobody can be kept in a room because a server does not answer
            return event
        return None

    def _left_alone(self, known: invites.Known, draft: Draft) -> Event:
        """A departure that only people here learn of."""
        asking = load_event(known.json, known.event_id, known.version)
        return building.build(
            draft,
            building.Place([asking], [asking]),
            asking.version,
            self._means.signer,
            now=self._process.now(),
            opaque_id=next(self._means.opaque_ids),
        )

    async def knock(
        self, user: UserID, room_id: RoomID, via: Sequence[ServerName], content: JsonObject
    ) -> None:
        """Knock through the first of the servers that lets us."""

        async def through(server: ServerName) -> None:
            version, event = await self._handshake("knock", server, user, room_id, content)
            target = encode_target(*_V1, "send_knock", room_id, event.event_id)
            answer = await self._peers.client.put_json(server, target, orjson.loads(event.json))
            state = answer.get("knock_room_state")
            listed = state if isinstance(state, list) else []
            told = await self._remote.preview(version, listed, room_id, server)
            await self._note(event, version, told.shown, Membership.KNOCK)

        await self._first(via, through)

    async def invite(self, draft: Draft) -> EventID:
        """Invite somebody of another server: it signs the invitation too.

        https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
        """
        room_id, target = draft.room_id, UserID(draft.state_key or "")
        if room_id is None:
            raise NotFound("there is no such room here")
        made, version, shown = await self._invitation(draft, room_id)
        event = await self._policing.agreed(room_id, made)
        if isinstance(event, Denied):
            raise Forbidden(event.reason)
        await self._until_told(room_id, target)
        try:
            answer = await self._send_invitation(domain_of(target), event, version, shown)
        except HttpError as error:
            raise _told(error) from error
        except FederationError as error:
            raise BadGateway("the server of this user does not answer") from error
        signed = await self._remote.verified(version, [answer], room_id)
        if [one.event_id for one in signed] != [event.event_id]:
            raise BadGateway("the server of this user answered with something else")
        rulings = await self._absorbing.absorb(room_id, signed)
        denied = refusal_of(rulings.get(event.event_id))
        if denied is not None:
            raise Forbidden(denied.reason)
        return event.event_id

    async def _until_told(self, room_id: RoomID, user: UserID) -> None:
        """Wait until the server of somebody whom we have just put out knows that, if it answers.

        Were it told after the invitation, it would take that to be over.
        """
        ours, since = self._process.server, self._process.now() - _JUST_PUT_OUT
        for _ in range(_LOOKS):
            async with self._process.database.reader() as conn:
                if not await outgoing.awaits_departure(conn, room_id, user, ours, DUTY, since):
                    return
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def _send_invitation(
        self, server: ServerName, event: Event, version: RoomVersion, shown: Sequence[Event]
    ) -> object:
        """The invitation with the signature of the server, or raise `FederationError`."""
        path = ("invite", event.room_id, event.event_id)
        state = [orjson.loads(entry.json) for entry in shown]
        raw = orjson.loads(event.json)
        body = {"event": raw, "room_version": version.name, "invite_room_state": state}
        client = self._peers.client
        try:
            answer = await client.put_json(server, encode_target(*_V2, *path), body)
            return answer.get("event")
        except HttpError as error:
            if error.status not in {400, 404} or version.event_ids is not EventIDFormat.SENT:
                raise
        # "Senders which receive a 400 or 404 response to this endpoint should retry using the v1
        # API as the server may be older, if the room version is "1" or "2"."
        raw["unsigned"] = {**raw.get("unsigned", {}), "invite_room_state": state}
        response = await client.request("PUT", server, encode_target(*_V1, *path), raw)
        return decoded(response.body, tuple[int, dict[str, Any]])[1].get("event")

    async def resolve(self, alias: RoomAlias) -> Place:
        """Ask the server of an alias where it leads, or raise `NotFound`."""
        target = encode_target(*_V1, "query", "directory", query=[("room_alias", alias)])
        try:
            server = domain_of(alias)
            answer = await self._peers.client.get_json(server, target, limits=_SMALL)
        except FederationError as error:
            raise NotFound("there is no such alias, or its server does not answer") from error
        room_id, servers = answer.get("room_id"), answer.get("servers")
        if not isinstance(room_id, str) or not isinstance(servers, list):
            raise NotFound("there is no such alias")
        try:
            place = parse_room_id(room_id)
        except IdentifierError as error:
            raise NotFound("the alias leads to no room") from error
        return Place(place, _server_names(servers[:_MOST_VIA]) or [server])

    async def profile(self, user_id: UserID) -> dict[str, Any]:
        """Ask somebody's server for their profile, or raise `NotFound`."""
        target = encode_target(*_V1, "query", "profile", query=[("user_id", user_id)])
        try:
            server = domain_of(user_id)
            answer = await self._peers.client.get_json(server, target, limits=_SMALL)
        except FederationError as error:
            raise NotFound("there is no such profile, or its server does not answer") from error
        return profile_fields.told(answer)

    async def _first(self, via: Sequence[ServerName], through: Any) -> None:
        """Try the servers in turn; what the first one says that refuses is what is told.

        That one does not answer is told if no other says why not.
        """
        refusals: list[MatrixError] = []
        for server in list(via)[:_MOST_CANDIDATES]:
            try:
                await through(server)
            except HttpError as error:
                refusals.append(_told(error))
            except FederationError as error:
                refusals.append(BadGateway(f"{server} does not answer as it should: {error}"))
            except MatrixError as error:
                refusals.append(error)
            else:
                return
        refusals.sort(key=lambda refusal: isinstance(refusal, BadGateway))
        raise next(iter(refusals), NotFound("there is no server to go through to this room"))

    async def _make_join(
        self, server: ServerName, user: UserID, room_id: RoomID, content: JsonObject
    ) -> tuple[RoomVersion, Event]:
        """`make_join`; who accepts at once is patient with the server that invited them."""
        for pause in _INVITATION_PAUSES:
            try:
                return await self._handshake("join", server, user, room_id, content)
            except HttpError as error:
                if error.status != 403 or not await self._is_invited_by(server, user, room_id):
                    raise
            await asyncio.sleep(pause)
        return await self._handshake("join", server, user, room_id, content)

    async def _is_invited_by(self, server: ServerName, user: UserID, room_id: RoomID) -> bool:
        async with self._process.database.reader() as conn:
            found = await invites.find(conn, room_id, user)
        return found is not None and domain_of(found.sender) == server

    async def _handshake(
        self, what: str, server: ServerName, user: UserID, room_id: RoomID, content: JsonObject
    ) -> tuple[RoomVersion, Event]:
        """`make_*`: the event as the other server would have it, signed by us."""
        versions = [("ver", name) for name in ROOM_VERSIONS] if what != "leave" else []
        target = encode_target(*_V1, f"make_{what}", room_id, user, query=versions)
        answer = await self._peers.client.get_json(server, target, limits=_MAKE)
        name = answer.get("room_version", "1")
        if not isinstance(name, str) or name not in ROOM_VERSIONS:
            raise IncompatibleRoomVersion("the room has a version that is not known here")
        version = ROOM_VERSIONS[name]
        template = answer.get("event")
        if not isinstance(template, dict):
            raise BadGateway("the other server handed out no event")
        fields = self._filled(template, what, user, room_id, content)
        try:
            if "event_id" in template or name in {"1", "2"}:
                fields["event_id"] = f"${next(self._means.opaque_ids)}:{self._process.server}"
            return version, sign_event(fields, version, self._means.signer)
        except (CanonicalJSONError, EventFormatError) as error:
            raise BadGateway(f"the other server handed out no good event: {error}") from error

    def _filled(
        self,
        template: JsonObject,
        what: str,
        user: UserID,
        room_id: RoomID,
        content: JsonObject,
    ) -> JsonObject:
        """The template with nothing in it that it must not say for us."""
        said = template.get("content")
        given = said if isinstance(said, dict) else {}
        kept = {key: given[key] for key in ("join_authorised_via_users_server",) if key in given}
        kinds = {"join": "join", "leave": "leave", "knock": "knock"}
        return {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": user,
            "state_key": user,
            "content": {**content, **kept, "membership": kinds[what]},
            "origin_server_ts": self._process.now(),
            **{k: template[k] for k in ("depth", "prev_events", "auth_events") if k in template},
        }

    async def _send_leave(self, server: ServerName, room_id: RoomID, event: Event) -> None:
        """In version 2, or as older servers have it."""
        body, client = orjson.loads(event.json), self._peers.client
        path = ("send_leave", room_id, event.event_id)
        try:
            await client.put_json(server, encode_target(*_V2, *path), body)
        except HttpError as error:
            if not is_unknown_endpoint(error):
                raise
            # COMPAT(servers before v1.0)
            await client.request("PUT", server, encode_target(*_V1, *path), body)

    async def _import(
        self,
        server: ServerName,
        room_id: RoomID,
        version: RoomVersion,
        event: Event,
        answer: JoinAnswer,
    ) -> None:
        """Take in a room as the other server tells of it."""
        if not any(event.type == "m.room.create" for event in answer.state):
            raise BadGateway("the other server told of a room without a beginning")
        async with self._process.database.reader() as conn:
            room = (await self._process.numbers.rooms.intern(conn, [room_id]))[room_id]
        async with self._importing.setdefault(room_id, asyncio.Lock()):
            await self._purging.make_way(room)
            ours = self._process.server
            told = {one.event_id: one for one in [*answer.auth_chain, *answer.state]}
            async with self._process.database.reader() as conn:
                is_here = await memberships.has_server(conn, room, ours)
                if not is_here:
                    await received.set_version(conn, room, version.name)
                    await partial_rooms.forget(conn, room, ours, self._process.now())
                await outliers.store(conn, self._process.numbers, room, list(told.values()))
            if not is_here:
                await self._begin(server, room_id, room, event, answer)
        if is_here:
            await self._follow(server, room_id, event)
        # Nobody need notice in a room of a few.
        await self._wholeness.comes_within(room_id, _WHOLE_SECONDS)

    async def _begin(
        self,
        server: ServerName,
        room_id: RoomID,
        room: RoomNid,
        event: Event,
        answer: JoinAnswer,
    ) -> None:
        """Begin a room with a join, in the state that is stored by now."""
        async with self._process.database.reader() as conn:
            named = [one.event_id for one in answer.state]
            entries = await received.state_of(conn, room, named)
        if answer.members_omitted:
            await self._completing.begin(room, event, server, _servers_in(answer, server))
        self._means.heads.drop(room)
        rulings = await self._absorbing.absorb(
            room_id,
            [event],
            {event.event_id: entries},
            is_fresh=True,
            is_partial=answer.members_omitted,
        )
        denied = refusal_of(rulings.get(event.event_id))
        if answer.members_omitted:
            await self._completing.go_on(room, event, is_joined=denied is None)
        if denied is not None:
            raise Forbidden(denied.reason)

    async def _follow(self, server: ServerName, room_id: RoomID, event: Event) -> None:
        """Take in the join of somebody who was on the way in when another one came.

        Of the state that they were told, the room here may be ahead. If it is part of the state
        that the other one was told, it comes with the room's past.
        """
        await self._wholeness.comes_within(room_id, _FOLLOW_SECONDS)
        member: StateKey = ("m.room.member", event.sender)
        async with self._process.database.reader() as conn:
            known = (await self._current.read(conn, room_id, [member])).get(member)
        if known is None or known.event_id != event.event_id:
            await self._add(server, room_id, event)

    async def _add(self, server: ServerName, room_id: RoomID, event: Event) -> None:
        """Take in a join to a room that we are in already."""
        results = await self._receiving.receive(server, room_id, [orjson.loads(event.json)]) or {}
        reason = results.get(event.event_id, "the event cannot be judged")
        if reason is not None:
            raise Forbidden(reason)

    async def _invitation(
        self, draft: Draft, room_id: RoomID
    ) -> tuple[Event, RoomVersion, list[Event]]:
        """The invitation, signed by us, and what is shown of the room with it."""
        async with self._process.database.reader() as conn:
            first = await self._current.head(conn, room_id)
            if first is None or first.version is None:
                raise NotFound("there is no such room here")
            needs = Submission([draft]).needs(first.version)
            head = await self._current.head(conn, room_id, needs) or first
            shown = [*KEYS, ("m.room.member", draft.sender)]
            state = await self._current.read(conn, room_id, shown)
        create = state.get(CREATE)
        if create is not None and create.content.get("m.federate") is False:
            raise Forbidden("the room is not for people of other servers")
        means = self._means
        work = Work(head, first.version, means.signer, self._process.now(), means.opaque_ids)
        made = work.make(draft)
        if not isinstance(made, Event):
            raise Forbidden(made.reason)
        return made, work.version, [*state.values()]

    async def _note(
        self,
        event: Event,
        version: RoomVersion,
        shown: list[JsonObject],
        membership: Membership,
    ) -> None:
        async with self._process.database.reader() as conn:
            numbers = self._process.numbers
            room = (await numbers.rooms.intern(conn, [event.room_id]))[event.room_id]
            user_id = UserID(event.state_key or "")
            user = (await numbers.users.intern(conn, [user_id]))[user_id]
            nid = (await numbers.events.intern(conn, [event.event_id]))[event.event_id]
            pos = await invites.add(
                conn,
                invites.Invite(room, user, orjson.dumps(shown), event.json, version.name),
                nid,
                membership,
            )
        self._process.committed(pos)


_PASSED_ON: dict[str, type[MatrixError]] = {
    kind.errcode: kind
    for kind in (
        Forbidden,
        IncompatibleRoomVersion,
        InviteBlocked,
        NotFound,
        UnableToAuthorise,
        UnableToGrant,
    )
}
"""What other servers may say to our clients; others of their codes would mislead them."""


def _told(error: HttpError) -> MatrixError:
    """What the other server says, as we tell it to the client."""
    # "If M_MISSING_PARAM or M_INVALID_PARAM is returned [...] SHOULD fail with a 5xx error".
    is_ours = error.errcode in {"M_MISSING_PARAM", "M_INVALID_PARAM"}
    if error.status in {400, 403, 404} and error.errcode and not is_ours:
        return _PASSED_ON.get(error.errcode, MatrixError)(error.message)
    return BadGateway(f"the other server answered {error.status}")


def _servers_in(answer: JoinAnswer, resident: ServerName) -> list[ServerName]:
    """Which servers are in a room whose members we are not told of."""
    return [resident, *_server_names(answer.servers_in_room[:_MOST_SERVERS])]


def _server_names(names: Sequence[object]) -> list[ServerName]:
    named = []
    for name in names:
        with suppress(IdentifierError):
            named.append(parse_server_name(name if isinstance(name, str) else ""))
    return named


def _room_server(room_id: RoomID) -> list[ServerName]:
    return [domain_of(room_id)] if ":" in room_id else []
