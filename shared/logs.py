"""Logging set-up: one line per event, as text on a terminal and JSON elsewhere."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.process.json_stderr import SECRETS, mask
from shared.settings import Settings

#: The most characters of a field: a line has a bound, whatever a client or a library puts in it.
FIELD_CHARACTERS = 8192
#: Of a traceback, which tells more.
TRACEBACK_CHARACTERS = 65_536
SECRET_NAMES = frozenset({"key", "password", "secret", "token", "authorization"})


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
