"""The replies of the server, as the client gives them."""

from quire.client.replies.base import ENDED, FieldError, Problem, Reply
from quire.client.replies.jobs import (
    Estimate,
    Event,
    Job,
    Metric,
    Progress,
    QueuePosition,
    TrainDryRun,
)
from quire.client.replies.library import Checkpoint, Corpus, DryRun, Finding, Items, Model
from quire.client.replies.notifications import (
    Delivery,
    DeliveryTry,
    NewSecret,
    Notification,
    Secret,
)
from quire.client.replies.sharing import NewShare, Share, Shared
from quire.client.replies.texts import (
    CopiedSpan,
    LikelyToken,
    Nearest,
    NextToken,
    NextTokens,
    Novelty,
    Text,
)

__all__ = [
    "ENDED",
    "Checkpoint",
    "CopiedSpan",
    "Corpus",
    "Delivery",
    "DeliveryTry",
    "DryRun",
    "Estimate",
    "Event",
    "FieldError",
    "Finding",
    "Items",
    "Job",
    "LikelyToken",
    "Metric",
    "Model",
    "Nearest",
    "NewSecret",
    "NewShare",
    "NextToken",
    "NextTokens",
    "Notification",
    "Novelty",
    "Problem",
    "Progress",
    "QueuePosition",
    "Reply",
    "Secret",
    "Share",
    "Shared",
    "Text",
    "TrainDryRun",
]
