"""What is logged, where it goes, and what never gets there."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from structlog.stdlib import ProcessorFormatter

from homeserver.config.settings import Logging
from homeserver.logs import PRIVATE_FIELDS, configure, error_id, get_logger, private, scrubbed

Level = Literal["debug", "info", "warning", "error"]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's own: leave it as it was."""
    root = logging.getLogger()
    before = root.level, logging.raiseExceptions
    yield
    for handler in list(root.handlers):
        if isinstance(handler.formatter, ProcessorFormatter):
            root.removeHandler(handler)
            handler.close()
    root.level, logging.raiseExceptions = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def started(level: Level = "info", style: Literal["console", "json"] = "json") -> io.StringIO:
    stream = io.StringIO()
    configure(Logging(level=level, format=style), stream)
    return stream


def fail(text: str) -> None:
    raise ValueError(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_line_of_json() -> None:
    stream = started()
    get_logger("homeserver.peers").info("a server is back", peer="example.org", after=3)
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "homeserver.peers",
        "event": "a server is back",
        "peer": "example.org",
        "after": 3,
    }


def test_one_line_for_people() -> None:
    stream = started(style="console")
    get_logger("homeserver.peers").warning("a server is back", peer="example.org")
    (line,) = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert re.search(
        r"Z \[warning *\] a server is back +\[homeserver\.peers\] peer=example\.org$", line
    )


def test_libraries_are_heard_too() -> None:
    """`logging` with its `extra`, as `federation` uses it."""
    stream = started()
    extra = {"peer": "example.org", "room": "!r:example.org", "reason": "it timed out"}
    logging.getLogger("federation.net.key_ring").warning("no keys", extra=extra)
    (line,) = lines(stream)
    assert (
        line.items()
        >= {
            "level": "warning",
            "logger": "federation.net.key_ring",
            "event": "no keys",
            "peer": "example.org",
            "reason": "it timed out",
        }.items()
    )
    assert "room" not in line


def test_warnings_are_logged() -> None:
    stream = started()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old", DeprecationWarning, "x.py", 1)
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(level: Level, heard: list[str]) -> None:
    stream = started(level)
    ours, theirs = get_logger("homeserver.x"), logging.getLogger("library")
    for name in ["debug", "info", "warning", "error"]:
        getattr(ours, name)("ours")
        getattr(theirs, name)("theirs")
    assert [line["level"] for line in lines(stream)] == [name for name in heard for _ in "12"]


@pytest.mark.parametrize("name", sorted(PRIVATE_FIELDS))
def test_private_names(name: str) -> None:
    quiet = started("info")
    get_logger("homeserver.x").error("said", **{name: "ann", "peer": "example.org"})
    (line,) = lines(quiet)
    assert name not in line
    assert line["peer"] == "example.org"

    talkative = started("debug")
    get_logger("homeserver.x").info("said", **{name: "ann"})
    assert lines(talkative)[0][name] == "ann"


def test_private_values() -> None:
    stream = started("info")
    get_logger("homeserver.x").info("said", asked_by=private("ann"), several=[private("ann")])
    assert lines(stream)[0]["several"] == ["…"]
    assert "ann" not in stream.getvalue()

    stream = started("debug")
    get_logger("homeserver.x").info("said", asked_by=private("ann"))
    assert lines(stream)[0]["asked_by"] == "ann"


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("no user @ann:example.org here", "no user … here"),
        ("@ann:example.org:8448", "…"),
        ("'@ann:[::1]:8448'", "'…'"),
        ("in !room:example.org", "in …"),
        ("in !" + "Ab3_-" * 8 + "xyz", "in …"),
        ("$" + "Ab3+/" * 8 + "xyz is gone", "… is gone"),
        ("$15:example.org", "…"),
        ("#talk:example.org.", "…"),
        ("#Ünïcode:example.org", "…"),
        ("/rooms/%21r%3Aexample.org/send", "/rooms/…/send"),
        ("GET /sync?since=4&filter=x HTTP", "GET /sync?… HTTP"),
        ("why? because", "why? because"),
        ("mail ann@example.org", "mail ann@example.org"),
        ("listening on 127.0.0.1:8008", "listening on 127.0.0.1:8008"),
        ("$5 and #1", "$5 and #1"),
    ],
)
def test_identifiers_in_texts(text: str, shows: str) -> None:
    assert scrubbed(text) == shows


