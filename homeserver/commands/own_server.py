"""The server that runs from some settings, asked over HTTP on this machine."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from homeserver.accounts.app_services import AppService
from homeserver.config import Settings

_V3 = "/_matrix/client/v3"
_ALGORITHM = "signed_curve25519"
_TIMEOUT = aiohttp.ClientTimeout(total=15)


class NoDeviceError(Exception):
    """There is no device to encrypt for; the text says why."""


class BridgeDevice(NamedTuple):
    """A device of a bridge's own user, with a one-time key that is ours alone."""

    keys: dict[str, Any]
    """Its `device_keys`."""
    one_time_key: str


def client_url(settings: Settings) -> URL | None:
    """Where clients on this machine reach the server; `None` if nowhere."""
    for listener in settings.listeners:
        if "client" in listener.serves:
            address = listener.address
            if address.is_unspecified:
                address = ip_address("127.0.0.1" if address.version == 4 else "::1")
            scheme = "http" if listener.tls is None else "https"
            return URL.build(scheme=scheme, host=str(address), port=listener.port)
    return None


async def bridge_device(url: URL, service: AppService) -> BridgeDevice:
    """Find a device of a bridge's own user, in its name, and claim a one-time key.

    Raises:
        NoDeviceError: it has none, or the server does not answer.

    """
    headers = {"Authorization": f"Bearer {service.as_token.reveal()}"}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
            found = await _ask(session, url, "keys/query", {"device_keys": {service.sender: []}})
            devices = found["device_keys"].get(service.sender, {})
            for device_id, keys in devices.items():
                wanted = {service.sender: {device_id: _ALGORITHM}}
                claimed = await _ask(session, url, "keys/claim", {"one_time_keys": wanted})
                given = claimed["one_time_keys"].get(service.sender, {}).get(device_id, {})
                for key in given.values():
                    return BridgeDevice(keys, key["key"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NoDeviceError(f"the server at {url} cannot be asked for its keys") from error
    raise NoDeviceError("its user has no device with one-time keys: it does not encrypt")


async def _ask(session: aiohttp.ClientSession, url: URL, path: str, body: Mapping[str, Any]) -> Any:
    # On this machine, at an address for which no certificate can be.
    where = url.with_path(f"{_V3}/{path}")
    async with session.post(where, json=body, ssl=False) as response:
        response.raise_for_status()
        return await response.json()
