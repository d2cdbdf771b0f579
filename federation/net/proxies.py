"""Through which proxy, if any, a server is reached.

A list of rules as an administrator writes them, the first that matches decides. Speaking to the
proxy is `connector`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that knows `CONNECT`, or a SOCKS5 proxy."""

    scheme: str
    """`http`, `socks5` or `socks5h`."""
    host: str
    port: int
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """Read `http://[user:password@]host:port`, or the same with `socks5` or `socks5h`.

        Raises:
            ValueError: it is none of them.

        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("a proxy is http://host:port, socks5://… or socks5h://…")
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        username, password = (
            None if part is None else unquote(part) for part in (parts.username, parts.password)
        )
        return cls(parts.scheme, parts.hostname, port, username, password)

    @property
    def resolves_names(self) -> bool:
        """Whether names are handed to the proxy instead of being looked up here.

        As curl has it: `socks5` wants addresses, `socks5h` and `http` take names.
        """
        return self.scheme != "socks5"

    def __repr__(self) -> str:
        return f"Proxy({self.scheme}://{self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class ProxyRule:
    """Names like `pattern` (`*.onion`) are reached over `proxy`, or directly if that is `None`."""

    pattern: str
    proxy: Proxy | None


def choose_proxy(rules: Sequence[ProxyRule], *names: str) -> Proxy | None:
    """The proxy of the first rule that one of the names matches, without regard to case."""
    folded = [name.lower() for name in names]
    for rule in rules:
        if any(fnmatchcase(name, rule.pattern.lower()) for name in folded):
            return rule.proxy
    return None


_DEFAULT_PORTS = {"http": 3128, "socks5": 1080, "socks5h": 1080}
