"""E-mail addresses of accounts: shown by mail, used to log in, to register and to find back.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from federation.identifiers import ServerName
from homeserver.config.settings import Accounts, Outgoing, RateLimits, Registration, Smtp
from homeserver.config.values import EmailAddress, Rate, Secret
from tests import smtp_server
from tests.database import Server
from tests.federation.net.loopback import Authority
from tests.identity_server import TOKEN, Identity, identifying
from tests.servers import PASSWORD, Answer, Client, Hearth, own_database, serving, test_settings
from tests.smtp_server import MailServer, taking_mail

V3 = "/_matrix/client/v3"
ANN = "ann@example.org"
SECRET = "a.client=secret_1"
NEW = "another correct horse"
AUTH_FAILED = (403, "M_THREEPID_AUTH_FAILED")


class Place(NamedTuple):
    """A server that can send mail."""

    hearth: Hearth
    mail: MailServer
    identity: Identity

    async def person(self, localpart: str) -> Client:
        """Somebody with a password."""
        await self.hearth.parts.accounts.new_accounts.add(localpart, PASSWORD)
        return await self.hearth.log_in(f"@{localpart}:{self.hearth.name}")

    async def ask(self, what: str, email: str = ANN, secret: str = SECRET, **more: Any) -> Answer:
        """Ask for a mail."""
        body = {"client_secret": secret, "email": email, "send_attempt": 1, **more}
        return await self.hearth.anybody.post(f"{V3}/{what}/email/requestToken", body)

    async def confirm(self, email: str = ANN) -> Answer:
        """Open the link that was mailed last, and press the button."""
        return await self.hearth.anybody.ask("POST", self.mail.link(email))

    async def show(self, what: str, email: str = ANN, secret: str = SECRET) -> dict[str, str]:
        """Show that an address is theirs."""
        sid = (await self.ask(what, email, secret)).ok()["sid"]
        assert (await self.confirm(email)).status == 200
        return {"sid": sid, "client_secret": secret}

    async def add(self, person: Client, email: str = ANN) -> None:
        """Give somebody an address."""
        shown = await self.show("account/3pid", email)
        assert (await with_password(person, f"{V3}/account/3pid/add", shown)).ok() == {}

    async def log_in(self, password: str, email: str = ANN) -> Answer:
        """Log in by address."""
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": email}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return await self.hearth.anybody.post(f"{V3}/login", body)


async def with_password(person: Client, path: str, body: dict[str, Any]) -> Answer:
    """Ask for something that wants to be confirmed, and confirm it."""
    challenge = await person.post(path, body)
    if challenge.status != 401:
        return challenge
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": person.user_id},
        "password": PASSWORD,
        "session": challenge.json["session"],
    }
    return await person.post(path, {**body, "auth": auth})


async def addresses(person: Client) -> list[str]:
    found = (await person.get(f"{V3}/account/3pid")).ok()["threepids"]
    return [one["address"] for one in found]


@asynccontextmanager
async def mailing(
    postgres: Server, folder: Path, authority: Authority, smtp: dict[str, Any], **more: Any
) -> AsyncIterator[Place]:
    async with (
        taking_mail(authority) as mail,
        identifying(authority) as identity,
        own_database(postgres, f"mailing_{id(folder)}") as where,
    ):
        given: dict[str, Any] = {
            "outgoing": Outgoing(
                allowed_ranges=(ip_network("127.0.0.0/8"),),
                ca_file=authority.file,
                system_trust=False,
            ),
            "accounts": Accounts(identity_servers=(ServerName(identity.name),)),
            "smtp": Smtp(
                host="127.0.0.1",
                port=mail.port,
                sender=EmailAddress("hearth@one.test"),
                username=smtp_server.USER,
                password=Secret(smtp_server.PASSWORD),
                **smtp,
            ),
        }
        async with serving(test_settings("one.test", folder, **given, **more), where) as hearth:
            yield Place(hearth, mail, identity)


@pytest.fixture
async def place(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> AsyncIterator[Place]:
    smtp = {"next_link_hosts": ("*.example.org",)}
    async with mailing(postgres, tmp_path, loopback_authority, smtp) as found:
        yield found


async def test_an_address_is_added_used_and_removed(place: Place) -> None:
    ann = await place.person("ann")
    asked = (await place.ask("account/3pid", "Ann@Example.org")).ok()
    shown = {**asked, "client_secret": SECRET}
    add = f"{V3}/account/3pid/add"
    early = await ann.post(add, shown)
    assert (early.status, early.errcode) == AUTH_FAILED
    page = await place.hearth.anybody.get(place.mail.link(ANN))
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"Confirm</button>" in page.body
    # Looking at it is not confirming it.
    assert (await ann.post(add, shown)).errcode == "M_THREEPID_AUTH_FAILED"
    assert (await place.confirm()).status == 200
    other = await ann.post(add, {**shown, "client_secret": "other"})
    assert other.errcode == "M_THREEPID_AUTH_FAILED"
    assert (await with_password(ann, add, shown)).ok() == {}
    assert await addresses(ann) == [ANN]
    assert (await with_password(ann, add, shown)).errcode == "M_THREEPID_AUTH_FAILED"
    assert (await place.log_in(PASSWORD, "ANN@example.org")).ok()["user_id"] == ann.user_id
    assert (await place.log_in("wrong")).errcode == "M_FORBIDDEN"
    assert (await place.log_in(PASSWORD, "bob@example.org")).errcode == "M_FORBIDDEN"
    gone = await ann.post(f"{V3}/account/3pid/delete", {"medium": "email", "address": ANN})
    assert gone.ok() == {"id_server_unbind_result": "no-support"}
    assert await addresses(ann) == []
    assert (await place.log_in(PASSWORD)).errcode == "M_FORBIDDEN"


async def test_nobody_learns_whose_an_address_is(place: Place) -> None:
    """All answers are alike; a mail tells whom it concerns."""
    ann, bob = await place.person("ann"), await place.person("bob")
    await place.add(ann)
    for what in ("account/3pid", "register"):
        shown = {**(await place.ask(what, secret="bob")).ok(), "client_secret": "bob"}
        assert "https://" not in place.mail.texts(ANN)[-1]
        refused = await bob.post(f"{V3}/account/3pid/add", shown)
        assert refused.errcode == "M_THREEPID_AUTH_FAILED"
    assert ann.user_id in place.mail.texts(ANN)[-1]
    (await place.ask("account/password", "nobody@example.org")).ok()
    (text,) = place.mail.texts("nobody@example.org")
    assert "https://" not in text


async def test_anybody_learns_it_where_the_settings_say_so(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    async with mailing(postgres, tmp_path, loopback_authority, {"tell_addresses": True}) as place:
        await place.add(await place.person("ann"))
        sent = len(place.mail.mails)
        assert (await place.ask("register")).errcode == "M_THREEPID_IN_USE"
        unknown = await place.ask("account/password", "nobody@example.org")
        assert unknown.errcode == "M_THREEPID_NOT_FOUND"
        assert len(place.mail.mails) == sent


async def test_a_forgotten_password(place: Place) -> None:
    ann = await place.person("ann")
    await place.add(ann)
    path, body = f"{V3}/account/password", {"new_password": NEW}
    challenge = await place.hearth.anybody.post(path, body)
    assert challenge.status == 401
    assert challenge.json["flows"] == [{"stages": ["m.login.email.identity"]}]

    async def reset(creds: dict[str, str]) -> Answer:
        auth = {
            "type": "m.login.email.identity",
            "threepid_creds": creds,
            "session": challenge.json["session"],
        }
        return await place.hearth.anybody.post(path, {**body, "auth": auth})

    # What was shown for something else is not good for this.
    other = await place.show("register", "new@example.org", "other")
    assert (await reset(other)).errcode == "M_THREEPID_AUTH_FAILED"
    shown = await place.show("account/password")
    assert (await reset(shown)).ok() == {}
    assert (await ann.get(f"{V3}/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await place.log_in(PASSWORD)).errcode == "M_FORBIDDEN"
    assert (await place.log_in(NEW)).ok()["user_id"] == ann.user_id
    challenge = await place.hearth.anybody.post(path, body)
    assert (await reset(shown)).errcode == "M_THREEPID_AUTH_FAILED"


async def test_registration_that_wants_an_address(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    registration = Registration(mode="open", require_email=True)
    async with mailing(
        postgres, tmp_path, loopback_authority, {}, registration=registration
    ) as place:
        body = {"username": "cat", "password": PASSWORD}

        async def register(creds: dict[str, str] | None, **more: Any) -> Answer:
            found = await place.hearth.anybody.post(f"{V3}/register", {**body, **more})
            assert found.json["flows"] == [{"stages": ["m.login.email.identity"]}]
            auth: dict[str, Any] = {"session": found.json["session"]}
            if creds is not None:
                auth |= {"type": "m.login.email.identity", "threepid_creds": creds}
            again = {**body, **more, "auth": auth}
            return await place.hearth.anybody.post(f"{V3}/register", again)

        assert (await register(None)).status == 401
        sid = (await place.ask("register")).ok()["sid"]
        creds = {"sid": sid, "client_secret": SECRET}
        assert (await register(creds)).errcode == "M_THREEPID_AUTH_FAILED"
        assert (await place.confirm()).status == 200
        made = (await register(creds)).ok()
        cat = Client(place.hearth, made["access_token"], made["user_id"], made["device_id"])
        assert await addresses(cat) == [ANN]
        again = await register(creds, username="dan")
        assert again.errcode == "M_THREEPID_AUTH_FAILED"
        admin = await place.hearth.user("root", is_admin=True)
        seen = (await admin.get(f"/_synapse/admin/v2/users/{cat.user_id}")).ok()
        assert [one["address"] for one in seen["threepids"]] == [ANN]


async def test_one_mail_for_each_attempt(place: Place) -> None:
    first = (await place.ask("account/3pid")).ok()
    assert (await place.ask("account/3pid")).ok() == first
    assert len(place.mail.mails) == 1
    old = place.mail.link(ANN)
    assert (await place.ask("account/3pid", send_attempt=2)).ok() == first
    assert len(place.mail.mails) == 2
    # The older link is good no more.
    assert (await place.hearth.anybody.ask("POST", old)).status == 404
    assert (await place.confirm()).status == 200


async def test_a_mail_server_that_takes_nothing(place: Place) -> None:
    place.mail.is_full = True
    assert (await place.ask("account/3pid")).status == 502
    place.mail.is_full = False
    (await place.ask("account/3pid")).ok()
    assert len(place.mail.mails) == 1


async def test_where_pages_lead_on(place: Place) -> None:
    good, bad = "https://app.example.org/#/done", "https://evil.test/"
    for number, (link, is_there) in enumerate([(good, True), (bad, False)], 1):
        (await place.ask("account/3pid", send_attempt=number, next_link=link)).ok()
        assert (link.encode() in (await place.confirm()).body) is is_there


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "no address"},
        {"email": "a@b\r\nBcc: c@d"},
        {"client_secret": "no secret!"},
        {"send_attempt": -1},
        {"send_attempt": 2**70},
    ],
)
async def test_what_cannot_be_asked_for(place: Place, wrong: dict[str, Any]) -> None:
    body = {"client_secret": SECRET, "email": ANN, "send_attempt": 1, **wrong}
    answer = await place.hearth.anybody.post(f"{V3}/account/3pid/email/requestToken", body)
    assert answer.status == 400
    assert not place.mail.mails


async def test_mails_to_one_address_are_few(
    postgres: Server, tmp_path: Path, loopback_authority: Authority
) -> None:
    limits = replace(_UNLIMITED, enabled=True, email_validation=Rate.parse("2/10m"))
    async with mailing(postgres, tmp_path, loopback_authority, {}, rate_limits=limits) as place:
        for number in (1, 2):
            (await place.ask("register", send_attempt=number)).ok()
        answer = await place.ask("register", send_attempt=3)
        assert answer.errcode == "M_LIMIT_EXCEEDED"


_UNLIMITED = RateLimits()


async def test_identity_servers_are_told_and_untold(place: Place) -> None:
    ann = await place.person("ann")
    place.identity.sessions["1"] = ("email", ANN)
    creds = {
        "sid": "1",
        "client_secret": SECRET,
        "id_server": place.identity.name,
        "id_access_token": TOKEN,
    }
    path = f"{V3}/account/3pid"
    elsewhere = {**creds, "id_server": "elsewhere.test"}
    assert (await ann.post(f"{path}/bind", elsewhere)).errcode == "M_SERVER_NOT_TRUSTED"
    (await ann.post(f"{path}/bind", creds)).ok()
    assert place.identity.bound == {("email", ANN): ann.user_id}
    address = {"medium": "email", "address": ANN}
    assert (await ann.post(f"{path}/unbind", address)).ok() == {
        "id_server_unbind_result": "success"
    }
    assert not place.identity.bound
    (signature,) = place.identity.signed_by
    assert signature.startswith("X-Matrix ")
    assert place.identity.name in signature
    assert (await ann.post(f"{path}/unbind", address)).ok() == {
        "id_server_unbind_result": "no-support"
    }
    (await ann.post(path, {"three_pid_creds": creds})).ok()
    ended = await with_password(ann, f"{V3}/account/deactivate", {"erase": True})
    assert ended.ok() == {"id_server_unbind_result": "success"}
    assert not place.identity.bound


async def test_the_end_of_an_account_frees_its_address(place: Place) -> None:
    ann, bob = await place.person("ann"), await place.person("bob")
    await place.add(ann)
    (await with_password(ann, f"{V3}/account/deactivate", {})).ok()
    shown = await place.show("account/3pid", secret="bob")
    assert (await with_password(bob, f"{V3}/account/3pid/add", shown)).ok() == {}
    assert await addresses(bob) == [ANN]


async def test_a_server_without_mail(hearth: Hearth) -> None:
    ann = await hearth.user("ann")
    caps = (await ann.get(f"{V3}/capabilities")).ok()["capabilities"]
    assert caps["m.3pid_changes"] == {"enabled": False}
    body = {"client_secret": SECRET, "email": ANN, "send_attempt": 1}
    phone = {"client_secret": SECRET, "country": "GB", "phone_number": "1", "send_attempt": 1}
    for what in ("account/3pid", "register", "account/password"):
        for medium, given in (("email", body), ("msisdn", phone)):
            path = f"{V3}/{what}/{medium}/requestToken"
            answer = await hearth.anybody.post(path, given)
            found = (answer.status, answer.errcode)
            assert found == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"), path
    answer = await hearth.anybody.post(f"{V3}/account/password", {"new_password": NEW})
    assert (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN")
