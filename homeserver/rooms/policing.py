"""Rooms with a policy server: it is asked before anything is sent there, and has to have agreed.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from federation.decision import ALLOWED, Decision, Denied
from federation.errors import FederationError, HttpError, IdentifierError
from federation.events import Event
from federation.identifiers import EventID, RoomID, ServerName, split_server_name
from federation.net.target import encode_target
from federation.net.transport import Limits
from federation.policy_server import (
    POLICY,
    POLICY_KEY_ID,
    UNSTABLE_POLICY,
    PolicyServer,
    check_event,
    read_policy_server,
    with_policy_signature,
)
from homeserver.peers.peers import Peers
from homeserver.rooms.absorbing import Absorbing, refusal_of
from homeserver.rooms.current import Current
from homeserver.rooms.drafting import POLICIES, Submission, Work, Written
from homeserver.rooms.intake import Answer, Means, Repeated
from homeserver.storage import memberships
from homeserver.storage.events import get_sent
from homeserver.storage.process import Process

_SIGN = {
    POLICY: encode_target("_matrix", "policy", "v1", "sign"),
    # COMPAT(policy servers from before v1.18) MSC4284
    UNSTABLE_POLICY: encode_target("_matrix", "policy", "unstable", "org.matrix.msc4284", "sign"),
}
"""Where a policy server signs, by what names it."""
_PATIENCE = Limits(total=10.0, body=64 * 1024)
_AT_ONCE = 10
"""Events of other servers that are shown to a policy server at the same time."""
_REFUSED = "policy_server.refused"


class Policing:
    """Asks policy servers for their signatures.

    Args:
        process: the one that this is part of.
        peers: the way to other servers.
        current: tells whether a room has a policy server.
        means: of making events.
        absorbing: writes events that others have signed.

    """

    def __init__(
        self,
        process: Process,
        peers: Peers,
        current: Current,
        means: Means,
        absorbing: Absorbing,
    ) -> None:
        self._process = process
        self._peers = peers
        self._current = current
        self._means = means
        self._absorbing = absorbing

    async def post(self, room_id: RoomID, submission: Submission) -> Answer:
        """Let a submission happen in a room that may have a policy server; see `Intake.submit`.

        What was signed is not made anew if somebody else was quicker: the room is forked then.
        """
        made = await self._make(room_id, submission)
        if isinstance(made, Denied):
            return made
        events = []
        for event in made.events:
            agreed = await self.agreed(room_id, event)
            if isinstance(agreed, Denied):
                return agreed
            events.append(agreed)
        rulings = await self._absorbing.absorb(room_id, events, submission=submission)
        for ruling in rulings.values():
            denied = refusal_of(ruling)
            if denied is not None:
                return denied
        return await self._repeated(submission) or Written(submission, tuple(events))

    async def _make(self, room_id: RoomID, submission: Submission) -> Written | Denied:
        async with self._process.database.reader() as conn:
            first = await self._current.head(conn, room_id)
            if first is None or first.version is None:
                return Denied("room.unknown", "there is no such room here")
            needs = submission.needs(first.version)
            head = await self._current.head(conn, room_id, needs) or first
        means = self._means
        work = Work(head, first.version, means.signer, self._process.now(), means.opaque_ids)
        return work.add(submission)

    async def _repeated(self, submission: Submission) -> Repeated | None:
        """What came of the same transaction, which may have been under way already."""
        if submission.once is None:
            return None
        async with self._process.database.reader() as conn:
            sent = await get_sent(conn, {submission.once})
        return Repeated(sent[submission.once]) if submission.once in sent else None

    async def agreed(self, room_id: RoomID, event: Event) -> Event | Denied:
        """An event of ours with the signature of the room's policy server, if it needs one."""
        return await self._ask(await self._server(room_id), event)

    async def decisions(
        self, room_id: RoomID, events: Sequence[Event]
    ) -> Mapping[EventID, Decision]:
        """What the room's policy server says of others' events; what it agrees to is left out."""
        server = await self._server(room_id)
        if server is None:
            return {}
        slots = asyncio.Semaphore(_AT_ONCE)

        async def decide(event: Event) -> Decision:
            async with slots:
                found = await self._ask(server, event)
                return found if isinstance(found, Denied) else ALLOWED

        found = await asyncio.gather(*map(decide, events))
        decided = zip(events, found, strict=True)
        return {event.event_id: one for event, one in decided if one is not ALLOWED}

    async def _server(self, room_id: RoomID) -> PolicyServer | None:
        """The policy server that the room uses."""
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, POLICIES)
            policy = next((state[key] for key in POLICIES if key in state), None)
            if policy is None:
                return None
            content = policy.content
            room, via = await self._current.room(conn, room_id), content.get("via")
            if room is None or not isinstance(via, str) or not _is_server(via):
                return None
            is_there = await memberships.has_server(conn, room, ServerName(via))
        return read_policy_server(content, {via} if is_there else (), policy.type)

    async def _ask(self, server: PolicyServer | None, event: Event) -> Event | Denied:
        """The event as it is recommended, with a new signature if it has no good one."""
        decision = check_event(server, event)
        if server is None or not isinstance(decision, Denied):
            return event
        if server.via == self._process.server:
            return decision
        try:
            body = orjson.loads(event.json)
            target = _SIGN[server.named_by]
            answer = await self._peers.client.post_json(server.via, target, body, limits=_PATIENCE)
        except HttpError as error:
            return Denied(_REFUSED, error.message or "the policy server refuses the event")
        except FederationError:
            return Denied(_REFUSED, "the policy server of the room does not answer")
        signatures = answer.get(server.via)
        signature = signatures.get(POLICY_KEY_ID) if isinstance(signatures, dict) else None
        if not isinstance(signature, str):
            return decision
        signed = with_policy_signature(event, server.via, signature)
        again = check_event(server, signed)
        return again if isinstance(again, Denied) else signed


def _is_server(name: str) -> bool:
    try:
        split_server_name(name)
    except IdentifierError:
        return False
    return True
