"""Addresses of accounts, and what identity servers are told of them.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from collections.abc import Sequence

from federation.identifiers import ServerName, UserID
from homeserver.accounts.addresses import EMAIL, Address, parse_address
from homeserver.accounts.email_validations import EmailValidations
from homeserver.errors import MatrixError, ThreepidAuthFailed, ThreepidInUse
from homeserver.peers.identity import Access, IdentityServers
from homeserver.storage import threepids
from homeserver.storage.numbers import UserNid
from homeserver.storage.process import Process
from homeserver.storage.threepids import Bound, Threepid

_MOST = 20
"""Addresses of one account."""


class Threepids:
    """Keeps addresses.

    Args:
        process: the one that this is part of.
        validations: tells whose an address was shown to be.
        identity: tells others whose an address is.

    """

    def __init__(
        self, process: Process, validations: EmailValidations, identity: IdentityServers
    ) -> None:
        self._process = process
        self._validations = validations
        self._identity = identity

    async def of(self, user: UserNid) -> Sequence[Threepid]:
        """Somebody's addresses."""
        async with self._process.database.reader() as conn:
            return await threepids.of_user(conn, user)

    async def check_confirmed(self, sid: str, client_secret: str) -> None:
        """Raise `ThreepidAuthFailed` if no address was shown to be theirs."""
        if not await self._validations.is_confirmed(sid, client_secret):
            raise ThreepidAuthFailed

    async def add(self, user: UserNid, sid: str, client_secret: str) -> None:
        """Give somebody the address that was shown to be theirs.

        Raises:
            ThreepidAuthFailed: none was.
            ThreepidInUse: it is another one's by now, or they have too many.

        """
        proof = await self._validations.take(sid, client_secret)
        if proof is None:
            raise ThreepidAuthFailed
        new = Threepid(EMAIL, proof.address, proof.validated_ts, self._process.now())
        async with self._process.database.reader() as conn:
            if not await threepids.add(conn, user, new, _MOST):
                raise ThreepidInUse

    async def remove(
        self, user: UserNid, user_id: UserID, address: Address, server: str | None
    ) -> bool:
        """Take an address from somebody; whether identity servers know no more of it either."""
        chosen = None if server is None else self._identity.check(server)
        async with self._process.database.reader() as conn:
            await threepids.remove(conn, user, *address)
        try:
            return await self._unbind(user, user_id, address, chosen)
        except MatrixError:
            return False

    async def bind(
        self, user: UserNid, user_id: UserID, access: Access, sid: str, client_secret: str
    ) -> None:
        """Have an identity server tell others whose an address is.

        Raises:
            IdentityServerError, Forbidden, BadGateway: see `IdentityServers`.

        """
        answer = await self._identity.bind(access, sid, client_secret, user_id)
        medium, address = answer.get("medium"), answer.get("address")
        if not isinstance(medium, str) or not isinstance(address, str):
            return
        try:
            told = parse_address(medium, address)
        except MatrixError:
            return  # it tells of an address of its own making
        async with self._process.database.reader() as conn:
            await threepids.bind(conn, user, Bound(access.server, *told))

    async def unbind(
        self, user: UserNid, user_id: UserID, address: Address, server: str | None
    ) -> bool:
        """Have an identity server forget whose an address is; false if that cannot be.

        Raises:
            ServerNotTrusted: it is none that may be asked.
            IdentityServerError, Forbidden: it says what is wrong.

        """
        chosen = None if server is None else self._identity.check(server)
        return await self._unbind(user, user_id, address, chosen)

    async def unbind_all(self, user: UserNid, user_id: UserID) -> bool:
        """Have all identity servers forget somebody's addresses; whether all did."""
        async with self._process.database.reader() as conn:
            told = await threepids.bound(conn, user)
        results = [await self._untell(user, user_id, one) for one in told]
        return all(results)

    async def _unbind(
        self, user: UserNid, user_id: UserID, address: Address, chosen: ServerName | None
    ) -> bool:
        if chosen is not None:
            gone = [Bound(chosen, *address)]
        else:
            async with self._process.database.reader() as conn:
                told = await threepids.bound(conn, user)
            gone = [one for one in told if (one.medium, one.address) == address]
        if not gone:
            return False
        results = []
        for one in gone:
            results.append(await self._identity.unbind(one.id_server, *address, user_id))
            if results[-1]:
                async with self._process.database.reader() as conn:
                    await threepids.unbind(conn, user, one)
        return all(results)

    async def _untell(self, user: UserNid, user_id: UserID, told: Bound) -> bool:
        address = Address(told.medium, told.address)
        try:
            return await self._unbind(user, user_id, address, told.id_server)
        except MatrixError:
            return False
