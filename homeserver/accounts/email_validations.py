"""How somebody shows that an e-mail address is theirs: by what we mailed there.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from federation.identifiers import UserID
from homeserver.accounts import mails
from homeserver.accounts.addresses import EMAIL, parse_email
from homeserver.accounts.interactive import Attempt, Passed
from homeserver.accounts.mails import ADD, REGISTER, RESET
from homeserver.accounts.stages import Refusal
from homeserver.accounts.tokens import hash_of
from homeserver.errors import (
    InvalidParam,
    MatrixError,
    MediumNotSupported,
    MissingParam,
    ThreepidInUse,
    ThreepidNotFound,
)
from homeserver.peers.mailing import Mail, Mailer
from homeserver.storage import email_validations, threepids
from homeserver.storage.email_validations import Begun, Proof, Validation
from homeserver.storage.process import DAY, Process

PATH = "/_matrix/client/unstable/hearth.email/confirm"
"""Where the links that we mail lead."""
_VALIDITY = 3_600_000
"""Milliseconds for which a mail is good, and then what it showed."""
_OPAQUE = re.compile(r"[0-9a-zA-Z.=_-]{1,255}", re.ASCII)
_MOST_ATTEMPTS = 2**31
_LONGEST_LINK = 2000
_PURPOSES = {"register": REGISTER, "change_password": RESET}
"""What an address is shown for, by the operation that a stage of it is for."""


class Asked(NamedTuple):
    """Somebody wants to show that an address is theirs."""

    purpose: str
    email: str
    client_secret: str
    send_attempt: int
    next_link: str | None = None


class EmailValidations:
    """Mails links, and tells what was shown by them.

    Args:
        process: the one that this is part of.
        mailer: sends mail.
        base_url: where clients reach us; ends in `/`.
        tells: whether anybody is told if an address is an account's (`smtp.tell_addresses`).
        next_hosts: hosts that a page of ours may send people on to (`smtp.next_link_hosts`).

    """

    def __init__(
        self,
        process: Process,
        mailer: Mailer,
        base_url: str,
        *,
        tells: bool,
        next_hosts: Sequence[str],
    ) -> None:
        self._process = process
        self._mailer = mailer
        self._base_url = base_url
        self._tells = tells
        self._next_hosts = next_hosts

    def check(self) -> None:
        """Raise `MediumNotSupported` if no mail can be sent from here."""
        if not self._mailer.is_there:
            raise MediumNotSupported("no mail is sent from here")

    async def begin(self, asked: Asked) -> str:
        """Mail a link, unless this attempt has been mailed; answers the session's id.

        Whether the address is an account's is told by mail, to whom it belongs.

        Raises:
            MediumNotSupported: no mail can be sent from here.
            InvalidParam: what is given cannot be.
            ThreepidInUse, ThreepidNotFound: only where the settings say that anybody may know.
            BadGateway: no mail can be sent now.

        """
        self.check()
        address = parse_email(asked.email)
        _check_secret(asked)
        async with self._process.database.reader() as conn:
            owner = await threepids.owner(conn, EMAIL, address)
        fits = (owner is None) == (asked.purpose != RESET)
        if not fits and self._tells:
            raise ThreepidNotFound if owner is None else ThreepidInUse
        sid = _sid(asked.purpose, address, asked.client_secret)
        token = secrets.token_urlsafe(24)
        now = self._process.now()
        begun = Begun(
            hash_of(sid),
            asked.purpose,
            address,
            hash_of(token) if fits else None,
            asked.send_attempt,
            self._next_link(asked.next_link),
            now + _VALIDITY,
        )
        async with self._process.database.reader() as conn:
            is_new = await email_validations.begin(conn, begun, now)
        if is_new:
            mail = self._mail(asked.purpose, address, owner[1] if owner else None, sid, token)
            await self._send(begun, mail)
        return sid

    async def look_up(self, sid: str, token: str) -> Validation | None:
        """What a link that we mailed is for, if it is good."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            return await email_validations.look_up(conn, hash_of(sid), hash_of(token), now)

    async def confirm(self, sid: str, token: str) -> bool:
        """Note that the mail arrived; whether there was such a mail."""
        now = self._process.now()
        async with self._process.database.reader() as conn:
            return await email_validations.confirm(
                conn, hash_of(sid), hash_of(token), now, now + _VALIDITY
            )

    async def is_confirmed(self, sid: str, client_secret: str) -> bool:
        """Whether an address to add was shown to be theirs."""
        return await self._proof(ADD, sid, client_secret) is not None

    async def take(self, sid: str, client_secret: str) -> Proof | None:
        """The address to add that was shown to be theirs, once."""
        return await self._take(ADD, sid, client_secret)

    async def check_stage(self, attempt: Attempt) -> Passed | Refusal:
        """https://spec.matrix.org/v1.19/client-server-api/#email-based-identity--homeserver"""
        sid, client_secret = _creds_in(attempt.auth.given)
        if _PURPOSES.get(attempt.operation) == REGISTER:
            return await self._check_registration(attempt, sid, client_secret)
        if _PURPOSES.get(attempt.operation) == RESET:
            return await self._check_reset(sid, client_secret)
        return _REFUSED

    async def _check_registration(
        self, attempt: Attempt, sid: str, client_secret: str
    ) -> Passed | Refusal:
        """Keep the address for the account that is being made."""
        proof = await self._proof(REGISTER, sid, client_secret)
        if proof is None:
            return _REFUSED
        async with self._process.database.reader() as conn:
            if await threepids.owner(conn, EMAIL, proof.address):
                return Refusal(ThreepidInUse.errcode, ThreepidInUse.says)
            until = self._process.now() + DAY
            kept = await email_validations.reserve(conn, hash_of(sid), attempt.session_hash, until)
        return Passed() if kept else _REFUSED

    async def _check_reset(self, sid: str, client_secret: str) -> Passed | Refusal:
        proof = await self._take(RESET, sid, client_secret)
        if proof is None:
            return _REFUSED
        async with self._process.database.reader() as conn:
            owner = await threepids.owner(conn, EMAIL, proof.address)
        return Passed(owner[0]) if owner else _REFUSED

    async def _proof(self, purpose: str, sid: str, client_secret: str) -> Proof | None:
        now = self._process.now()
        async with self._process.database.reader() as conn:
            found = await email_validations.proof(conn, hash_of(sid), purpose, now)
        is_theirs = found and sid == _sid(purpose, found.address, client_secret)
        return found if is_theirs else None

    async def _take(self, purpose: str, sid: str, client_secret: str) -> Proof | None:
        if await self._proof(purpose, sid, client_secret) is None:
            return None
        async with self._process.database.reader() as conn:
            return await email_validations.take(conn, hash_of(sid), purpose, self._process.now())

    async def _send(self, begun: Begun, mail: Mail) -> None:
        try:
            await self._mailer.send(mail)
        except MatrixError:
            async with self._process.database.reader() as conn:
                await email_validations.forget(conn, begun.sid_hash)
            raise

    def _mail(self, purpose: str, address: str, owner: UserID | None, sid: str, token: str) -> Mail:
        server, user = self._process.server, owner or ""
        if (owner is None) != (purpose != RESET):
            return mails.notice(purpose, address, server, user)
        query = urlencode({"sid": sid, "token": token})
        link = f"{self._base_url.rstrip('/')}{PATH}?{query}"
        return mails.confirmation(purpose, address, server, link, user)

    def _next_link(self, link: str | None) -> str | None:
        """Where our page may send somebody on; a client's wish that we do not share is let be."""
        if link is None or len(link) > _LONGEST_LINK:
            return None
        try:
            url = urlsplit(link)
            host = (url.hostname or "").lower()
        except ValueError:
            return None
        is_known = any(fnmatchcase(host, pattern.lower()) for pattern in self._next_hosts)
        return link if url.scheme == "https" and is_known and link.isprintable() else None


_REFUSED = Refusal("M_THREEPID_AUTH_FAILED", "the address was not confirmed, or too long ago")


def _check_secret(asked: Asked) -> None:
    if not _OPAQUE.fullmatch(asked.client_secret):
        raise InvalidParam("client_secret holds something else than 0-9, a-z, A-Z and . = _ -")
    if not 0 <= asked.send_attempt < _MOST_ATTEMPTS:
        raise InvalidParam("send_attempt is not a number of attempts")


def _sid(purpose: str, address: str, client_secret: str) -> str:
    """The session's id: with the same secret the same, so that a repeated request gets it too."""
    text = f"{purpose}\0{address}\0{client_secret}"
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _creds_in(given: Mapping[str, Any]) -> tuple[str, str]:
    creds = given.get("threepid_creds")
    if creds is None:
        # COMPAT(older clients) with a capital, as it once was.
        creds = given.get("threepidCreds")
    if not isinstance(creds, dict):
        raise MissingParam("threepid_creds is missing")
    sid, client_secret = creds.get("sid"), creds.get("client_secret")
    if not isinstance(sid, str) or not isinstance(client_secret, str):
        raise InvalidParam("sid and client_secret must be strings")
    return sid, client_secret
