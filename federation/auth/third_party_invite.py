"""An invite by a third-party identifier, redeemed: rule 4.4.1 of version 12 and its likes.

Whether the identity server has since revoked its key is for the shell to ask.
https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from federation import canonical_json
from federation.auth.facts import Facts
from federation.decision import ALLOWED, Decision, Denied
from federation.errors import KeyFormatError
from federation.events import Event
from federation.signing import ED25519, VerifyKey, decode_verify_key, is_signature

MAX_ATTEMPTS = 256
"""Pairs of signature and key that are tried; an honest invite has a handful."""


def check_third_party_invite(event: Event, facts: Facts) -> Decision:
    """Authorise an invite whose content has a `third_party_invite` property."""
    # "If target user is banned, reject."
    if facts.membership(event.state_key or "") == "ban":
        return Denied("invite.third_party.banned", "the invited user is banned")
    # "If content.third_party_invite does not have a signed property, reject."
    invite = event.content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        return Denied("invite.third_party.signed", "the invite carries nothing signed")
    # "If signed does not have mxid and token properties, reject."
    if "mxid" not in signed or not isinstance(signed.get("token"), str):
        return Denied("invite.third_party.properties", "mxid or token is missing")
    # "If mxid does not match state_key, reject."
    if signed["mxid"] != event.state_key:
        return Denied("invite.third_party.mxid", "it was signed for somebody else")
    return _check_against_state(event, signed, facts)


def _check_against_state(event: Event, signed: Mapping[str, Any], facts: Facts) -> Decision:
    # "If there is no m.room.third_party_invite event in the current room state with state_key
    # matching token, reject."
    issued = facts.state.get(("m.room.third_party_invite", signed["token"]))
    if issued is None:
        return Denied("invite.third_party.token", "no such invite was issued, or it was revoked")
    # "If sender does not match sender of the m.room.third_party_invite, reject."
    if event.sender != issued.sender:
        return Denied("invite.third_party.sender", "somebody else issued the invite")
    # "If any signature in signed matches any public key in the m.room.third_party_invite event,
    # allow." "Otherwise, reject."
    if any(True for _ in signing_keys(issued, signed, strict=event.version.strict_json)):
        return ALLOWED
    return Denied("invite.third_party.signature", "no signature matches a key of the invite")


class InviteKey(NamedTuple):
    """A key of an `m.room.third_party_invite`, as it stands there."""

    public_key: str
    validity_url: str | None
    """Where to ask whether it is still good; without one it is for ever."""


def signing_keys(
    issued: Event, signed: Mapping[str, Any], *, strict: bool = False
) -> Iterator[InviteKey]:
    """Those keys of the invite that made a signature in `signed`.

    Args:
        issued: the `m.room.third_party_invite`.
        signed: what is shown to redeem it.
        strict: whether it must be canonical JSON, as in newer room versions.

    Raises:
        CanonicalJSONError: `signed` cannot be written as JSON.

    """
    message = canonical_json.encode(
        canonical_json.without(signed, "signatures", "unsigned"), strict=strict
    )
    attempts = ((s, k) for k in _public_keys(issued.content) for s in _signatures(signed))
    for signature, (key, found) in islice(attempts, MAX_ATTEMPTS):
        if is_signature(message, signature, key):
            yield found


def _public_keys(content: Mapping[str, Any]) -> Iterator[tuple[VerifyKey, InviteKey]]:
    # "A single public key in the public_key property. A list of public keys in the public_keys
    # property."
    listed = content.get("public_keys")
    entries = [content, *(listed if isinstance(listed, list) else [])]
    for entry in entries:
        text = entry.get("public_key") if isinstance(entry, dict) else None
        if isinstance(text, str):
            url = entry.get("key_validity_url")
            try:
                key = decode_verify_key(text)
            except KeyFormatError:
                continue
            yield key, InviteKey(text, url if isinstance(url, str) else None)


def _signatures(signed: Mapping[str, Any]) -> Iterator[str]:
    by_entity = signed.get("signatures")
    for by_key in by_entity.values() if isinstance(by_entity, dict) else ():
        for key_id, signature in by_key.items() if isinstance(by_key, dict) else ():
            if key_id.startswith(ED25519) and isinstance(signature, str):
                yield signature
