"""What requests that wait for jobs read once these have ended.

The ends of a batch come together. The thread that hears of them reads all their jobs and checks all
their keys in two statements, and only then wakes the requests. Each of these alone would take
longer, and they would compete for the interpreter's lock meanwhile.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.errors import NotFound
from api.permissions.current_user import CurrentUser, check_key_again, current_user, unauthenticated
from api.permissions.finding import jobs_as_shown, own_job_as_shown
from shared.accounts import KeyRefused, refusals_of
from shared.database import reading
from shared.job_ends import EndWaiter

#: A request that gets to its answer later, because others are answered first, reads for itself.
SEEN_SECONDS = 0.25

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read for a request.

    Attributes:
        job: From `jobs_as_shown`; None if the job is gone.
        refused: Why the request's key is not valid any more.
        at: When, by `time.monotonic`.
    """

    job: Any
    refused: KeyRefused | None
    at: float


def look_for_all(engine: Engine, waiters: Sequence[EndWaiter]) -> None:
    """Read, for requests whose jobs have ended, what `waited_job` returns."""
    asking = [(waiter, waiter.asker) for waiter in waiters]
    # A browser's session has an end of its own, and few requests have one.
    with_keys = [
        (waiter, asker)
        for waiter, asker in asking
        if isinstance(asker, CurrentUser) and asker.session is None
    ]
    if not with_keys:
        return
    at = time.monotonic()
    try:
        with reading(engine) as connection:
            refused = refusals_of(connection, {asker.key_prefix for _, asker in with_keys})
            jobs = jobs_as_shown(connection, [waiter.job_id for waiter, _ in with_keys])
    except (DBAPIError, PoolTimeout) as error:
        # Each request meets the error by itself, and answers it.
        log.warning("ended_jobs_not_read", jobs=len(with_keys), reason=str(error)[:200])
        return
    for waiter, asker in with_keys:
        waiter.seen = _Seen(jobs.get(waiter.job_id), refused.get(asker.key_prefix), at)


def waited_job(engine: Engine, waiter: EndWaiter) -> Any:
    """Return the job that this request waits for, as it was read after its end, or else is now.

    Returns:
        As `own_job_as_shown`.

    Raises:
        Unauthenticated: The request's key or session is not valid any more.
        NotFound: The user has no such job any more.
    """
    seen, waiter.seen = waiter.seen, None
    if not isinstance(seen, _Seen) or time.monotonic() - seen.at > SEEN_SECONDS:
        with reading(engine) as connection:
            check_key_again(connection)
            return own_job_as_shown(connection, waiter.job_id)
    if seen.refused is not None:
        raise unauthenticated(seen.refused)
    if seen.job is None or seen.job.user_id != current_user().id:
        raise NotFound("job", waiter.job_id)
    return seen.job
