"""Names and passwords: whom they show, and what a new one must be like.

https://spec.matrix.org/v1.19/client-server-api/#identifier-types
"""

from collections.abc import Mapping
from typing import Any

from homeserver.accounts.addresses import Address, parse_address
from homeserver.accounts.interactive import Attempt, Passed
from homeserver.accounts.names import local_user_id
from homeserver.accounts.passwords import LONGEST, Passwords
from homeserver.accounts.stages import Refusal
from homeserver.errors import InvalidParam, MatrixError, MissingParam, WeakPassword
from homeserver.storage import accounts, threepids
from homeserver.storage.accounts import Account
from homeserver.storage.process import Process

Named = str | Address | None
"""Whom somebody names: by user ID or localpart, by address, or by something we know nobody by."""


def user_in(body: Mapping[str, Any]) -> Named:
    """Whom a login names.

    Raises:
        MissingParam: it names nobody.
        InvalidParam: it does so in an unknown form.

    """
    identifier = body.get("identifier")
    if identifier is None:
        identifier = _identifier_of_old(body)
    if not isinstance(identifier, dict):
        raise InvalidParam("identifier must be an object")
    kind = identifier.get("type")
    if kind == "m.id.thirdparty":
        return _address_in(identifier)
    if kind != "m.id.user":
        return None
    user = identifier.get("user")
    if not isinstance(user, str):
        raise InvalidParam("user must be a string")
    return user


def _identifier_of_old(body: Mapping[str, Any]) -> dict[str, Any]:
    """What `user`, or `medium` and `address`, would be as `identifier`."""
    if body.get("user") is not None:
        return {"type": "m.id.user", "user": body["user"]}
    if "address" in body:
        return {"type": "m.id.thirdparty", **{k: body.get(k) for k in ("medium", "address")}}
    raise MissingParam("identifier is missing")


def _address_in(identifier: Mapping[str, Any]) -> Address | None:
    """https://spec.matrix.org/v1.19/client-server-api/#third-party-id"""
    medium, address = identifier.get("medium"), identifier.get("address")
    if not isinstance(medium, str) or not isinstance(address, str):
        raise InvalidParam("medium and address must be strings")
    try:
        return parse_address(medium, address)
    except MatrixError:
        return None  # it is nobody's


class Credentials:
    """Checks and stores passwords.

    Args:
        process: the one that this is part of.
        passwords: makes and checks the hashes.
        shortest: the fewest characters of a new password (`auth.password_minimum`).

    """

    def __init__(self, process: Process, passwords: Passwords, shortest: int) -> None:
        self._process = process
        self._passwords = passwords
        self._shortest = shortest

    def check_new(self, password: str) -> None:
        """Raise `WeakPassword` if somebody chose too short a password."""
        if len(password) < self._shortest:
            raise WeakPassword(f"a password has at least {self._shortest} characters")

    async def hash(self, password: str) -> str:
        """What to store of a password, or raise `InvalidParam`."""
        password_hash = await self._passwords.hash(password)
        if password_hash is None:
            raise InvalidParam(f"a password has at most {LONGEST} characters, all of them Unicode")
        return password_hash

    async def verify(self, user: Named, password: str) -> Account | None:
        """The account of somebody named as by `user_in`, if the password is right.

        Takes as long whoever it is. A hash of another cost than today's is replaced.
        """
        account = await self._find(user)
        password_hash = account.password_hash if account else None
        if not await self._passwords.verify(password, password_hash):
            return None
        if account and password_hash and self._passwords.is_outdated(password_hash):
            return await self._rehashed(account, password, password_hash)
        return account

    async def check(self, attempt: Attempt) -> Passed | Refusal:
        """https://spec.matrix.org/v1.19/client-server-api/#password-based"""
        password = attempt.auth.given.get("password")
        if not isinstance(password, str):
            raise MissingParam("password is missing")
        account = await self.verify(user_in(attempt.auth.given), password)
        if account is None or attempt.user not in {None, account.user}:
            return Refusal("M_FORBIDDEN", "wrong user name or password")
        return Passed(account.user)

    async def _find(self, user: Named) -> Account | None:
        async with self._process.database.reader() as conn:
            if isinstance(user, Address):
                owner = await threepids.owner(conn, *user)
                return await accounts.get(conn, owner[0]) if owner else None
            user_id = None if user is None else local_user_id(user, self._process.server)
            return None if user_id is None else await accounts.find(conn, user_id)

    async def _rehashed(self, account: Account, password: str, old: str) -> Account:
        new = await self._passwords.hash(password)
        if new is None:
            return account
        async with self._process.database.reader() as conn:
            replaced = await accounts.replace_hash(conn, account.user, old, new)
        return account._replace(password_hash=new) if replaced else account
