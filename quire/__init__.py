"""Quire: train recurrent networks on your texts and generate from them.

`Client` talks to a Quire server over HTTP; the `quire` command is built on it. Everything
named here is imported on first use, so `import quire` itself loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quire.client import ApiError, Client, ProgressCallback
    from quire.client.event_stream import StreamEvent, stream_events
    from quire.client.replies import (
        Checkpoint,
        Corpus,
        Event,
        FieldError,
        Job,
        Metric,
        Model,
        Novelty,
        Problem,
        Progress,
        QueuePosition,
        Reply,
        Text,
    )
    from quire.client.server_replies import (
        Cap,
        Device,
        Key,
        Lane,
        Me,
        Queue,
        QueueEntry,
        Usage,
        User,
    )
    from quire.errors import EventStreamError, QuireError, ServerUnreachable

__all__ = [
    "ApiError",
    "Cap",
    "Checkpoint",
    "Client",
    "Corpus",
    "Device",
    "Event",
    "EventStreamError",
    "FieldError",
    "Job",
    "Key",
    "Lane",
    "Me",
    "Metric",
    "Model",
    "Novelty",
    "Problem",
    "Progress",
    "ProgressCallback",
    "Queue",
    "QueueEntry",
    "QueuePosition",
    "QuireError",
    "Reply",
    "ServerUnreachable",
    "StreamEvent",
    "Text",
    "Usage",
    "User",
    "stream_events",
]

_HOMES = {
    "quire.client": {"ApiError", "Client", "ProgressCallback"},
    "quire.client.event_stream": {"StreamEvent", "stream_events"},
    "quire.client.server_replies": {
        "Cap", "Device", "Key", "Lane", "Me", "Queue", "QueueEntry", "Usage", "User",
    },
    "quire.errors": {"EventStreamError", "QuireError", "ServerUnreachable"},
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "quire.client.replies")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
