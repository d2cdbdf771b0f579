"""Invitations of people of whom only an address is known, and how they are redeemed.

https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from federation import canonical_json
from federation.auth.third_party_invite import signing_keys
from federation.building import Draft
from federation.canonical_json import JsonObject
from federation.errors import CanonicalJSONError, FederationError, HttpError
from federation.events import Event, StateKey
from federation.identifiers import RoomID, ServerName, UserID, domain_of
from federation.net.target import encode_target
from federation.power_levels import LevelError, PowerLevels
from homeserver.accounts.addresses import Address
from homeserver.accounts.profiles import Profiles
from homeserver.errors import BadGateway, BadJson, Forbidden, MatrixError, NotFound
from homeserver.peers.identity import Access, IdentityServers, StoredInvite
from homeserver.peers.peers import Peers
from homeserver.rooms.current import CREATE, POWER_LEVELS, Current
from homeserver.rooms.intake import Intake
from homeserver.rooms.membership import JOIN_RULES, Memberships
from homeserver.rooms.posting import post_all
from homeserver.rooms.receiving import ACL, may_speak
from homeserver.rooms.remote import RemoteRooms
from homeserver.storage import memberships
from homeserver.storage.process import Process

THIRD_PARTY_INVITE = "m.room.third_party_invite"
_LONGEST_SIGNED = 8192
"""Bytes."""
_MOST_KEYS = 4
_ALIAS: StateKey = ("m.room.canonical_alias", "")
_AVATAR: StateKey = ("m.room.avatar", "")
_NAME: StateKey = ("m.room.name", "")


class Wanted(NamedTuple):
    """Somebody who is to be invited by address."""

    access: Access
    address: Address


class Redemption(NamedTuple):
    """What shows that somebody is the one whom an invitation meant."""

    room_id: RoomID
    sender: UserID
    """Who sent the `m.room.third_party_invite`."""
    user: UserID
    signed: Mapping[str, Any]
    """`mxid`, `token` and `signatures`, by the identity server; see `read_signed`."""


def read_signed(signed: object, user: UserID) -> Mapping[str, Any]:
    """What an identity server signed for somebody, if it is of the form that it should have.

    Raises:
        BadJson: it is not.
        Forbidden: it is for somebody else.

    """
    if not isinstance(signed, dict) or not isinstance(signed.get("token"), str):
        raise BadJson("signed must be an object with a token")
    try:
        size = len(canonical_json.encode(signed, strict=True))
    except CanonicalJSONError as error:
        raise BadJson("what was signed is no JSON that can be signed") from error
    if size > _LONGEST_SIGNED:
        raise BadJson("what was signed is too large")
    if signed.get("mxid") != user:
        raise Forbidden("this was signed for somebody else")
    return signed


class ThirdPartyInvites:
    """Invites by address.

    Args:
        process: the one that this is part of.
        intake: where events go in.
        current: the states of rooms.
        profiles: what identity servers tell of who invites.
        members: invites whom the identity server knows.
        remote: invites people of other servers.
        identity: knows whose an address is.
        peers: redeems in rooms that we are not in.

    """

    def __init__(
        self,
        process: Process,
        intake: Intake,
        current: Current,
        profiles: Profiles,
        members: Memberships,
        remote: RemoteRooms,
        identity: IdentityServers,
        peers: Peers,
    ) -> None:
        self._process = process
        self._intake = intake
        self._current = current
        self._profiles = profiles
        self._members = members
        self._remote = remote
        self._identity = identity
        self._peers = peers

    def access(self, server: str, token: str) -> Access:
        """An identity server that may be asked, or raise `ServerNotTrusted`."""
        return Access(self._identity.check(server), token)

    async def find(self, wanted: Wanted) -> UserID | None:
        """Whose the address is, if that is known; errors as `IdentityServers.find`."""
        return await self._identity.find(wanted.access, *wanted.address)

    async def invite(self, sender: UserID, room_id: RoomID, wanted: Wanted) -> UserID | None:
        """Invite whoever has an address, now or some day; answers who that is by now.

        Nobody is asked before it is known that the sender may invite.

        Raises:
            Forbidden: the rules of the room forbid it.
            IdentityServerError, BadGateway: the identity server refuses, or does not answer.
            Others as `Memberships.invite`.

        """
        state = await self._state(sender, room_id)
        _check_may_invite(sender, state)
        found = await self.find(wanted)
        if found is not None:
            await self._members.invite(sender, room_id, found, None)
        else:
            await self._issue(sender, room_id, wanted, state)
        return found

    async def issue(self, sender: UserID, room_id: RoomID, wanted: Wanted) -> None:
        """Invite whoever has an address some day; errors as `invite`."""
        state = await self._state(sender, room_id)
        _check_may_invite(sender, state)
        await self._issue(sender, room_id, wanted, state)

    async def redeem(self, redemption: Redemption) -> None:
        """Invite somebody here, who has shown that an address is theirs.

        Raises:
            NotFound: there is nobody of that name here.
            Forbidden: the invitation was taken back, or is not theirs.
            BadGateway: the server of who invited does not answer.

        """
        if domain_of(redemption.user) != self._process.server:
            raise NotFound("the user is not of this server")
        await self._members.check_known(redemption.user)
        if await self._is_here(redemption.room_id):
            await self._complete(redemption)
        else:
            await self._pass_on(redemption)

    async def exchange(self, origin: ServerName, redemption: Redemption) -> None:
        """Invite somebody of another server, who has shown there that an address is theirs.

        Raises:
            NotFound: we are not in the room.
            Forbidden: the invitation was taken back, or is not theirs.

        """
        if domain_of(redemption.user) != origin:
            raise Forbidden("the user is of another server")
        async with self._process.database.reader() as conn:
            head = await self._current.head(conn, redemption.room_id, [ACL])
            is_here = head is not None and await memberships.has_server(
                conn, head.room, self._process.server
            )
        if head is None or not is_here:
            raise NotFound("this server is not in the room")
        if not may_speak(head, origin):
            raise Forbidden("your server may not take part in this room")
        await self._complete(redemption)

    async def _issue(
        self,
        sender: UserID,
        room_id: RoomID,
        wanted: Wanted,
        state: Mapping[StateKey, Event],
    ) -> None:
        profile = await self._profiles.get(sender)
        said = {**_told_of(state), **_told_of_sender(profile)}
        medium, address = wanted.address
        told = {"medium": medium, "address": address, "room_id": room_id, "sender": sender, **said}
        stored = await self._identity.store_invite(wanted.access, told)
        draft = Draft(THIRD_PARTY_INVITE, sender, _content(stored), stored.token, room_id)
        await post_all(self._intake, room_id, [draft])

    async def _complete(self, redemption: Redemption) -> None:
        """Let the invitation happen in a room that we are in; whoever is joined stays so."""
        room_id, sender, user, signed = redemption
        issue: StateKey = (THIRD_PARTY_INVITE, signed["token"])
        member: StateKey = ("m.room.member", user)
        async with self._process.database.reader() as conn:
            state = await self._current.read(conn, room_id, [issue, member])
        if member in state and state[member].membership == "join":
            return
        if issue not in state or state[issue].sender != sender:
            raise Forbidden("there is no such invitation, or it was taken back")
        await self._check_key(state[issue], signed)
        name = state[issue].content.get("display_name")
        content = {
            "membership": "invite",
            "third_party_invite": {
                "display_name": name if isinstance(name, str) else "",
                "signed": dict(signed),
            },
        }
        draft = Draft("m.room.member", sender, content, user, room_id)
        if domain_of(user) == self._process.server:
            await post_all(self._intake, room_id, [draft])
        else:
            await self._remote.invite(draft)

    async def _check_key(self, issued: Event, signed: Mapping[str, Any]) -> None:
        """Raise `Forbidden` unless a key of the invitation signed, and is still good.

        "This is done by making a request to the identity server's `/pubkey/isvalid` endpoint, using
        the provided URL rather than constructing a new one."
        """
        keys = list(dict.fromkeys(signing_keys(issued, signed)))[:_MOST_KEYS]
        if not keys:
            raise Forbidden("no key of the invitation has signed this")
        for key in keys:
            # "If this URL is absent, the key must be considered valid indefinitely."
            if key.validity_url is None:
                return
            if await self._identity.is_key_valid(key.validity_url, key.public_key):
                return
        raise Forbidden("the key of the invitation is not valid any more")

    async def _pass_on(self, redemption: Redemption) -> None:
        """Ask the server of who invited, or that of the room, to invite."""
        room_id, sender, user, signed = redemption
        body: JsonObject = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": sender,
            "state_key": user,
            "content": {
                "membership": "invite",
                # The name is in the room, which we do not know.
                "third_party_invite": {"display_name": "", "signed": dict(signed)},
            },
        }
        path = encode_target("_matrix", "federation", "v1", "exchange_third_party_invite", room_id)
        named = [domain_of(sender), *([domain_of(room_id)] if ":" in room_id else [])]
        refusal: MatrixError | None = None
        for server in [name for name in dict.fromkeys(named) if name != self._process.server]:
            try:
                await self._peers.client.put_json(server, path, body)
            except HttpError as error:
                told = Forbidden(error.message or "the other server refuses the invitation")
                refusal = refusal or told
            except FederationError:
                continue
            else:
                return
        raise refusal or BadGateway("the server of who invited does not answer")

    async def _is_here(self, room_id: RoomID) -> bool:
        async with self._process.database.reader() as conn:
            room = await self._current.room(conn, room_id)
            return room is not None and await memberships.has_server(
                conn, room, self._process.server
            )

    async def _state(self, sender: UserID, room_id: RoomID) -> Mapping[StateKey, Event]:
        keys = [CREATE, POWER_LEVELS, JOIN_RULES, _ALIAS, _AVATAR, _NAME]
        async with self._process.database.reader() as conn:
            return await self._current.read(conn, room_id, [*keys, ("m.room.member", sender)])


def _check_may_invite(sender: UserID, state: Mapping[StateKey, Event]) -> None:
    member = state.get(("m.room.member", sender))
    if CREATE not in state or member is None or member.membership != "join":
        raise Forbidden("you are not in this room")
    levels = PowerLevels(state[CREATE], state.get(POWER_LEVELS))
    try:
        may = levels.of(sender) >= levels.named("invite")
    except LevelError:
        may = False
    if not may:
        raise Forbidden("you may not invite into this room")


def _content(stored: StoredInvite) -> JsonObject:
    first = stored.public_keys[0]
    return {"display_name": stored.display_name, **first, "public_keys": stored.public_keys}


def _told_of(state: Mapping[StateKey, Event]) -> dict[str, str]:
    """What the mail that invites says of the room."""
    sources: Sequence[tuple[str, StateKey, str]] = (
        ("room_alias", _ALIAS, "alias"),
        ("room_avatar_url", _AVATAR, "url"),
        ("room_join_rules", JOIN_RULES, "join_rule"),
        ("room_name", _NAME, "name"),
        ("room_type", CREATE, "type"),
    )
    found = {name: state[key].content.get(field) for name, key, field in sources if key in state}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _told_of_sender(profile: Mapping[str, Any]) -> dict[str, str]:
    names = {"sender_display_name": "displayname", "sender_avatar_url": "avatar_url"}
    return {name: profile[key] for name, key in names.items() if isinstance(profile.get(key), str)}
