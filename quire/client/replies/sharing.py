"""Links that show one job or one text. Fields that a newer server adds are kept."""

from datetime import datetime

from quire.client.replies.base import Reply
from quire.client.replies.jobs import Job
from quire.client.replies.texts import Text


class Share(Reply):
    """A link that shows one job or one text to whoever has it."""

    id: str
    kind: str
    job: str | None = None
    text: str | None = None
    created_at: datetime
    expires_at: datetime


class NewShare(Share):
    """A new share link; only its creation shows `url` and `token`."""

    url: str | None = None
    token: str | None = None


class Shared(Reply):
    """What a share link shows."""

    kind: str
    owner: str
    expires_at: datetime
    job: Job | None = None
    text: Text | None = None
