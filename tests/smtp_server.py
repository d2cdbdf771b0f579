"""A mail server for tests, on a real socket: with STARTTLS and AUTH, as mail servers have it."""

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from tests.federation.net.loopback import Authority
from tests.servers import LOOPBACK

USER, PASSWORD = "hearth", "letters"


@dataclass
class MailServer:
    """What it was sent."""

    tls: ssl.SSLContext
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    is_full: bool = False
    """Whether it takes nothing."""

    def texts(self, to: str) -> list[str]:
        """What was mailed to somebody, as plain text."""
        mine = [mail for mail in self.mails if mail["To"] == to]
        bodies = [mail.get_body(("plain",)) for mail in mine]
        return [str(body.get_content()) for body in bodies if body]

    def link(self, to: str) -> str:
        """The path of the link that was mailed last."""
        found = re.search(r"https://[^/\s]+(/\S+)", self.texts(to)[-1])
        assert found, self.texts(to)[-1]
        return found[1]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; nothing but EHLO and STARTTLS before TLS, no mail without a login."""
        is_safe = is_known = False

        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 mail.test")
        while line := (await reader.readline()).decode().strip():
            verb = line.upper()
            if verb.startswith("EHLO"):
                say("250-mail.test")
                say("250 AUTH PLAIN" if is_safe else "250 STARTTLS")
            elif verb == "STARTTLS":
                say("220 go on")
                await writer.drain()
                await writer.start_tls(self.tls)
                is_safe = True
            elif verb.startswith("AUTH PLAIN ") and is_safe:
                given = base64.b64decode(line.split()[2]).decode()
                is_known = given == f"\0{USER}\0{PASSWORD}"
                say("235 welcome" if is_known else "535 no")
            elif verb == "QUIT":
                say("221 bye")
                break
            elif not is_known:
                say("530 log in")
            elif verb == "DATA":
                say("354 go on")
                raw = await reader.readuntil(b"\r\n.\r\n")
                parsed = message_from_bytes(raw[:-5], policy=policy.default)
                assert isinstance(parsed, EmailMessage)
                self.mails.append(parsed)
                say("250 taken")
            else:
                say("452 full" if self.is_full and verb.startswith("MAIL") else "250 fine")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def taking_mail(authority: Authority) -> AsyncIterator[MailServer]:
    """A mail server, for as long as it is used."""
    server = MailServer(authority.server_context("127.0.0.1"))
    listening = await asyncio.start_server(server.answer, str(LOOPBACK), 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