def test_identifiers_anywhere_in_fields() -> None:
    stream = started("info")
    get_logger("homeserver.x").info(
        "said",
        reason=ValueError("not @ann:example.org"),
        nested={"@ann:example.org": ["!r:example.org", 5, None]},
    )
    (line,) = lines(stream)
    assert line["reason"] == "not …"
    assert line["nested"] == {"…": ["…", 5, None]}


def test_tracebacks() -> None:
    stream = started("info")
    try:
        fail("no @ann:example.org")
    except ValueError:
        get_logger("homeserver.x").exception("failed", error=error_id())
        logging.getLogger("library").exception("failed")
    for line in lines(stream):
        assert line["exception"].endswith("ValueError: no …")


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("Error handling request from 203.0.113.7", "Error handling request from …"),
        ("from 2001:db8::7, port 5", "from …, port 5"),
        ("from ::ffff:203.0.113.7.", "from …"),
        ("at 127.0.0.1 and ::1", "at 127.0.0.1 and ::1"),
        ("took 12:30:45, version 1.2.3", "took 12:30:45, version 1.2.3"),
    ],
)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_addresses_in_what_libraries_say(text: str, shows: str, level: Level) -> None:
    stream = started(level)
    logging.getLogger("aiohttp.server").error("%s", text)
    assert lines(stream)[0]["event"] == shows


def test_addresses_in_what_we_say() -> None:
    stream = started()
    get_logger("homeserver.app").info("listening", at="203.0.113.7:8448")
    assert lines(stream)[0]["at"] == "203.0.113.7:8448"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_tokens_are_never_written(level: Level) -> None:
    stream = started(level)
    get_logger("homeserver.x").info(
        "said",
        access_token="hush",
        password="hush",
        seen="GET /sync?access_token=hush&since=1",
        header="Authorization: Bearer hush",
    )
    logging.getLogger("aiohttp.access").error("GET /sync?since=hush")
    try:
        fail("/sync?access_token=hush")
    except ValueError:
        get_logger("homeserver.x").exception("failed")
    assert len(lines(stream)) == 2
    assert "hush" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "console"])
def test_nobody_writes_lines_of_their_own(style: Literal["json", "console"]) -> None:
    stream = started(style=style)
    get_logger("homeserver.x").info("a\nb", name="c\nd\x1b[2J\r\u2028\ud800")
    try:
        fail("\x1b[2J\rgone")
    except ValueError:
        get_logger("homeserver.x").exception("failed")
    text = stream.getvalue()
    assert not re.search("[\x1b\r\u2028\ud800]", text)
    assert re.search(r"a\\+nb", text)
    assert re.search(r"c\\+nd", text)


def test_fields_named_like_the_text_or_the_record() -> None:
    stream = started("debug")
    logging.getLogger("library").info("said", extra={"event": "$x", "level": "high"})
    (line,) = lines(stream)
    assert (line["event"], line["event_id"], line["level"]) == ("said", "$x", "info")


def test_bound_fields() -> None:
    stream = started()
    structlog.contextvars.bind_contextvars(request="r1", user="ann")
    get_logger("homeserver.x").bind(peer="example.org").info("said")
    (line,) = lines(stream)
    assert (line["request"], line["peer"]) == ("r1", "example.org")
    assert "user" not in line


def test_files(tmp_path: Path) -> None:
    """Only we can read them; moved away, they are made anew."""
    file = tmp_path / "hearth.log"
    configure(Logging(format="json", file=file))
    get_logger("homeserver.x").info("first")
    file.rename(tmp_path / "old.log")
    get_logger("homeserver.x").info("second")
    assert json.loads(file.read_text(encoding="utf-8"))["event"] == "second"
    assert json.loads((tmp_path / "old.log").read_text(encoding="utf-8"))["event"] == "first"
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="No such file"):
        configure(Logging(file=tmp_path / "absent" / "hearth.log"))


def test_configuring_again_replaces() -> None:
    first, second = started(), started()
    get_logger("homeserver.x").info("said")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_a_full_disk_does_not_spill_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Python would print the whole record to standard error, private fields too."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    configure(Logging(), Full())
    get_logger("homeserver.x").info("said", user="@ann:example.org")
    assert capsys.readouterr().err == ""


def test_error_ids() -> None:
    ids = {error_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{10}", found) for found in ids)
