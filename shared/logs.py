"""Logging set-up: one line per event, as text on a terminal and JSON elsewhere."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from shared.process.json_stderr import SECRETS, mask
from shared.settings import Settings

#: The most characters of a field: a line has a bound, whatever a client or a library puts in it.
FIELD_CHARACTERS = 8192
#: Of a traceback, which tells more.
TRACEBACK_CHARACTERS = 65_536
#: `PIPE_BUF` on Linux: a pipe takes so many bytes in one piece.
PIPE_BYTES = 4096
SECRET_NAMES = frozenset({"key", "password", "secret", "token", "authorization"})


_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode

#: What the lean loggers write to; None unless the lines are JSON.
_json_handler: "logging.StreamHandler[Any] | None" = None


def configure_logging(settings: Settings) -> None:
    """Send the logs of structlog and the standard library to standard error, in one format."""
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if as_json else _keep,
        hide_secrets,
        bound_fields,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        # A plain traceback: a rich one shows local variables, which may hold keys.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    global _json_handler
    _json_handler = handler if as_json else None


class LeanLogger:
    """Logs what happens hundreds of times a second: the same lines in a quarter of the time.

    It writes a JSON line by itself, without the processors and the record of the standard library.
    On a terminal, and for levels other than info, it is an ordinary logger.

    Args:
        name: The name of the logger.
    """

    def __init__(self, name: str) -> None:
        self._full = structlog.get_logger(name)
        self._level = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log an event. The fields are plain values, and no exception."""
        self.info_many(event, [fields])

    def info_many(self, event: str, each: Iterable[Mapping[str, Any]]) -> None:
        """Log an event of many things that happened together: a line for each, in few writes."""
        handler = _json_handler
        if handler is None or handler not in logging.getLogger().handlers:
            for fields in each:
                self._full.info(event, **fields)
            return
        if not self._level.isEnabledFor(logging.INFO):
            return
        context = structlog.contextvars.get_contextvars()
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        lines = []
        for fields in each:
            line = {**fields, "event": event}
            for name, value in context.items():
                line.setdefault(name, value)
            line["level"], line["timestamp"] = "info", now
            lines.append(_encode(hide_secrets(None, "info", line)) + "\n")
        handler.acquire()
        try:
            for piece in _pieces(lines):
                handler.stream.write(piece)
                handler.flush()
        finally:
            handler.release()

    def debug(self, event: str, **fields: Any) -> None:
        """Log an event for whoever looks for a fault."""
        self._full.debug(event, **fields)


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Join lines to what a pipe takes whole: processes share one, and would tear longer ones."""
    piece, size = "", 0
    for line in lines:
        length = len(line.encode(errors="backslashreplace"))
        if size and size + length > PIPE_BYTES:
            yield piece
            piece, size = "", 0
        piece += line
        size += length
    if piece:
        yield piece


def hide_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask keys and passwords in an event, by field name and by pattern."""
    for name, value in event.items():
        if name.lower() in SECRET_NAMES:
            event[name] = "(hidden)"
        elif isinstance(value, str):
            event[name] = SECRETS.sub(mask, value)
    return event


def bound_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Cut the long texts of an event, and say how much is left out."""
    for name, value in event.items():
        most = TRACEBACK_CHARACTERS if name == "exception" else FIELD_CHARACTERS
        if isinstance(value, str) and len(value) > most:
            event[name] = f"{value[:most]}… ({len(value) - most:,} more characters)"
    return event


def _keep(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return event
