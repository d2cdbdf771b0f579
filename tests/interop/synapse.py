"""A stock Synapse beside us, on loopback with TLS and a database in a file."""

import asyncio
import hashlib
import hmac
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from federation.signing import SigningKey, decode_base64
from tests.app.processes import free_port
from tests.federation.net.loopback import Authority

PYTHON = Path(__file__).parents[2] / ".oracle" / "bin" / "python"
SECRET = "shared"
_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}


@dataclass
class Synapse:
    """A running one."""

    name: str
    url: str
    session: aiohttp.ClientSession
    folder: Path

    @property
    def key(self) -> SigningKey:
        """With which it signs."""
        kind, version, seed = (self.folder / "signing.key").read_text().split()
        return SigningKey.from_seed(f"{kind}:{version}", decode_base64(seed))

    @property
    def errors(self) -> list[str]:
        """What it logged as an error."""
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in lines if line.startswith(("ERROR", "CRITICAL"))]

    async def user(self, localpart: str) -> "SynapseClient":
        """Make an account and log in."""
        path = "/_synapse/admin/v1/register"
        nonce = (await self.ask("GET", path))["nonce"]
        said = f"{nonce}\0{localpart}\0password\0notadmin"
        mac = hmac.new(SECRET.encode(), said.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": localpart, "password": "password", "mac": mac}
        made = await self.ask("POST", path, body)
        return SynapseClient(self, made["user_id"], made["access_token"])

    async def ask(
        self, method: str, path: str, body: Any = None, token: str = "", **query: str
    ) -> Any:
        """Anything but 200 is an error."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(
            method, self.url + path, json=body, params=query, headers=headers, ssl=False
        ) as response:
            found = json.loads(await response.read())
            assert response.status == 200, (method, path, found)
            return found


@dataclass
class SynapseClient:
    """Somebody with an account there."""

    synapse: Synapse
    user_id: str
    token: str

    async def get(self, path: str, **query: str) -> Any:
        return await self.synapse.ask("GET", path, None, self.token, **query)

    async def post(self, path: str, body: Any = None, **query: str) -> Any:
        return await self.synapse.ask("POST", path, body or {}, self.token, **query)

    async def put(self, path: str, body: Any) -> Any:
        return await self.synapse.ask("PUT", path, body, self.token)


@asynccontextmanager
async def synapse(
    folder: Path, authority: Authority, port: int = 0, name: str | None = None
) -> AsyncIterator[Synapse]:
    """One that answers, for as long as it is used; other servers may know it by another port."""
    port = port or free_port()
    name = name or f"127.0.0.1:{port}"
    _configure(folder, name, port, authority)
    process = _launch(folder)
    async with aiohttp.ClientSession() as session:
        try:
            found = Synapse(name, f"https://127.0.0.1:{port}", session, folder)
            await _answers(found, process)
            yield found
        finally:
            process.terminate()
            process.wait(10)


def _launch(folder: Path) -> "subprocess.Popen[bytes]":
    command = [str(PYTHON), "-m", "synapse.app.homeserver", "-c", "homeserver.yaml"]
    subprocess.run([*command, "--generate-keys"], cwd=folder, check=True, capture_output=True)
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)


def _configure(folder: Path, name: str, port: int, authority: Authority) -> None:
    certificate = authority.certificate("127.0.0.1")
    settings = {
        "server_name": name,
        "public_baseurl": f"https://{name}/",
        "signing_key_path": "signing.key",
        "log_config": "log.yaml",
        "media_store_path": "media",
        "report_stats": False,
        "macaroon_secret_key": secrets.token_hex(8),
        "form_secret": secrets.token_hex(8),
        "registration_shared_secret": SECRET,
        "trusted_key_servers": [],
        "listeners": [
            {
                "port": port,
                "type": "http",
                "bind_addresses": ["127.0.0.1"],
                "tls": True,
                "resources": [{"names": ["client", "federation", "keys", "media"]}],
            }
        ],
        "tls_certificate_path": str(certificate),
        "tls_private_key_path": str(certificate),
        "federation_custom_ca_list": [str(authority.file)],
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        # After an outage it comes back within seconds, not minutes.
        "federation": {
            "max_long_retry_delay": "1s",
            "max_short_retry_delay": "1s",
            "destination_min_retry_interval": "1s",
            "destination_max_retry_interval": "2s",
        },
        "bcrypt_rounds": 4,
        "database": {"name": "sqlite3", "args": {"database": "homeserver.db"}},
        "rc_message": _UNLIMITED,
        "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
        "rc_joins_per_room": _UNLIMITED,
        "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), _UNLIMITED),
        "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), _UNLIMITED),
    }
    (folder / "homeserver.yaml").write_text(yaml.safe_dump(settings))
    (folder / "log.yaml").write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "formatters": {"levels": {"format": "%(levelname)s %(name)s %(message)s"}},
                "handlers": {
                    "file": {
                        "class": "logging.FileHandler",
                        "filename": "log",
                        "formatter": "levels",
                    }
                },
                "root": {"level": "INFO", "handlers": ["file"]},
                "disable_existing_loggers": False,
            }
        )
    )


async def _answers(found: Synapse, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(30):
        while process.poll() is None:
            try:
                await found.ask("GET", "/_matrix/client/versions")
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
            else:
                return
    raise AssertionError((found.folder / "output").read_text())
