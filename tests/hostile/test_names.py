"""Server names that are written otherwise, so that no list may know them.

https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
"""

import pytest

from federation.identifiers import ServerName
from federation.server_acl import ServerACL
from homeserver.config.settings import Federation
from homeserver.peers.peers import is_allowed

DENIED = ["evil.test", "*.evil.test", "bad*.test", "192.0.2.*", "[2001:db8::*"]


@pytest.mark.parametrize(
    "name",
    [
        "evil.test", "EVIL.test", "evil.test:1", "Evil.Test:65535", "evil.test.", "evil.test.:443",
        "evil.test..", "a.evil.test", "a.b.EVIL.TEST.", "badger.test", "192.0.2.7", "192.0.2.7:80",
        "192.0.2.7.", "[2001:db8::1]", "[2001:DB8::1]:8448",
    ],
)  # fmt: skip
def test_who_is_kept_out(name: str) -> None:
    acl = ServerACL.from_content({"allow": ["*"], "deny": DENIED})
    assert not acl.permits(ServerName(name))
    if not name.startswith("["):  # there these are written without brackets
        assert not is_allowed(Federation(denied_servers=tuple(DENIED)), ServerName(name))
    only = ServerACL.from_content({"allow": ["good.test"]})
    assert not only.permits(ServerName(name))


@pytest.mark.parametrize(
    "name", ["1.2.3.4", "1.2.3.4:5", "1.2.3.4.", "[::1]", "[::ffff:1.2.3.4]:8"]
)
def test_addresses_are_no_names(name: str) -> None:
    acl = ServerACL.from_content({"allow": ["*"], "allow_ip_literals": False})
    assert not acl.permits(ServerName(name))


@pytest.mark.parametrize("name", ["good.test", "GOOD.test:80", "good.test.", "notevil.test"])
def test_who_is_let_in(name: str) -> None:
    acl = ServerACL.from_content({"allow": ["*.test", "good.test"], "deny": DENIED})
    assert acl.permits(ServerName(name))
    assert is_allowed(Federation(denied_servers=tuple(DENIED)), ServerName(name))


@pytest.mark.parametrize("name", [".", "..", "999.1.1.1.", "-", ".evil.test"])
def test_odd_names(name: str) -> None:
    acl = ServerACL.from_content({"allow": ["*"], "deny": ["x"], "allow_ip_literals": False})
    assert acl.permits(ServerName(name)) in {True, False}
    assert is_allowed(Federation(denied_servers=("x",)), ServerName(name)) in {True, False}
