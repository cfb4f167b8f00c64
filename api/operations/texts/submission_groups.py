"""Generations of concurrent requests, committed together.

One transaction inserts the jobs of all who wait (`api.group_commit`), and a model, a checkpoint, a
user's caps are looked up once for all of them. What is not plainly fine is declined: nothing of it
is written, and its request goes the way of one, which says what is wrong. So a request that is
refused, or violates a constraint, fails alone.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.http import job_spans
from api.http.authentication import note_confirmed
from api.http.idempotency import (
    Creation,
    Result,
    answer,
    create_once,
    digest_if_keyed,
)
from api.http.prefer_wait import (
    give_slot_back,
    others_are_active,
    sleep_for_end,
    take_slot_again,
)
from api.operations.texts.generation import enqueue_text
from api.operations.texts.group_transaction import GroupedText, write_group
from api.operations.texts.text_requests import TextRequest
from api.permissions import current_user, needs_confirming
from api.schemas.headers import IdempotencyHeader
from api.services import services, writing
from shared.database import flush
from shared.database_errors import is_lock_conflict
from shared.job_ends import EndWaiter
from shared.tables import Job

#: A longer prompt takes a while to fit to its model, and others would wait for that.
MAX_PROMPT_CHARACTERS = 4_096

log = structlog.get_logger(__name__)


def enqueue_in_group(
    header: IdempotencyHeader,
    body: BaseModel,
    request: TextRequest,
    job_id: str,
    *,
    waits: bool,
    waiter: EndWaiter | None = None,
) -> Result:
    """Submit the text that the current user asks for, unless its key has created it already.

    While the request waits for its group, another one has its slot. If it then waits for the end
    of its job, it has none until that comes, and sleeps until then.

    Args:
        header: Holds the idempotency key.
        body: What must be equal in two requests with one key.
        request: The request.
        job_id: The id of the new job.
        waits: Whether the request waits for the end, so that nobody reads its place in the queue.
        waiter: Expects the end of this job and no other, for a request that waits for it by
            `wait_for_end` before it answers.

    Raises:
        KeyReused: The key came with a different request before.
    """
    job_spans.begin_submission()
    if len(request.prompt or "") <= MAX_PROMPT_CHARACTERS and not request.nearest:
        key, request_sha256 = header.idempotency_key, digest_if_keyed(header, body)
        text = GroupedText(
            request,
            job_id,
            waits,
            is_confirmed=not needs_confirming(),
            answers_at_end=waiter is not None,
            key=key,
            request_sha256=request_sha256,
        )
        _run_in_group(text, waiter)
        if text.creation is None or not waits:
            take_slot_again()
        if text.error is not None:
            raise text.error
        if text.creation is not None:
            note_confirmed()
            return answer(text.creation)
    # Its key may be why the group has declined it.
    request = replace(request, user=current_user())

    def create(session: Session) -> Creation:
        creation = enqueue_text(session, request, job_id)
        return replace(creation, complete_reply=None) if waits else creation

    return create_once(header, body, create)


def _run_in_group(text: GroupedText, waiter: EndWaiter | None) -> None:
    groups, ends = services().text_submissions, services().job_ends
    if waiter is None:
        groups.run(text, _commit, give_slot_back, others_are_active)
        return
    groups.run(
        text,
        _commit,
        partial(sleep_for_end, waiter),
        others_are_active,
        sleeper=waiter,
        # It would wake only to sleep again until the end.
        sleeps_on=lambda: text.creation is not None and ends.is_listening,
    )


def _commit(group: Sequence[GroupedText]) -> None:
    """Commit the texts of a group; those that are neither created nor failed are declined."""
    _try_to_commit(group)
    created = [text for text in group if text.creation is not None]
    at = time.monotonic()
    for text in created:
        text.committed_at = at
    if created:
        services().broker.wake_soon("generate", *(text.job_id for text in created))
    if not all(text.answers_at_end for text in created):
        # A worker may begin meanwhile: whatever it commits comes later in the log.
        flush(services().engine)


def _try_to_commit(group: Sequence[GroupedText]) -> None:
    try:
        try:
            write_group(group)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            log.warning("group_lost_connection", texts=len(group), reason=str(error.orig))
            _write_again(group, error)
    except (DBAPIError, PoolTimeout) as error:
        if _is_outage(error):
            for text in group:
                text.creation, text.error = None, error
        else:
            _decline(group, error)
    except Exception as error:
        _decline(group, error)


def _is_outage(error: DBAPIError | PoolTimeout) -> bool:
    """Return whether each of the group would meet the error alone, too."""
    if not isinstance(error, DBAPIError) or error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError) and not is_lock_conflict(error)


def _decline(group: Sequence[GroupedText], error: Exception) -> None:
    log.warning("group_declined", texts=len(group), reason=str(error)[:200])
    for text in group:
        text.creation = None


def _write_again(group: Sequence[GroupedText], lost: DBAPIError) -> None:
    """Commit a group whose connection broke, on a new one, unless it was committed after all.

    Raises:
        DBAPIError: `lost`, if this fails too: what became of the group is unknown.
    """
    try:
        with writing() as session:
            ids = [text.job_id for text in group]
            committed = set(session.scalars(select(Job.id).where(Job.id.in_(ids))))
        if not committed:
            write_group(group)
    except Exception:
        raise lost from None
