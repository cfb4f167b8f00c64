"""Logs: one line an event; readable on a terminal, JSON everywhere else."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from shared.settings import Settings

SECRET_NAMES = frozenset({"key", "password", "secret", "token", "authorization"})
#: Keys of ours, and passwords inside addresses, wherever in a line they stand.
_SECRETS = re.compile(r"(quire_[0-9a-z]{8}_)[0-9a-f]{64}|(://[^:/@\s]*:)[^@/\s]+(?=@)")


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the standard library's lines to standard error, in one form."""
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
        # A plain traceback: the rich one shows local variables, and with them keys.
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
    """Take keys and passwords out of a line, by their name and by their form."""
    for name, value in event.items():
        if name.lower() in SECRET_NAMES:
            event[name] = "(hidden)"
        elif isinstance(value, str):
            event[name] = _SECRETS.sub(_masked, value)
    return event


def _masked(match: re.Match[str]) -> str:
    return f"{match.group(1) or match.group(2)}(hidden)"


def _keep(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return event
