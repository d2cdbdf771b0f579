"""Who must have signed an event, and whether they did.

Checks 2 and 3 on receipt of a PDU: an event without the signatures it needs is dropped, one whose
content hash is wrong continues in its redacted form.

https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from msgspec.structs import replace

from federation.decision import ALLOWED, Decision, Denied
from federation.events import Event, Pdu, redacted
from federation.identifiers import KeyID, ServerName, domain_of
from federation.policy_server import POLICY_KEY_ID
from federation.room_versions import EventIDFormat
from federation.server_keys import Keys, ServerKey, is_usable
from federation.signing import ED25519, VerifyKey, is_signature


def required_signers(event: Event) -> frozenset[ServerName]:
    """The servers without whose signature the event is dropped."""
    signers = set()
    # "unless the event is a 3rd party invite, only the signature(s) from the originating server
    # (the server the sender belongs to) are required"
    if not is_third_party_invite(event):
        signers.add(domain_of(event.sender))
    # "Room versions 1 and 2 also require that a signature is present from the domain in the
    # event_id, if it differs from the originating server."
    if event.version.event_ids is EventIDFormat.SENT:
        signers.add(domain_of(event.event_id))
    # Since v8: "If content has a join_authorised_via_users_server key: if the event is not validly
    # signed by the homeserver of the user ID denoted by the key, reject."
    if event.version.restricted_join_rules and event.type == "m.room.member":
        key = "join_authorised_via_users_server"
        if key in event.content:
            authoriser = event.content[key]
            signers.add(domain_of(authoriser) if isinstance(authoriser, str) else ServerName(""))
    return frozenset(signers)


def is_third_party_invite(event: Event) -> bool:
    """Whether the event invites by a third-party identifier."""
    return (
        event.type == "m.room.member"
        and event.membership == "invite"
        and "third_party_invite" in event.content
    )


def wanted_keys(pdu: Pdu) -> list[tuple[ServerName, KeyID]]:
    """The keys that verifying the event's required signatures may need."""
    signers = required_signers(pdu.event)
    if not pdu.content_hash_matches:
        signers |= required_signers(redacted(pdu.event))
    return [
        (server, KeyID(key_id))
        for server in signers
        for key_id in pdu.signatures.get(server, ())
        if is_event_key(key_id)
    ]


def is_event_key(key_id: str) -> bool:
    """Whether a server publishes such a key, to sign its events with.

    "the policy server key is not expected to be published and therefore should be skipped"
    """
    return key_id.startswith(ED25519) and key_id != POLICY_KEY_ID


def check_signatures(pdu: Pdu, keys: Keys) -> Decision:
    """Whether every required signer's signature is there and good."""
    for server in sorted(required_signers(pdu.event)):
        found = _check_signer(pdu, server, keys)
        if found is not ALLOWED:
            return found
    return ALLOWED


def verified(pdu: Pdu, keys: Keys) -> Event | Denied:
    """The event once its signatures are good: itself, or redacted if its hash is wrong."""
    found = check_signatures(pdu, keys)
    if isinstance(found, Denied):
        return found
    if pdu.content_hash_matches:
        return pdu.event
    # "If the hash check fails, then it is assumed that this is because we have only been given a
    # redacted version of the event. [...] the receiving server should use the redacted copy"
    left = replace(pdu, event=redacted(pdu.event))
    # That copy may need more signatures: without its `third_party_invite`, an invite is the
    # sender's own, and nobody could have vouched for it but the sender's server.
    found = check_signatures(left, keys)
    return found if isinstance(found, Denied) else left.event


def verified_all(
    pdus: Sequence[Pdu], keys: Keys, pool: Executor, parts: int
) -> list[Event | Denied]:
    """`verified` for many events, split over the threads of `pool`.

    libsodium computes without the interpreter's lock, so this uses as many cores as there are
    `parts`. Blocks until all is done: call it off the event loop.
    """
    size = -(-len(pdus) // parts) or 1
    chunks = [pdus[start : start + size] for start in range(0, len(pdus), size)]
    return [
        event for chunk in pool.map(lambda c: _verified_chunk(c, keys), chunks) for event in chunk
    ]


def _verified_chunk(pdus: Iterable[Pdu], keys: Keys) -> list[Event | Denied]:
    return [verified(pdu, keys) for pdu in pdus]


def _check_signer(pdu: Pdu, server: ServerName, keys: Keys) -> Decision:
    signatures = pdu.signatures.get(server)
    if not signatures:
        return Denied("signature.missing", f"not signed by {server}")
    # "If a signature is from an unknown or expired key, it is skipped."
    known = list(_by_usable_key(pdu.event, signatures, keys.get(server, {})))
    if not known:
        return Denied("signature.unknown_key", f"signed by no key of {server} that is known")
    # "If all signatures from known unexpired keys from the originating server(s) are found to be
    # valid": one bad signature spoils it.
    if not all(is_signature(pdu.signed, signature, key) for key, signature in known):
        return Denied("signature.invalid", f"a signature of {server} does not verify")
    return ALLOWED


def _by_usable_key(
    event: Event, signatures: Mapping[str, str], keys: Mapping[KeyID, ServerKey]
) -> Iterator[tuple[VerifyKey, str]]:
    enforce = event.version.key_validity
    for key_id, signature in signatures.items():
        # "the policy server key is not expected to be published and therefore should be skipped"
        key = keys.get(KeyID(key_id)) if key_id != POLICY_KEY_ID else None
        if key and is_usable(key, event.origin_server_ts, enforce_validity=enforce):
            yield key.key, signature
