"""Whether a room's policy server recommends an event.

Asking the policy server for its signature is the shell's; here stands which server that is, which
events need it, and what a signature on the event says.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from federation import canonical_json
from federation.decision import ALLOWED, Decision, Denied
from federation.errors import KeyFormatError
from federation.events import Event, load
from federation.hashing import essential_bytes
from federation.identifiers import KeyID, ServerName
from federation.signing import VerifyKey, decode_verify_key, is_signature

POLICY_KEY_ID = KeyID("ed25519:policy_server")
"""Under which a policy server's signature is found, whatever the IDs of its other keys are."""

POLICY = "m.room.policy"
UNSTABLE_POLICY = "org.matrix.msc4284.policy"
"""What rooms have in its place that named their policy server before v1.18."""


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """The policy server that a room uses."""

    via: ServerName
    key: VerifyKey | None
    """From the room's state. `None`: the text there is no Ed25519 key, nothing verifies by it."""
    named_by: str = POLICY
    """The type of the state event that names it."""


def read_policy_server(
    content: Mapping[str, Any] | None, joined_servers: Container[str], named_by: str = POLICY
) -> PolicyServer | None:
    """The policy server in use, or `None`.

    `content` is that of the `m.room.policy` event with empty state key in the current state, `None`
    where there is none; `joined_servers` tells which servers have a joined user there. A room
    without such an event may have an unstable one, whose type is `named_by` then.
    https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
    """
    if content is None:
        return None
    # "Valid means content contains at least: a string value for via, an object value for
    # public_keys containing at least a string value for ed25519."
    via, keys = content.get("via"), content.get("public_keys")
    key = keys.get("ed25519") if isinstance(keys, dict) else None
    if key is None and named_by == UNSTABLE_POLICY:
        # MSC4284: "events MAY have a public_key field rather than public_keys".
        key = content.get("public_key")
    if not isinstance(via, str) or not isinstance(key, str):
        return None
    # "The server name denoted by [...] via has at least one joined user in the room".
    if via not in joined_servers:
        return None
    return PolicyServer(ServerName(via), _read_key(key), named_by)


def _read_key(text: str) -> VerifyKey | None:
    # The rule above asks for no more than a string. To let a malformed one switch the policy server
    # off would be to accept what every other server soft-fails.
    try:
        return decode_verify_key(text)
    except KeyFormatError:
        return None


def needs_policy_signature(event_type: str, state_key: str | None, named_by: str = POLICY) -> bool:
    """Whether an event like this is put before the policy server; `None`: not a state event."""
    # "the Policy Server is not asked to sign m.room.policy state events with empty string
    # state_keys": so a room can always get rid of it.
    return event_type != named_by or state_key != ""


def check_policy(
    server: PolicyServer | None,
    event_type: str,
    state_key: str | None,
    signed: bytes,
    signatures: Mapping[str, Mapping[str, str]],
) -> Decision:
    """Whether the event is recommended for inclusion in the room.

    `signed` is what signatures on the event cover; `signatures` are the event's, by server name
    and key ID. A refusal means: ask for a new signature, else soft-fail or do not send.
    https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
    """
    # "If a room has disabled (or never enabled) a Policy Server, events are recommended for
    # inclusion and subject to normal authorization rules."
    if server is None or not needs_policy_signature(event_type, state_key, server.named_by):
        return ALLOWED
    signature = signatures.get(server.via, {}).get(POLICY_KEY_ID)
    if signature is None:
        return Denied("policy_server.missing", "not signed by the room's policy server")
    if server.key is None or not is_signature(signed, signature, server.key):
        return Denied("policy_server.invalid", "the policy server's signature does not verify")
    return ALLOWED


def check_event(server: PolicyServer | None, event: Event) -> Decision:
    """`check_policy` for an event as it is stored."""
    if server is None:
        return ALLOWED
    fields = canonical_json.decode_object(event.json, strict=event.version.strict_json)
    signed = essential_bytes(fields, event.version)
    return check_policy(server, event.type, event.state_key, signed, fields["signatures"])


def with_policy_signature(event: Event, via: ServerName, signature: str) -> Event:
    """The event with the signature that a policy server answered; the others are kept."""
    strict = event.version.strict_json
    fields = canonical_json.decode_object(event.json, strict=strict)
    signatures = {name: dict(by_key) for name, by_key in fields["signatures"].items()}
    signatures.setdefault(via, {})[POLICY_KEY_ID] = signature
    raw = canonical_json.encode_to_keep({**fields, "signatures": signatures}, strict=strict)
    return load(raw, event.event_id, event.version)
