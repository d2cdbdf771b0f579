"""The numbers of all that events name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from federation.events import Event, StateKey
from federation.identifiers import EventID, domain_of
from homeserver.rooms import mentions, relating
from homeserver.storage.numbers import Numbers, ServerNid, UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.state_groups import EventNid, KeyNid


@dataclass(frozen=True, slots=True)
class Nids:
    """The numbers of every name in a batch."""

    events: Mapping[str, EventNid]
    keys: Mapping[StateKey, KeyNid]
    users: Mapping[str, UserNid]
    servers: Mapping[str, ServerNid]
    new: Mapping[str, EventNid] = field(default_factory=dict)
    """Of events that nobody has heard of yet: their numbers are written with them."""


async def intern(
    conn: Connection,
    numbers: Numbers,
    events: Sequence[Event],
    *,
    made: Collection[EventID] = (),
    are_new: bool = False,
) -> Nids:
    """Give numbers to all that the events name.

    Args:
        conn: to write with, in no transaction.
        numbers: of names.
        events: which.
        made: the IDs of those of them that were made here just now.
        are_new: whether most likely nobody has heard of the others, either.

    """
    state = [(e.type, e.state_key) for e in events if e.state_key is not None]
    members = {key for kind, key in state if kind == "m.room.member"}
    senders = {str(e.sender) for e in events if e.state_key is None or e.type == "m.room.tombstone"}
    mentioned = {user for e in events for user in mentions.mentioned_in(e)} - senders - members
    named = {i for e in events for i in (e.event_id, *e.auth_events)}
    named |= {relation.parent for e in events if (relation := relating.relation_of(e))}
    new: dict[str, EventNid] = dict(
        zip(made, await numbers.events.set_aside(conn, len(made)), strict=True)
    )
    return Nids(
        await numbers.events.intern(conn, named - new.keys(), are_new=are_new) | new,
        await numbers.state_keys.intern(conn, state, are_new=bool(made)),
        await numbers.users.intern(conn, members | senders)
        | await numbers.users.find(conn, mentioned),
        await numbers.servers.intern(conn, map(domain_of, members)),
        new,
    )
