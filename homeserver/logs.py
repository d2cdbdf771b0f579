"""What the server says of itself: one stream of lines, for people or for programs.

Ours and those of libraries, by way of `logging` or of `get_logger`, all leave through the same
chain. Unless the level is `debug`, it drops what would tell who speaks with whom: fields with
names such as `user` or `room_id`, values marked `private`, and identifiers that got into a text.

    log = get_logger(__name__)
    log.info("a server is back", peer=peer, asked_by=private(user_id))

Fields vary, the text never does, so that it can be counted and holds no names. As `event` is
structlog's own name for the text, an event goes by `event_id`.
"""

import ipaddress
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import IO, Any, Final, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from homeserver.config.settings import Logging

_PRIVATE = """
    user user_id sender target state_key localpart displayname display_name email
    room room_id alias room_alias event_id transaction_id txn_id
    device device_id session session_id client ip remote user_agent
    query query_string url path target_url body content headers search_term filename
"""

PRIVATE_FIELDS: Final = frozenset(_PRIVATE.split())
"""Names of fields that are written at level `debug` only, whatever their values are."""

SECRET_FIELDS: Final = frozenset({"token", "access_token", "refresh_token", "password", "secret"})
"""Names of fields that are never written."""

_HIDDEN = "…"

_IDENTIFIER = re.compile(
    r"(?:[@!#$]|%40|%21|%23|%24)[^\s:'\"<>(){}\[\],/]*(?::|%3A)[0-9A-Z.\[-][0-9A-Z.:\]-]*"
    r"|(?<![\w/+-])[!$][A-Z0-9_+/-]{43}(?![\w/+-])",  # rooms of version 12, events since 3
    re.ASCII | re.IGNORECASE,
)
_QUERY = re.compile(r"(?<=\?)[\w.%-]+=[^\s'\"]*", re.ASCII)
_TOKEN = re.compile(r"(?<=access_token=)[^\s&'\"]+|(?<=Bearer )[^\s,'\"]+", re.IGNORECASE)
_PERHAPS_ADDRESS = re.compile(r"(?<![\w.:])[0-9A-F:.]{3,45}(?!\w)", re.ASCII | re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNPRINTABLE_LINES = re.compile(r"(?!\n)" + _UNPRINTABLE.pattern)

_RECORD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class Private:
    """A value that is written at level `debug` only."""

    value: object

    def __repr__(self) -> str:
        return _HIDDEN


def private(value: object) -> Private:
    """Mark a field's value as one that tells about a person."""
    return Private(value)


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger for a module, by the module's own name."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def error_id() -> str:
    """A short name for one failure, told to the client and written beside its traceback."""
    return secrets.token_hex(5)


def configure(settings: Logging, stream: TextIO | None = None) -> None:
    """Send all that is logged in this process to one place: a file, `stream`, or standard error.

    May be called again, after a fork or with other settings.

    Raises:
        OSError: the file cannot be written.

    """
    threshold = logging.getLevelNamesMapping()[settings.level.upper()]
    handler = _handler(settings.file, stream or sys.stderr)
    handler.setFormatter(_formatter(settings, colors=_is_terminal(handler)))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, ProcessorFormatter)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(threshold)
    # It would write who asked for what, tokens included.
    logging.getLogger("aiohttp.access").disabled = True
    # What it would tell of itself at each start helps nobody.
    logging.getLogger("alembic").setLevel(max(threshold, logging.WARNING))
    # When writing fails, on a full disk say, it would print the whole record, private parts too.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def scrubbed(text: str) -> str:
    """The text without identifiers of users, rooms and events, and without query strings."""
    return _QUERY.sub(_HIDDEN, _IDENTIFIER.sub(_HIDDEN, text))


class _PrivateFileHandler(WatchedFileHandler):
    """Writes to a file that only we can read, and makes it anew when it was moved away."""

    def _open(self) -> Any:
        return open(self.baseFilename, "a", encoding="utf-8", opener=_open_for_us)


def _open_for_us(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _handler(file: Path | None, stream: TextIO) -> logging.StreamHandler[Any]:
    if file is None:
        return logging.StreamHandler(stream)
    return _PrivateFileHandler(file)


def _is_terminal(handler: logging.StreamHandler[IO[str]]) -> bool:
    return handler.stream.isatty()


def _formatter(settings: Logging, *, colors: bool) -> ProcessorFormatter:
    chain: Sequence[Processor] = (
        _described,
        structlog.processors.format_exc_info,
        _unmarked if settings.level == "debug" else _without_private,
        _made_safe,
        _renderer(settings, colors=colors),
    )
    return ProcessorFormatter(processors=chain, foreign_pre_chain=[_with_extra])


def _renderer(settings: Logging, *, colors: bool) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer(serializer=json.dumps, default=str)
    return structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )


def _with_extra(_: WrappedLogger, __: str, said: EventDict) -> EventDict:
    """Add the fields that `logging` was given as `extra`, and hide addresses in others' texts."""
    record: logging.LogRecord = said["_record"]
    extra = {key: value for key, value in vars(record).items() if key not in _RECORD_FIELDS}
    if "event" in extra:
        extra["event_id"] = extra.pop("event")
    if record.name.partition(".")[0] not in {"federation", "homeserver"}:
        said["event"] = _PERHAPS_ADDRESS.sub(_without_address, said["event"])
    return {**extra, **said}


def _described(_: WrappedLogger, __: str, said: EventDict) -> EventDict:
    """Put what every line has first, and take out what only the chain needs."""
    record: logging.LogRecord = said.pop("_record")
    del said["_from_structlog"]
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    first = {
        "timestamp": when.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    return {**first, **said, **first}


def _without_private(_: WrappedLogger, __: str, said: EventDict) -> EventDict:
    return {
        name: _scrubbed_value(value)
        for name, value in said.items()
        if name not in PRIVATE_FIELDS and not isinstance(value, Private)
    }


def _unmarked(_: WrappedLogger, __: str, said: EventDict) -> EventDict:
    return {n: v.value if isinstance(v, Private) else v for n, v in said.items()}


def _made_safe(_: WrappedLogger, __: str, said: EventDict) -> EventDict:
    """At every level: no tokens, and nobody writes lines of their own or moves the cursor."""
    return {
        name: _safe(value, _UNPRINTABLE_LINES if name == "exception" else _UNPRINTABLE)
        for name, value in said.items()
        if name not in SECRET_FIELDS
    }


def _scrubbed_value(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case list() | tuple():
            return [_scrubbed_value(element) for element in value]
        case dict():
            return {scrubbed(str(k)): _scrubbed_value(v) for k, v in value.items()}
    return scrubbed(str(value))


def _safe(value: object, unprintable: re.Pattern[str]) -> object:
    if not isinstance(value, str):
        return value
    return unprintable.sub(lambda found: ascii(found[0])[1:-1], _TOKEN.sub(_HIDDEN, value))


def _without_address(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0].rstrip(".:"))
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback else _HIDDEN
