"""Registering and logging in by application services, which need no password for their users.

https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions
"""

from homeserver.accounts.app_services import AppService, AppServices
from homeserver.accounts.credentials import Named
from homeserver.accounts.logins import DeviceWish, LoggedIn, Logins
from homeserver.accounts.masquerading import Masquerading
from homeserver.accounts.names import local_user_id
from homeserver.accounts.new_accounts import NewAccounts
from homeserver.accounts.registrations import Registered, Registrations, Wish
from homeserver.errors import Forbidden, MissingParam, MissingToken, UnknownToken
from homeserver.storage import accounts
from homeserver.storage.process import Process

APPLICATION_SERVICE = "m.login.application_service"


class ServiceLogins:
    """Makes the users of application services, and logs them in.

    Args:
        process: the one that this is part of.
        services: all there are.
        masquerading: knows their tokens.
        new_accounts: makes the accounts.
        registrations: finishes them.
        logins: logs in.

    """

    def __init__(
        self,
        process: Process,
        services: AppServices,
        masquerading: Masquerading,
        new_accounts: NewAccounts,
        registrations: Registrations,
        logins: Logins,
    ) -> None:
        self._process = process
        self._services = services
        self._masquerading = masquerading
        self._new_accounts = new_accounts
        self._registrations = registrations
        self._logins = logins

    def service(self, token: str | None) -> AppService:
        """Who asks.

        Raises:
            MissingToken: no token is given.
            UnknownToken: it is no `as_token`.

        """
        if token is None:
            raise MissingToken("an as_token is needed")
        service = self._masquerading.service(token)
        if service is None:
            raise UnknownToken("no application service has this token")
        return service

    async def register(self, service: AppService, wish: Wish) -> Registered:
        """Make a user of the application service.

        Raises:
            MissingParam: no name is given.
            Exclusive: the name is not for this application service.
            InvalidUsername, UserInUse: see `NewAccounts.add`.

        """
        if wish.username is None:
            raise MissingParam("username is missing")
        self._logins.resource_limits.check()
        self._services.check_user(self._new_accounts.user_id(wish.username), service)
        user = await self._new_accounts.add(wish.username, appservice=service.id)
        return await self._registrations.finish(user, wish)

    async def log_in(self, service: AppService, user: Named, wish: DeviceWish) -> LoggedIn:
        """Log in a user of the application service, named as by `credentials.user_in`.

        Raises:
            Exclusive: the name is not for this application service.
            Forbidden: there is nobody of this name.

        """
        user_id = local_user_id(user, self._process.server) if isinstance(user, str) else None
        if user_id is None:
            raise Forbidden("there is nobody of this name here")
        self._services.check_user(user_id, service)
        async with self._process.database.reader() as conn:
            account = await accounts.find(conn, user_id)
        if account is None:
            raise Forbidden("there is nobody of this name here")
        return await self._logins.log_in(account.user, wish)
