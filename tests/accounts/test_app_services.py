"""Registrations of application services: what is read, and what is said of bad ones.

https://spec.matrix.org/v1.19/application-service-api/#registration
"""

from dataclasses import replace
from pathlib import Path

import pytest

from federation.identifiers import RoomAlias, UserID
from homeserver.accounts.app_service_files import load_app_services
from homeserver.accounts.app_services import AppService, AppServices
from homeserver.config.settings import AppServices as Section
from homeserver.errors import ConfigError, Exclusive
from tests.servers import test_settings

IRC = """
id: "IRC Bridge"
url: "http://127.0.0.1:1234/"
as_token: "30c05ae90a248a4188e620216fa72e349803310e"
hs_token: "312df522183efd404ec1cd22d2ffa4bbc76a8c1c"
sender_localpart: "_irc_bot"
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_.*:one\\\\.test"
      group_id: "+irc:one.test"
  aliases:
    - exclusive: false
      regex: "#_irc_[[:alnum:]]+:"
  rooms: []
rate_limited: false
protocols: [irc]
de.sorunome.msc2409.push_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
"""


def load(tmp_path: Path, *texts: str) -> AppServices:
    files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    settings = test_settings("one.test", tmp_path)
    return load_app_services(replace(settings, appservices=Section(files=tuple(files))))


def only(services: AppServices) -> AppService:
    (service,) = services
    return service


def test_a_bridge_as_bridges_write_it(tmp_path: Path) -> None:
    irc = only(load(tmp_path, IRC))
    assert (irc.id, irc.url, irc.sender) == (
        "IRC Bridge",
        "http://127.0.0.1:1234",
        "@_irc_bot:one.test",
    )
    assert (irc.rate_limited, irc.protocols) == (False, ("irc",))
    assert irc.wants_ephemeral
    assert irc.wants_encryption
    assert "30c05" not in repr(irc)
    assert "312df" not in repr(irc)


def test_a_bot_that_is_told_nothing(tmp_path: Path) -> None:
    text = "{id: bot, url: null, as_token: a, hs_token: h, sender_localpart: bot, namespaces: {}}"
    bot = only(load(tmp_path, text))
    assert bot.url is None
    assert bot.rate_limited
    assert not bot.wants_ephemeral


def test_namespaces(tmp_path: Path) -> None:
    other = IRC.replace("IRC Bridge", "other").replace("30c", "40c").replace("_irc_", "_xmpp_")
    services = load(tmp_path, IRC, other)
    irc, xmpp = services
    for name in ("@_irc_ann:one.test", "@_irc_bot:one.test"):
        assert irc.may_be(name)
        assert services.is_exclusive(UserID(name))
        assert services.is_exclusive(UserID(name), xmpp)
        assert not services.is_exclusive(UserID(name), irc)
    # As it begins, not as it has somewhere in it.
    for name in ("@x_irc_ann:one.test", "@x@_irc_ann:one.test", "@ann:one.test"):
        assert not irc.may_be(name)
        assert not services.is_exclusive(UserID(name))
    services.check_user(UserID("@_irc_ann:one.test"), irc)
    for name in ("@ann:one.test", "@_xmpp_ann:one.test"):
        with pytest.raises(Exclusive):
            services.check_user(UserID(name), irc)
    services.check_alias(RoomAlias("#_irc_a1:one.test"), None)
    services.check_alias(RoomAlias("#_irc_a1:one.test"), irc)
    with pytest.raises(Exclusive):
        services.check_alias(RoomAlias("#hall:one.test"), irc)


def test_tokens_lead_to_their_application_service(tmp_path: Path) -> None:
    services = load(tmp_path, IRC)
    irc = only(services)
    assert services.by_token(irc.as_token.reveal()) is irc
    for wrong in ("", "30c05", irc.hs_token.reveal(), "\ud800"):
        assert services.by_token(wrong) is None
    assert services.get("IRC Bridge") is irc
    assert services.get("unknown") is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id: "IRC Bridge"', "", "id: missing (FILE, line 3)\n    for example: id: irc"),
        ('"IRC Bridge"', "[1]", "id: not a text (FILE, line 2)\n    for example: id: irc"),
        ('"http://127.0.0.1:1234/"', "ftp://x", "url: not an http or https URL; found 'ftp://x'"),
        ('"http://127.0.0.1:1234/"', "http://x:y/", "url: not an http or https URL"),
        ('"30c05ae90a248a4188e620216fa72e349803310e"', "", "as_token: not a text (FILE, line 4)"),
        ('"_irc_bot"', '"@irc:one.test"', "sender_localpart: a name holds letters"),
        ("rate_limited: false", "rate_limited: perhaps", "rate_limited: neither true nor false"),
        ("[irc]", "irc", "protocols: not a list of texts; found 'irc'"),
        ("exclusive: true", "exclusive: 1", "namespaces.users[0].exclusive: neither true nor"),
        ('"@_irc_.*:one', '"@(_irc_.*:one', "namespaces.users[0].regex: not a regular expression"),
        ("  rooms: []", "  rums: []", "namespaces.rums: no such namespace; there are users"),
        ("  rooms: []", "  rooms: {}", "namespaces.rooms: not a list"),
        ("  rooms: []", "  rooms: [x]", "namespaces.rooms[0]: not a mapping with a regex"),
        ("protocols: [irc]", "protocols: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in IRC
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, IRC.replace(old, new))
    text = str(raised.value)
    assert said.replace("FILE", str(tmp_path / "0.yaml")) in text
    assert str(tmp_path / "0.yaml") in text
    assert "30c05" not in text
    assert "312df" not in text


@pytest.mark.parametrize("text", ["", "[]", "just text"])
def test_what_is_no_registration_at_all(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not a registration"):
        load(tmp_path, text)


def test_twins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="id: 2 registrations have the same"):
        load(tmp_path, IRC, IRC)
    other = IRC.replace("IRC Bridge", "other")
    with pytest.raises(ConfigError, match="as_token: 'IRC Bridge' and 'other' have the same"):
        load(tmp_path, IRC, other)


def test_a_sender_as_mautrix_names_it(tmp_path: Path) -> None:
    """Random letters, of which some are capitals."""
    service = only(load(tmp_path, IRC.replace('"_irc_bot"', "abq9X_RHUMi1nCTu")))
    assert service.sender == "@abq9X_RHUMi1nCTu:one.test"


def test_an_older_bridge_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "irc.yaml"
    file.write_text(IRC, encoding="utf-8")
    section = Section(files=(file,), token_in_query=("IRC Bridge", "icq"))
    with pytest.raises(ConfigError, match="icq"):
        load_app_services(replace(test_settings("one.test", tmp_path), appservices=section))
    known = replace(section, token_in_query=("IRC Bridge",))
    settings = replace(test_settings("one.test", tmp_path), appservices=known)
    assert only(load_app_services(settings)).token_in_query
