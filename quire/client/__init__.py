"""The client of a Quire server, for notebooks, scripts and the `quire` command.

`Client` and `AsyncClient` have the same methods; the first is generated from the second.
"""

from quire.client.aio.client import AsyncAnyJob, AsyncClient
from quire.client.aio.corpus import AsyncCorpus
from quire.client.aio.job import AsyncGeneration, AsyncJob, AsyncScoring
from quire.client.aio.model import AsyncModel
from quire.client.aio.training import AsyncTraining
from quire.client.outcome import JobCancelled, JobFailed, JobUpdate, Piece, WaitTimeout
from quire.client.problems import (
    ApiError,
    AuthenticationError,
    Conflict,
    InvalidRequest,
    PermissionDenied,
    ResourceNotFound,
    ServerError,
    TooManyRequests,
)
from quire.client.requests.uploads import ProgressCallback
from quire.client.sync.client import AnyJob, Client
from quire.client.sync.corpus import Corpus
from quire.client.sync.job import Generation, Job, Scoring
from quire.client.sync.model import Model
from quire.client.sync.training import Training

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
    "Client",
    "Conflict",
    "Corpus",
    "Generation",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobUpdate",
    "Model",
    "PermissionDenied",
    "Piece",
    "ProgressCallback",
    "ResourceNotFound",
    "Scoring",
    "ServerError",
    "TooManyRequests",
    "Training",
    "WaitTimeout",
]
