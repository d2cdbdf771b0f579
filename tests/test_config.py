"""Settings: what may be written, what is said of the rest, and that secrets stay secret."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from federation.net.proxies import Proxy
from homeserver.config import Settings, find_file, load
from homeserver.config.checks import warnings
from homeserver.config.declaring import declared, doc_of
from homeserver.config.example import example_file
from homeserver.config.reading import setting_paths
from homeserver.config.scalars import SCALARS
from homeserver.config.settings import Listener, Logging
from homeserver.config.showing import as_yaml_file, shown
from homeserver.config.values import DatabaseUrl, Duration, Rate, Secret, Size
from homeserver.errors import ConfigError

ROOT = Path(__file__).parent.parent
NAME = "server_name: example.org\n"
ENVIRON = {"HEARTH__SERVER_NAME": "example.org"}


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "hearth.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def complaint(tmp_path: Path, text: str, **environ: str) -> str:
    """What is said of the settings, without the folder that they lie in."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    return str(caught.value).replace(f"{tmp_path}/", "")


# Values


@pytest.mark.parametrize(
    ("text", "milliseconds", "again"),
    [
        ("250ms", 250, "250ms"),
        ("30s", 30_000, "30s"),
        ("5m", 300_000, "5m"),
        ("90m", 5_400_000, "90m"),
        ("120m", 7_200_000, "2h"),
        ("24h", 86_400_000, "1d"),
        ("2w", 1_209_600_000, "2w"),
        ("0s", 0, "0s"),
    ],
)
def test_durations(text: str, milliseconds: int, again: str) -> None:
    duration = Duration.parse(text)
    assert duration == Duration(milliseconds)
    assert str(duration) == again
    assert duration.seconds == milliseconds / 1000
    assert duration.timedelta.total_seconds() == milliseconds / 1000
    assert bool(duration) == bool(milliseconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "1.5h", "5M", "5m30s", "9999w9", "٣s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.parse(text)


def test_endless_duration() -> None:
    with pytest.raises(ValueError, match="a hundred years"):
        Duration.parse("9999w")


@pytest.mark.parametrize(
    ("text", "size", "again"),
    [
        ("0", 0, "0"),
        ("1000", 1000, "1000"),
        ("1K", 1024, "1K"),
        ("50M", 52_428_800, "50M"),
        ("50m", 52_428_800, "50M"),
        ("2048M", 2**31, "2G"),
        ("1T", 2**40, "1T"),
    ],
)
def test_sizes(text: str, size: int, again: str) -> None:
    assert Size.parse(text) == size
    assert f"{Size.parse(text)}" == again


@pytest.mark.parametrize("text", ["", "M", "1.5M", "-1", "50MB", "50 M", "0x10"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Size.parse(text)


def test_rates() -> None:
    rate = Rate.parse("30/1m")
    assert rate == Rate(30, Duration(60_000))
    assert rate.per_second == 0.5
    assert str(rate) == "30/1m"


@pytest.mark.parametrize(
    "text", ["", "10", "10/", "/1m", "0/1m", "10/0s", "-1/1m", "1.5/1m", "a/1m"]
)
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|duration"):
        Rate.parse(text)


@given(st.integers(0, 10**12))
def test_written_values_are_read_back(number: int) -> None:
    assert Duration.parse(str(Duration(number))) == Duration(number)
    assert Size.parse(str(Size(number))) == number


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("postgresql://ann:s3cret@db:5432/hearth", "postgresql://ann:(hidden)@db:5432/hearth"),
        ("postgres:///hearth?host=/run&password=s3cret", "postgres:///hearth"),
        ("postgresql://ann:s3@cret@db/x", "postgresql://ann:(hidden)@db/x"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
    ],
)
def test_database_url(text: str, shows: str) -> None:
    url = DatabaseUrl.parse(text)
    assert (str(url), repr(url), url.reveal()) == (shows, shows, text)


# Loading


def test_only_the_name_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, ENVIRON)
    assert settings.server_name == "example.org"
    assert settings.listeners == (Listener(),)
    assert settings.data_dir == tmp_path / "hearth-data"
    assert settings.signing_key_file == tmp_path / "hearth-data" / "signing.key"
    assert settings.media_folder == tmp_path / "hearth-data" / "media"
    assert settings.postgres_folder == tmp_path / "hearth-data" / "postgres"


def test_private_by_default(tmp_path: Path) -> None:
    settings = loaded(tmp_path, NAME)
    assert settings.registration.mode == "closed"
    assert settings.listeners[0].address == IPv4Address("127.0.0.1")
    assert settings.privacy.client_addresses == "memory"
    assert settings.federation.trusted_key_servers == ()
    assert settings.accounts.identity_servers == ()
    assert settings.outgoing.allowed_ranges == ()
    assert settings.rooms.encryption.private_chat
    assert settings.rooms.invite_level.private_chat == 50
    assert settings.logging.level == "info"
    loose = [
        settings.presence.enabled,
        settings.previews.enabled,
        settings.push.include_content,
        settings.federation.device_names,
        settings.rooms.public_list_without_login,
        settings.redaction.keep,
        settings.outgoing.unverified_names,
    ]
    assert not any(loose)
    assert list(warnings(settings)) == []


@pytest.mark.parametrize(
    "name", ["example.org", "localhost", "127.0.0.1:8448", "[::1]:8448", "matrix.example.org:443"]
)
def test_server_names(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, f'server_name: "{name}"').server_name == name


@pytest.mark.parametrize(
    ("name", "given", "base_url"),
    [
        ("example.org", None, "https://example.org/"),
        ("example.org:8448", None, "https://example.org/"),
        ("[::1]:8448", None, "https://[::1]/"),
        ("example.org", "https://m.example.org", "https://m.example.org/"),
        ("example.org", "http://127.0.0.1:8008/", "http://127.0.0.1:8008/"),
    ],
)
def test_base_url(tmp_path: Path, name: str, given: str | None, base_url: str) -> None:
    settings = loaded(tmp_path, yaml.safe_dump({"server_name": name, "public_baseurl": given}))
    assert settings.base_url == base_url


def test_a_whole_file(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
        server_name: example.org
        workers: 4
        listeners:
          - {address: "::", port: 8448, serves: [federation, key]}
          - port: 8008
            serves: [client, media]
        outgoing:
          allowed_ranges: [127.0.0.0/8, "::1/128"]
          proxies:
            - {names: "*.onion", proxy: "socks5h://127.0.0.1:9050"}
        federation:
          retry_minimum: 250ms
        well_known:
          client_extra: {io.element.e2ee: {default: true, rooms: 3, at: 2026-01-01}}
        registration:
        rate_limits: {messages: null, joins: 5/1s}
        logging: {level: debug, file: logs/hearth.log}
        """,
    )
    assert settings.workers == 4
    assert [listener.port for listener in settings.listeners] == [8448, 8008]
    assert settings.listeners[0].serves == ("federation", "key")
    assert settings.outgoing.allowed_ranges == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.outgoing.proxies[0].proxy == Proxy.parse("socks5h://127.0.0.1:9050")
    assert settings.federation.retry_minimum == Duration(250)
    # What JSON does not have stays text.
    extra = {"default": True, "rooms": 3, "at": "2026-01-01"}
    assert settings.well_known.client_extra == {"io.element.e2ee": extra}
    assert settings.registration.mode == "closed"
    assert settings.rate_limits.messages is None
    assert settings.rate_limits.joins == Rate(5, Duration(1000))
    assert settings.logging == Logging(level="debug", file=tmp_path / "logs" / "hearth.log")


def test_values_are_taken_as_written(tmp_path: Path) -> None:
    """YAML alone would read an integer, a boolean and minutes of the day."""
    text = NAME + "registration: {mode: token, token: 0123}\npresence: {enabled: Off}\n"
    settings = loaded(tmp_path, f"{text}resource_limits: {{blocked: 22:30, admin_contact: yes}}")
    assert settings.registration.token == Secret("0123")
    assert settings.presence.enabled is False
    assert settings.resource_limits.blocked == "22:30"
    assert settings.resource_limits.admin_contact == "yes"


def test_find_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file() is None
    (tmp_path / "hearth.yaml").touch()
    assert find_file() == Path("hearth.yaml")


# The environment


def test_variables_win(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        "server_name: example.org\nworkers: 2\nfederation: {enabled: false, retry_maximum: 2h}",
        HEARTH__SERVER_NAME="example.net",
        HEARTH__FEDERATION__RETRY_MAXIMUM="3h",
        HEARTH__FEDERATION__TRUSTED_KEY_SERVERS='["a.example", "b.example"]',
        HEARTH__LISTENERS="[{port: 1234}]",
        HEARTH__ROOMS__ENCRYPTION__PRIVATE_CHAT="false",
        HEARTH__SMTP="{host: mail.example, sender: a@b.example}",
        HEARTH__SMTP__PORT="25",
        HEARTH__RATE_LIMITS__MESSAGES="null",
        HEARTH_CONFIG="not ours",
        PATH="/bin",
    )
    assert (settings.server_name, settings.workers) == ("example.net", 2)
    assert settings.federation.enabled is False
    assert settings.federation.retry_maximum == Duration.parse("3h")
    assert settings.federation.trusted_key_servers == ("a.example", "b.example")
    assert settings.listeners == (Listener(port=1234),)
    assert settings.rooms.encryption.private_chat is False
    assert settings.smtp is not None
    assert (settings.smtp.host, settings.smtp.port) == ("mail.example", 25)
    assert settings.rate_limits.messages is None


@pytest.mark.parametrize("secret", ["0123", "{x", "a: b", "'quoted'", "[", "yes"])
def test_texts_in_variables_are_not_yaml(tmp_path: Path, secret: str) -> None:
    settings = loaded(tmp_path, NAME, HEARTH__REGISTRATION__SHARED_SECRET=secret)
    assert settings.registration.shared_secret == Secret(secret)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "HEARTH__WORKERS",
            "many",
            "workers: not a whole number; found 'many' (HEARTH__WORKERS)\n"
            "    for example: workers: 1",
        ),
        (
            "HEARTH__FEDERATION__ENABLE",
            "true",
            "federation.enable: no such setting; did you mean federation.enabled?"
            " (HEARTH__FEDERATION__ENABLE)",
        ),
        (
            "HEARTH__LISTENERS",
            "[{port: 1",
            "listeners: not YAML: expected ',' or '}', but got '<stream end>'"
            " (HEARTH__LISTENERS, line 1)",
        ),
        (
            "HEARTH__SUPPORT__CONTACTS__0",
            "ann",
            "support.contacts: a list is given whole, as YAML or JSON in one variable"
            " (HEARTH__SUPPORT__CONTACTS__0)",
        ),
        (
            "HEARTH__FEDERATION__TRUSTED_KEY_SERVERS",
            "matrix.org",
            "federation.trusted_key_servers: not a list; found 'matrix.org'"
            " (HEARTH__FEDERATION__TRUSTED_KEY_SERVERS, line 1)\n"
            "    for example: trusted_key_servers: [matrix.org]",
        ),
    ],
)
def test_wrong_variables(tmp_path: Path, name: str, value: str, said: str) -> None:
    text = NAME + "support: {contacts: [{email_address: a@b.example}]}"
    assert complaint(tmp_path, text, **{name: value}) == said


# What is said of wrong settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "server_name: exa mple.org",
            "server_name: not a server name: a domain or an IP address, perhaps with a port;"
            " found 'exa mple.org' (hearth.yaml, line 1)\n"
            "    for example: server_name: example.org",
        ),
        (
            "workers: 1",
            "server_name: missing (hearth.yaml, line 1)\n    for example: server_name: example.org",
        ),
        (
            NAME + "workers: 65",
            "workers: must be from 1 to 64; found '65' (hearth.yaml, line 2)\n"
            "    for example: workers: 1",
        ),
        (
            NAME + "workers:",
            "workers: nothing is given (hearth.yaml, line 2)\n    for example: workers: 1",
        ),
        (
            NAME + "workers: [1]",
            "workers: not a single value; found a list (hearth.yaml, line 2)\n"
            "    for example: workers: 1",
        ),
        (
            NAME + "listeners:\n  - port: 80a",
            "listeners[0].port: not a whole number; found '80a' (hearth.yaml, line 3)\n"
            "    for example: port: 8008",
        ),
        (
            NAME + "listeners: [{address: localhost}]",
            "listeners[0].address: not an IP address; found 'localhost' (hearth.yaml, line 2)\n"
            "    for example: address: 127.0.0.1",
        ),
        (
            NAME + "listeners: [{serves: [clients]}]",
            "listeners[0].serves[0]: not one of client, federation, media, key, admin, metrics;"
            " found 'clients' (hearth.yaml, line 2)\n"
            "    for example: serves: [client, federation, media, key]",
        ),
        (
            NAME + "listeners: []",
            "listeners: needs at least one element; found a list (hearth.yaml, line 2)\n"
            "    for example: listeners: [{address: 127.0.0.1, port: 8008,"
            " serves: [client, federation, media, key], tls: null}]",
        ),
        (
            NAME + "listeners: [{tls: {certificate: cert.pem}}]",
            "listeners[0].tls.certificate: cannot be read (No such file or directory);"
            " found 'cert.pem' (hearth.yaml, line 2)\n"
            "    for example: certificate: /etc/hearth/fullchain.pem\n"
            "listeners[0].tls.key: missing (hearth.yaml, line 2)\n"
            "    for example: key: /etc/hearth/privkey.pem",
        ),
        (
            NAME + "federation: on",
            "federation: not a section with settings below it; found 'on' (hearth.yaml, line 2)",
        ),
        (
            NAME + "federation: {retry_minimum: 5}",
            "federation.retry_minimum: not a duration: a whole number and ms, s, m, h, d or w;"
            " found '5' (hearth.yaml, line 2)\n    for example: retry_minimum: 30s",
        ),
        (
            NAME + "federation: {enabled: maybe}",
            "federation.enabled: neither true nor false; found 'maybe' (hearth.yaml, line 2)\n"
            "    for example: enabled: true",
        ),
        (
            NAME + "media: {max_upload: 50MB}",
            "media.max_upload: not a size: a whole number of bytes, or one with K, M, G or T;"
            " found '50MB' (hearth.yaml, line 2)\n    for example: max_upload: 50M",
        ),
        (
            NAME + "registration: {mode: opne}",
            "registration.mode: not one of closed, token, open; found 'opne'"
            " (hearth.yaml, line 2)\n    for example: mode: closed",
        ),
        (
            NAME + "registration: {auto_join: [welcome]}",
            "registration.auto_join[0]: not a room alias; found 'welcome' (hearth.yaml, line 2)\n"
            '    for example: auto_join: ["#welcome:example.org"]',
        ),
        (
            NAME + "outgoing: {allowed_ranges: [10.0.0.1/8]}",
            "outgoing.allowed_ranges[0]: a network with bits set beyond its prefix;"
            " found '10.0.0.1/8' (hearth.yaml, line 2)\n"
            "    for example: allowed_ranges: [10.0.0.0/8]",
        ),
        (
            NAME + "rooms: {default_version: 99}",
            "rooms.default_version: not a room version that is known here: 1, 2, 3, 4, 5, 6, 7,"
            " 8, 9, 10, 11, 12; found '99' (hearth.yaml, line 2)\n"
            "    for example: default_version: '12'",
        ),
        (
            NAME + "public_baseurl: example.org",
            "public_baseurl: not a URL that begins with https:// or http://;"
            " found 'example.org' (hearth.yaml, line 2)\n"
            "    for example: public_baseurl: https://matrix.example.org/",
        ),
        (
            NAME + "well_known: {client_extra: [1]}",
            "well_known.client_extra: not a mapping; found a list (hearth.yaml, line 2)\n"
            "    for example: client_extra: {io.element.e2ee: {default: true}}",
        ),
        (
            NAME + "smtp: {host: mail.example, sender: nobody}",
            "smtp.sender: not an e-mail address; found 'nobody' (hearth.yaml, line 2)\n"
            "    for example: sender: hearth@example.org",
        ),
        (
            NAME + f"server_notices: {{localpart: {'x' * 300}, display_name: ''}}",
            "server_notices.display_name: empty; found '' (hearth.yaml, line 2)\n"
            "    for example: display_name: Server notices",
        ),
        (
            NAME + "federaton: {enabled: true}",
            "federaton: no such setting; did you mean federation? (hearth.yaml, line 2)",
        ),
        (
            NAME + "registration_shared_secret: hush",
            "registration_shared_secret: no such setting; did you mean"
            " registration.shared_secret? (hearth.yaml, line 2)",
        ),
        (
            NAME + "listeners: [{prot: 8008}]",
            "listeners[0].prot: no such setting; did you mean listeners[0].port?"
            " (hearth.yaml, line 2)",
        ),
        (
            NAME + "redaction: {zzz: 1}",
            "redaction.zzz: no such setting; known here are keep (hearth.yaml, line 2)",
        ),
        (
            NAME + "workers: 1\nworkers: 2",
            "workers: given twice; first in hearth.yaml, line 2 (hearth.yaml, line 3)",
        ),
        (
            NAME + "media: &loop {folder: *loop}",
            "media.folder: contains itself (hearth.yaml, line 2)",
        ),
        (
            NAME + "database: !env DATABASE",
            "database: the tag !env means nothing here (hearth.yaml, line 2)",
        ),
        (
            NAME + "? [a]\n: b",
            "a list or mapping cannot be a name (hearth.yaml, line 2)",
        ),
        (
            "server_name: [",
            "not YAML: expected the node content, but found '<stream end>' (hearth.yaml, line 1)",
        ),
        (
            NAME + "---\n" + NAME,
            "not YAML: but found another document (hearth.yaml, line 2)",
        ),
        ("- a", "not a section with settings below it; found a list (hearth.yaml, line 1)"),
        ("x: " + "[" * 400 + "]" * 400, "nested too deeply (hearth.yaml)"),
        (NAME + "workers: \x07", "not YAML: characters that it has not (hearth.yaml)"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, text) == said


def test_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(
            tmp_path,
            "workers: x\nworkers: 3\nlisteners: [{port: 0}, {prot: 1}]\nauth: {cas: {}}",
            HEARTH__PUSH__X="1",
        )
    assert [problem.path for problem in caught.value.problems] == [
        "workers",
        "server_name",
        "workers",
        "listeners[0].port",
        "listeners[1].prot",
        "auth.cas.server_url",
        "push.x",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "listeners: [{}, {port: 8009}, {serves: [key]}]",
            "listeners[2]: port 8008 of 127.0.0.1 is taken by another listener",
        ),
        (
            "registration: {token: let-me-in}",
            "registration.token: a token opens nothing while registration.mode is closed\n"
            "    for example: mode: token",
        ),
        (
            "registration: {require_email: true}",
            "registration.require_email: e-mail addresses cannot be proven without smtp",
        ),
        (
            "smtp: {host: a.example, sender: a@b.example, username: ann}",
            "smtp.password: missing, while smtp.username is given",
        ),
        (
            "smtp: {host: a.example, sender: a@b.example, password: x}",
            "smtp.username: missing, while smtp.password is given",
        ),
        (
            "turn: {uris: [turn.example.org], shared_secret: x}",
            "turn.uris[0]: not turn:host or turns:host; found 'turn.example.org'\n"
            "    for example: uris: [turn:turn.example.org]",
        ),
        (
            "support: {contacts: [{role: m.role.security}]}",
            "support.contacts[0]: needs a matrix_id or an email_address",
        ),
        (
            "federation: {retry_minimum: 1d, retry_maximum: 1h}",
            "federation.retry_minimum: above federation.retry_maximum, which is 1h; found 1d",
        ),
        (
            "retention: {minimum: 2d, maximum: 1d}",
            "retention.minimum: above retention.maximum, which is 1d; found 2d",
        ),
        (
            "resource_limits: {monthly_active_users: 5}",
            "resource_limits.admin_contact: missing: whoever meets a resource limit is told whom"
            " to ask\n    for example: admin_contact: mailto:admin@example.org",
        ),
        (
            "media: {folder: x, s3: {endpoint: 'https://s3.example', bucket: b, access_key_id: k,"
            " secret_access_key: s}}",
            "media.s3: files go to media.folder or here, not to both",
        ),
        (
            "server_notices: {localpart: Server}",
            "server_notices.localpart: a user's name may hold a-z, 0-9 and . _ = - / + only;"
            " found 'Server'\n    for example: localpart: notices",
        ),
    ],
)
def test_contradictions(tmp_path: Path, text: str, said: str) -> None:
    assert complaint(tmp_path, NAME + text) == said


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("registration: {mode: open}", "registration.mode"),
        ("rate_limits: {enabled: false}", "rate_limits.enabled"),
        ("outgoing: {unverified_names: ['*.onion']}", "outgoing.unverified_names"),
        ("outgoing: {allowed_ranges: ['::/0']}", "outgoing.allowed_ranges"),
        ("smtp: {host: a.example, sender: a@b.example, tls: none}", "smtp.tls"),
        ("logging: {level: debug}", "logging.level"),
        ("privacy: {client_addresses: stored}", "privacy.client_addresses"),
        ("listeners: [{serves: [client, federation]}]", "federation.enabled"),
        (
            "listeners: [{}, {port: 9000, address: '::', serves: [admin]}]",
            "listeners[1].serves",
        ),
    ],
)
def test_warnings(tmp_path: Path, text: str, subject: str) -> None:
    found = warnings(loaded(tmp_path, NAME + text))
    (warning,) = (one for one in found if "nothing acts" not in one)
    assert warning.partition(": ")[0] == subject


@pytest.mark.parametrize(
    "text",
    [
        "registration: {mode: open}\ncaptcha: {site_key: a, secret_key: b}",
        "listeners: [{serves: [client]}]\nfederation: {enabled: false}",
        "listeners: [{}, {port: 9000, serves: [metrics]}]",
    ],
)
def test_no_warnings(tmp_path: Path, text: str) -> None:
    found = warnings(loaded(tmp_path, NAME + text))
    assert [one for one in found if "nothing acts" not in one] == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for file, said in [
        (tmp_path / "absent.yaml", "absent.yaml cannot be read (No such file or directory)"),
        (tmp_path, f"{tmp_path} cannot be read (Is a directory)"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(said)):
            load(file, {})
    (tmp_path / "latin.yaml").write_bytes(b"server_name: \xe9")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "latin.yaml", {})


# Secrets

HUSH = "hush-hush-7"

SECRETS = f"""
server_name: example.org
database: postgresql://ann:{HUSH}@db/hearth
outgoing: {{proxies: [{{names: "*.onion", proxy: "http://ann:{HUSH}@127.0.0.1:3128"}}]}}
registration: {{mode: token, token: {HUSH}, shared_secret: {HUSH}}}
smtp: {{host: a.example, sender: a@b.example, username: ann, password: {HUSH}}}
captcha: {{site_key: public, secret_key: {HUSH}}}
turn: {{uris: ["turn:turn.example"], shared_secret: {HUSH}}}
media:
  s3: {{endpoint: "https://s3.example", bucket: b, access_key_id: k, secret_access_key: {HUSH}}}
"""


def test_secrets_are_masked(tmp_path: Path) -> None:
    settings = loaded(tmp_path, SECRETS)
    assert settings.database is not None
    assert HUSH in settings.database.reveal()
    assert settings.registration.token == Secret(HUSH)
    assert str(settings.registration.token) == "(hidden)"
    for text in [repr(settings), str(settings), as_yaml_file(settings), str(shown(settings))]:
        assert HUSH not in text
        assert "(hidden)" in text


@pytest.mark.parametrize(
    "text",
    [
        f"database: mysql://ann:{HUSH}@db",
        f"database: [{HUSH}]",
        f"registration: {{shared_secret: {{files: {HUSH}}}}}",
        f"registration: {{shared_secert: {HUSH}}}",
        f"outgoing: {{proxies: [{{names: x, proxy: 'http://ann:{HUSH}@x:{HUSH}'}}]}}",
        f"registration: {{shared_secret: {HUSH}",
        f"smtp: {{password: '{HUSH}\\x00', host: x}}",
        f"registration: {{shared_secret: !x {HUSH}}}",
    ],
)
def test_complaints_hold_no_secrets(tmp_path: Path, text: str) -> None:
    assert HUSH not in complaint(tmp_path, NAME + text)


def test_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{HUSH}\n", encoding="utf-8")
    (tmp_path / "url").write_text("postgresql://db/x\r\n", encoding="utf-8")
    settings = loaded(
        tmp_path,
        NAME + "registration: {shared_secret: {file: secret}}\ndatabase: postgresql://other/y",
        HEARTH__DATABASE__FILE=str(tmp_path / "url"),
    )
    assert settings.registration.shared_secret == Secret(HUSH)
    assert settings.database == DatabaseUrl("postgresql://db/x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "secret cannot be read (No such file or directory)"),
        (b"\n", "empty"),
        (b"\xff\xfe", "secret is not text"),
    ],
)
def test_secret_files_that_are_no_use(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    found = complaint(tmp_path, NAME + "registration: {shared_secret: {file: secret}}")
    assert found == (
        f"registration.shared_secret: {said} (hearth.yaml, line 2)\n"
        "    for example: shared_secret: {file: /etc/hearth/registration}"
    )


# The declarations and what is made of them


def sections(section: type = Settings) -> Iterator[type]:
    yield section
    for setting in declared(section):
        kind = setting.kind.element or setting.kind.type
        if is_dataclass(kind) and kind not in SCALARS:
            assert isinstance(kind, type)
            yield from sections(kind)


def test_every_setting_is_explained() -> None:
    for section in sections():
        assert doc_of(section), section
        for setting in declared(section):
            assert setting.kind.is_section or setting.doc, (section, setting.name)


def test_every_default_or_example_shows_how_it_is_written() -> None:
    for section in sections():
        for setting in declared(section):
            if (setting.is_required or setting.default is None) and not setting.kind.is_section:
                assert setting.kind.example, (section, setting.name)


def test_every_default_keeps_its_own_rules() -> None:
    for section in sections():
        for setting in declared(section):
            if setting.default is not None and not setting.is_required:
                refusals = [check.refusal(setting.default) for check in setting.kind.checks]
                assert not any(refusals), (section, setting.name)


def test_example_file_is_up_to_date() -> None:
    """`hearth config example > config.example.yaml` makes it anew."""
    assert (ROOT / "config.example.yaml").read_text(encoding="utf-8") == example_file()


def uncommented(text: str) -> str:
    """Prose has one space after its `#`; what has none, or more, is a setting."""
    return re.sub(r"^( *)#(?=\S|  )", r"\1", text, flags=re.MULTILINE)


def names_in(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}{name}"
            yield from names_in(below, f"{path}{name}.")


def test_example_file_as_it_is(tmp_path: Path) -> None:
    """Only the name is missing: everything else is commented out."""
    assert complaint(tmp_path, example_file()).startswith("server_name: missing")
    assert loaded(tmp_path, example_file(), **ENVIRON) == loaded(tmp_path, NAME)


def test_example_file_names_every_setting() -> None:
    whole = yaml.safe_load(uncommented(uncommented(example_file())))
    assert set(setting_paths(Settings)) <= set(names_in(whole))


def test_example_file_uncommented(tmp_path: Path) -> None:
    """It is valid but for two pairs of which one can have one only, and holds the defaults."""
    for name in [
        "fullchain.pem",
        "privkey.pem",
        "ca.pem",
        "registration",
        "smtp",
        "turn",
        "captcha",
        "s3",
    ]:
        (tmp_path / name).write_text("x", encoding="utf-8")
    text = uncommented(uncommented(example_file())).replace("/etc/hearth", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert [problem.path for problem in caught.value.problems] == ["registration.token", "media.s3"]

    mended = text.replace("  token: let-me-in", "").replace("  folder: /srv/hearth/media", "")
    settings, bare = loaded(tmp_path, mended), loaded(tmp_path, NAME)
    assert list(differences(settings, bare)) == []


def differences(value: Any, default: Any, path: str = "") -> Iterator[str]:
    """Where `value` has something else than the default, if the default is something at all."""
    if is_dataclass(default) and type(default) not in SCALARS:
        for field in fields(default):
            below = getattr(value, field.name), getattr(default, field.name)
            yield from differences(*below, f"{path}.{field.name}")
    elif path == ".listeners":
        yield from differences(value[0], default[0], path)
    elif value != default and default not in (None, ()):
        yield path


def test_shown_settings_can_be_loaded(tmp_path: Path) -> None:
    settings = loaded(tmp_path, NAME + "workers: 3\nlisteners: [{port: 1, address: '::'}]")
    assert loaded(tmp_path, as_yaml_file(settings)) == settings
