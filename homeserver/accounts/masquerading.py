"""Application services as those who ask: in their own name, or in that of their users.

https://spec.matrix.org/v1.19/application-service-api/#identity-assertion
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from federation.identifiers import UserID
from homeserver.accounts.app_services import AppService, AppServices
from homeserver.accounts.device_names import is_possible
from homeserver.accounts.sessions import CONCERNING, Session
from homeserver.errors import Forbidden, UnknownDevice, UserDeactivated
from homeserver.storage import accounts, devices
from homeserver.storage.accounts import Account, NewAccount
from homeserver.storage.log import Entry
from homeserver.storage.numbers import UserNid
from homeserver.storage.pool import Connection
from homeserver.storage.process import Process
from homeserver.storage.tokens import DeviceNid

_REMEMBERED = 20_000


class Mask(NamedTuple):
    """As whom an application service asks."""

    service_id: str
    user_id: str
    device_id: str | None


class Masquerading:
    """Lets application services act as their users.

    Args:
        process: the one that this is part of; this follows its tail of the log.
        services: all there are.
        heard_from: told of each that shows a token.

    """

    def __init__(
        self, process: Process, services: AppServices, heard_from: Callable[[AppService], None]
    ) -> None:
        self._heard_from = heard_from
        self._process = process
        self._services = services
        self._known: OrderedDict[Mask, Session] = OrderedDict()
        self._masks: defaultdict[UserNid, set[Mask]] = defaultdict(set)
        self._drops = 0
        """Counts what was dropped, so that nothing older is remembered after it."""
        process.tail.feed(self._apply)
        services.on_change(self._forget)

    def service(self, token: str) -> AppService | None:
        """The application service whose `as_token` that is."""
        service = self._services.by_token(token) if len(self._services) else None
        if service is not None:
            self._heard_from(service)
        return service

    async def session(
        self, service: AppService, user_id: str | None, device_id: str | None
    ) -> Session:
        """As whom an application service asks; as its own user where it names none.

        Raises:
            Forbidden: the user is not one of its own, or is not registered.
            UserDeactivated: the user has ended.
            UnknownDevice: the user has no such device.

        """
        wanted = user_id or service.sender
        if not service.may_be(wanted):
            raise Forbidden("the application service cannot act as this user")
        await self._process.tail.catch_up()
        mask = Mask(service.id, wanted, device_id or None)
        known = self._known.get(mask)
        if known is not None:
            self._known.move_to_end(mask)
            return known
        drops = self._drops
        async with self._process.database.reader() as conn:
            found = await self._load(conn, service, mask)
        if drops == self._drops:
            self._remember(mask, found)
        return found

    async def _load(self, conn: Connection, service: AppService, mask: Mask) -> Session:
        account = (
            await accounts.find(conn, UserID(mask.user_id)) if "\0" not in mask.user_id else None
        )
        if account is None and mask.user_id == service.sender:
            account = await self._register_sender(conn, service)
        if account is None:
            raise Forbidden("the application service has not registered this user")
        if account.deactivated:
            raise UserDeactivated
        device: DeviceNid | None = None
        if mask.device_id is not None:
            if is_possible(mask.device_id):
                found = await devices.find(conn, account.user, mask.device_id)
                device = found.device if found else None
            if device is None:
                raise UnknownDevice
        return _session(service, account, device, mask.device_id or "")

    async def _register_sender(self, conn: Connection, service: AppService) -> Account | None:
        """The sender acts without having registered."""
        users = await self._process.numbers.users.intern(conn, [service.sender])
        new = NewAccount(users[service.sender], self._process.today, appservice=service.id)
        self._process.committed(await accounts.add(conn, new))
        return await accounts.find(conn, service.sender)

    def _forget(self) -> None:
        """What was allowed may not be any more."""
        self._drops += 1
        self._known.clear()
        self._masks.clear()

    def _remember(self, mask: Mask, session: Session) -> None:
        self._known[mask] = session
        self._masks[session.user].add(mask)
        if len(self._known) > _REMEMBERED:
            oldest, gone = self._known.popitem(last=False)
            self._masks[gone.user].discard(oldest)
            if not self._masks[gone.user]:
                del self._masks[gone.user]

    def _apply(self, entries: Sequence[Entry]) -> None:
        users = {e.user for e in entries if e.kind in CONCERNING and e.user is not None}
        self._drops += bool(users)
        for user in users:
            for mask in self._masks.pop(user, ()):
                del self._known[mask]


def _session(
    service: AppService, account: Account, device: DeviceNid | None, device_id: str
) -> Session:
    return Session(
        user=account.user,
        user_id=account.user_id,
        # Without a device, requests are known again by the user: no device has such a number.
        device=DeviceNid(-account.user) if device is None else device,
        device_id=device_id,
        is_admin=account.is_admin,
        is_guest=False,
        locked=account.locked,
        suspended=account.suspended,
        appservice=account.appservice,
        expires_ts=None,
        service=service,
    )
