"""Sending mail, through the server that the settings name.

What mail servers say is not passed on or logged: it repeats addresses.
"""

import asyncio
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from fnmatch import fnmatchcase
from typing import NamedTuple

from federation.identifiers import ServerName, split_server_name
from homeserver.config.settings import Outgoing, Smtp
from homeserver.errors import BadGateway, InvalidParam
from homeserver.logs import get_logger

log = get_logger(__name__)

_SECONDS = 20.0
"""For one step of the exchange with the mail server."""
_AT_ONCE = 4
"""Mails of one worker that are sent at a time; others wait."""
_MOST_WAITING = 100


class Mail(NamedTuple):
    """A mail to somebody."""

    to: str
    subject: str
    text: str
    html: str


class Mailer:
    """Sends mail.

    Args:
        server: ours.
        smtp: the mail server; `None`: there is none.
        outgoing: whose certificates are accepted.

    """

    def __init__(self, server: ServerName, smtp: Smtp | None, outgoing: Outgoing) -> None:
        self._host = split_server_name(server).host
        self._smtp = smtp
        self._tls = _context(smtp.host, outgoing) if smtp else None
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    @property
    def is_there(self) -> bool:
        """Whether mail can be sent at all."""
        return self._smtp is not None

    async def send(self, mail: Mail) -> None:
        """Hand a mail to the mail server.

        Raises:
            InvalidParam: it does not take mail for this address.
            BadGateway: it does not take mail now.

        """
        smtp = self._smtp
        if smtp is None or self._waiting >= _MOST_WAITING:
            raise BadGateway("mail cannot be sent now")
        self._waiting += 1
        try:
            async with self._slots:
                await asyncio.to_thread(self._send, smtp, self._written(smtp, mail))
        except smtplib.SMTPRecipientsRefused as error:
            raise InvalidParam("mail cannot be sent to this address") from error
        except (smtplib.SMTPException, OSError) as error:
            code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None
            log.warning("mail cannot be sent", reason=type(error).__name__, code=code)
            raise BadGateway("mail cannot be sent now") from error
        finally:
            self._waiting -= 1

    def _written(self, smtp: Smtp, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        message["From"] = str(smtp.sender)
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain=self._host)
        # Nobody's absence need be told to us.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message

    def _send(self, smtp: Smtp, message: EmailMessage) -> None:
        """Blocks until the mail server has taken it."""
        connection = self._connected(smtp)
        try:
            if smtp.tls == "starttls":
                connection.starttls(context=self._tls)
            if smtp.username is not None and smtp.password is not None:
                connection.login(smtp.username, smtp.password.reveal())
            connection.send_message(message)
        finally:
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()

    def _connected(self, smtp: Smtp) -> smtplib.SMTP:
        if smtp.tls == "tls":
            return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=_SECONDS, context=self._tls)
        return smtplib.SMTP(smtp.host, smtp.port, timeout=_SECONDS)


def _context(host: str, outgoing: Outgoing) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if outgoing.system_trust:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if outgoing.ca_file:
        context.load_verify_locations(outgoing.ca_file)
    if any(fnmatchcase(host.lower(), name.lower()) for name in outgoing.unverified_names):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
