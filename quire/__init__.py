"""Quire: train recurrent networks on your texts and generate from them.

`Client` talks to a Quire server over HTTP, and `AsyncClient` does the same with asyncio; the
`quire` command is built on them. Everything named here is imported on first use, so `import quire`
itself loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quire.client import (
        AnyJob,
        ApiError,
        AsyncAnyJob,
        AsyncClient,
        AsyncCorpus,
        AsyncGeneration,
        AsyncJob,
        AsyncModel,
        AsyncScoring,
        AsyncTraining,
        AuthenticationError,
        Client,
        Conflict,
        Corpus,
        Generation,
        InvalidRequest,
        Job,
        JobCancelled,
        JobFailed,
        JobUpdate,
        Model,
        PermissionDenied,
        Piece,
        ProgressCallback,
        ResourceNotFound,
        Scoring,
        ServerError,
        TooManyRequests,
        Training,
        WaitTimeout,
    )
    from quire.client.events import StreamEvent
    from quire.client.replies import (
        Checkpoint,
        Event,
        FieldError,
        Metric,
        Novelty,
        Problem,
        Progress,
        QueuePosition,
        Reply,
        Text,
    )
    from quire.client.replies.server import (
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
    from quire.client.sync.event_stream import stream_events
    from quire.errors import (
        EventStreamError,
        InvalidInput,
        JobNotSucceeded,
        NotFound,
        NotLoggedIn,
        QuireError,
        ServerUnreachable,
    )

__all__ = [
    "AnyJob",
    "ApiError",
    "AsyncAnyJob",
    "AsyncClient",
    "AsyncCorpus",
    "AsyncGeneration",
    "AsyncJob",
    "AsyncModel",
    "AsyncScoring",
    "AsyncTraining",
    "AuthenticationError",
    "Cap",
    "Checkpoint",
    "Client",
    "Conflict",
    "Corpus",
    "Device",
    "Event",
    "EventStreamError",
    "FieldError",
    "Generation",
    "InvalidInput",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobNotSucceeded",
    "JobUpdate",
    "Key",
    "Lane",
    "Me",
    "Metric",
    "Model",
    "NotFound",
    "NotLoggedIn",
    "Novelty",
    "PermissionDenied",
    "Piece",
    "Problem",
    "Progress",
    "ProgressCallback",
    "Queue",
    "QueueEntry",
    "QueuePosition",
    "QuireError",
    "Reply",
    "ResourceNotFound",
    "Scoring",
    "ServerError",
    "ServerUnreachable",
    "StreamEvent",
    "Text",
    "TooManyRequests",
    "Training",
    "Usage",
    "User",
    "WaitTimeout",
    "stream_events",
]

_HOMES = {
    "quire.client": (
        "AnyJob", "ApiError", "AsyncAnyJob", "AsyncClient", "AsyncCorpus", "AsyncGeneration",
        "AsyncJob", "AsyncModel", "AsyncScoring", "AsyncTraining", "AuthenticationError", "Client",
        "Conflict", "Corpus", "Generation", "InvalidRequest", "Job", "JobCancelled", "JobFailed",
        "JobUpdate", "Model", "PermissionDenied", "Piece", "ProgressCallback", "ResourceNotFound",
        "Scoring", "ServerError", "TooManyRequests", "Training", "WaitTimeout",
    ),
    "quire.client.events": ("StreamEvent",),
    "quire.client.replies": (
        "Checkpoint", "Event", "FieldError", "Metric", "Novelty", "Problem", "Progress",
        "QueuePosition", "Reply", "Text",
    ),
    "quire.client.replies.server": (
        "Cap", "Device", "Key", "Lane", "Me", "Queue", "QueueEntry", "Usage", "User",
    ),
    "quire.client.sync.event_stream": ("stream_events",),
    "quire.errors": (
        "EventStreamError", "InvalidInput", "JobNotSucceeded", "NotFound", "NotLoggedIn",
        "QuireError", "ServerUnreachable",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
