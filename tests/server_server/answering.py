"""What the peer answers: the truth as it knows it, unless a test has it lie."""

import json
import socket
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

import aiohttp
from aiohttp import web

from federation.building import Draft, add_signature, template
from federation.canonical_json import JsonObject
from federation.events import Event, StateKey
from federation.hashing import essential_bytes
from federation.identifiers import EventID, RoomID, ServerName, UserID, split_server_name
from federation.policy_server import POLICY_KEY_ID
from federation.room_versions import ROOM_VERSIONS
from federation.server_keys import build_document, notarise, parse_document
from federation.signing import SigningKey
from homeserver.http.listeners import bind
from tests.federation.net.loopback import Authority
from tests.server_server.peer import Peer, now_ms, read
from tests.servers import LOOPBACK, Hearth

_DAY = 86_400_000


class Answering:
    """Answers for a peer. An answer is JSON; `None` is `404`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._known = {
            "send": self._send,
            "get_missing_events": self._missing,
            "event": self._event,
            "event_auth": self._event_auth,
            "make_join": self._make_join,
            "make_leave": self._make_leave,
            "make_knock": self._make_knock,
            "send_join": self._send_join,
            "send_leave": self._take,
            "send_knock": self._send_knock,
            "invite": self._invite,
            "state": self._state,
            "state_ids": self._state_ids,
            "backfill": self._backfill,
            "server": self._keys,
            "query": self._query_keys,
            "sign": self._sign,
            "org.matrix.msc4284": self._sign,
            "user": self._user,
            "download": self._download,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self._peer.asked.append(request.path)
        if request.transport is not None:
            self._peer.asked_from.append(request.transport.get_extra_info("peername")[1])
        # /_matrix/federation/v1/WHAT/... and /_matrix/key/v2/WHAT
        what, *names = request.path.split("/")[4:]
        body = await request.json() if request.can_read_body else {}
        known = self._known.get(what)
        found = known(names, body, request.query) if known else None
        if what in self._peer.lies:
            found = self._peer.lies[what](found)
            if isawaitable(found):
                found = await found
        if isinstance(found, web.StreamResponse):
            return found
        if found is None:
            return web.json_response({"errcode": "M_UNRECOGNIZED", "error": "no"}, status=404)
        return web.json_response(found)

    def _send(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        self._peer.told.append(body)
        return {"pdus": {}}

    def _keys(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        return build_document(self._peer.name, [self._peer.key], [], now_ms() + _DAY)

    def _query_keys(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        documents = []
        for name in body.get("server_keys", ()):
            stranger = self._peer.strangers.get(ServerName(name))
            if stranger:
                fields = build_document(stranger.server, [stranger.key], [], now_ms() + _DAY)
                document = parse_document(fields, stranger.server, now_ms())
                documents.append(notarise(document, self._peer.name, [self._peer.key]))
        return {"server_keys": documents}

    def _user(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        """`/user/devices/{userId}` and `/user/keys/query`."""
        lists = self._peer.devices
        if names[0] == "devices":
            return lists.get(names[1])
        if names != ["keys", "query"]:
            return None
        found: JsonObject = {"device_keys": {}, "master_keys": {}, "self_signing_keys": {}}
        for user in body["device_keys"]:
            known = lists.get(user, {"devices": []})
            keys = {device["device_id"]: device["keys"] for device in known["devices"]}
            found["device_keys"][user] = keys
            for usage in ("master", "self_signing"):
                if f"{usage}_key" in known:
                    found[f"{usage}_keys"][user] = known[f"{usage}_key"]
        return found

    def _download(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        """A file as it was had before that needed a signature: tests have some, by the query."""
        return dict(query) if "download" in self._peer.lies else None

    def _sign(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        """As a policy server, to which nothing is wrong but the word spam."""
        if "spam" in str(body["content"]):
            refusal = {"errcode": "M_FORBIDDEN", "error": "this looks like spam"}
            return web.json_response(refusal, status=400)
        version = ROOM_VERSIONS["11"]
        signature = self._peer.policy_key.sign(essential_bytes(body, version))
        return {self._peer.name: {POLICY_KEY_ID: signature}}

    def _event(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        event = self._peer.known.get(EventID(names[0]))
        return {"pdus": [json.loads(event.json)]} if event else None

    def _event_auth(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        event = self._peer.known.get(EventID(names[1]))
        return {"auth_chain": _raw(self._chain([event] if event else []))}

    def _missing(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        known, found = self._peer.known, dict[EventID, Event]()
        pending = [known[i] for i in body["latest_events"] if i in known]
        while pending:
            for parent in pending.pop().prev_events:
                event = known.get(parent)
                if event and parent not in found and parent not in body["earliest_events"]:
                    found[parent] = event
                    pending.append(event)
        return {"events": _raw(found.values())[: body["limit"]]}

    def _backfill(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        known, found = self._peer.known, dict[EventID, Event]()
        pending = [EventID(i) for i in query.getall("v")]  # type: ignore[attr-defined]
        while pending and len(found) < int(query["limit"]):
            event = known.get(pending.pop(0))
            if event and event.event_id not in found:
                found[event.event_id] = event
                pending += event.prev_events
        return {"pdus": _raw(found.values())}

    def _make_join(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        return self._make("join", names)

    def _make_leave(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        return self._make("leave", names)

    def _make_knock(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        return self._make("knock", names)

    def _make(self, membership: str, names: list[str]) -> Any:
        room = self._peer.hosted.get(RoomID(names[0]))
        if room is None:
            return None
        user, content = UserID(names[1]), {"membership": membership}
        place = room.place("m.room.member", user, user, content)
        draft = Draft("m.room.member", user, content, user, room.room_id)
        event = template(draft, place, room.version, now_ms())
        return {"event": event, "room_version": room.version.name}

    def _send_join(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        room = self._peer.hosted.get(RoomID(names[0]))
        if room is None:
            return None
        event = read(body, room.version)
        before = dict(room.state)
        self._peer.known[event.event_id] = event
        room.before[event.event_id] = before
        room.add(event)
        is_partial = query.get("omit_members") == "true"
        answer: JsonObject = {"origin": self._peer.name, "event": body}
        return answer | self._told(before, str(event.sender), is_partial=is_partial)

    def _take(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        self._peer.take(self._peer.hosted[RoomID(names[0])], body)
        return {}

    def _send_knock(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        room = self._peer.hosted[RoomID(names[0])]
        shown = [e for (kind, _), e in room.state.items() if kind != "m.room.member"]
        self._peer.take(room, body)
        return {"knock_room_state": _raw(shown)}

    def _invite(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        """Whoever is invited agrees."""
        self._peer.invited.append(body)
        version = ROOM_VERSIONS[body.get("room_version", "1")]
        signed = add_signature(body.get("event", body), version, self._peer.signer)
        return {"event": json.loads(signed.json)}

    def _told(
        self, state: Mapping[StateKey, Event], joiner: str, *, is_partial: bool
    ) -> JsonObject:
        shown = state
        if is_partial:
            heroes = {key for key in state if key[0] == "m.room.member"}
            kept = {*sorted(heroes)[:5], ("m.room.member", joiner)}
            shown = {k: e for k, e in state.items() if k not in heroes or k in kept}
        chain = self._chain(shown.values())
        answer: JsonObject = {
            "members_omitted": is_partial,
            "state": _raw(shown.values()),
            "auth_chain": _raw(e for e in chain if e.event_id not in _ids(shown.values())),
        }
        if is_partial:
            joined = [e for e in state.values() if e.membership == "join"]
            answer["servers_in_room"] = sorted({e.sender.partition(":")[2] for e in joined})
        return answer

    def _state(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        state = self._before(names, query)
        if state is None:
            return None
        return {"pdus": _raw(state), "auth_chain": _raw(self._chain(state))}

    def _state_ids(self, names: list[str], body: Any, query: Mapping[str, str]) -> Any:
        state = self._before(names, query)
        if state is None:
            return None
        chain = list(_ids(self._chain(state)))
        return {"pdu_ids": list(_ids(state)), "auth_chain_ids": chain}

    def _before(self, names: list[str], query: Mapping[str, str]) -> Collection[Event] | None:
        room = self._peer.hosted.get(RoomID(names[0]))
        state = room.before.get(EventID(query["event_id"])) if room else None
        return None if state is None else state.values()

    def _chain(self, events: Iterable[Event]) -> list[Event]:
        found: dict[EventID, Event] = {}
        pending = list(events)
        while pending:
            for cited in pending.pop().auth_events:
                if cited in self._peer.known and cited not in found:
                    found[cited] = self._peer.known[cited]
                    pending.append(self._peer.known[cited])
        return list(found.values())


@asynccontextmanager
async def peering(
    hearth: Hearth, authority: Authority, *, bound: socket.socket | None = None, name: str = ""
) -> AsyncIterator[Peer]:
    """A peer of a server, on loopback; under another name, somebody has to lead there."""
    bound = bound or bind(LOOPBACK, 0)
    name = ServerName(name or f"127.0.0.1:{bound.getsockname()[1]}")
    key = SigningKey.from_seed("ed25519:peer", bound.getsockname()[1].to_bytes(32, "big"))
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        policy_key = SigningKey.from_seed(POLICY_KEY_ID, b"p" * 32)
        peer = Peer(name, key, hearth, session, policy_key)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", Answering(peer).answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        tls = authority.server_context(split_server_name(name).host)
        await web.SockSite(runner, bound, ssl_context=tls).start()
        try:
            yield peer
        finally:
            await runner.cleanup()


def _raw(events: Iterable[Event]) -> list[Any]:
    return [json.loads(event.json) for event in events]


def _ids(events: Iterable[Event]) -> set[EventID]:
    return {event.event_id for event in events}
