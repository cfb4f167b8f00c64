"""The transaction of a group of texts: what it looks up, whom it leaves out, and what it writes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from api.errors import ApiError, NotFound
from api.http import job_spans
from api.http.authentication import user_of
from api.http.idempotency import Creation, StoredKey, store_completed, store_new
from api.operations.submission import creation_of, scheduled
from api.operations.texts.excerpts import refuse_random_prompt
from api.operations.texts.text_requests import TextRequest, UsableModel, usable_model
from api.operations.texts.usable_checkpoints import has_checkpoint
from api.permissions import as_id, read_model_ahead
from api.serializers.jobs import render_job
from api.services import services
from shared.accounts import owners_of, read_owners_ahead
from shared.checkpoint_aliases import read_checkpoint_ahead
from shared.clock import database_now
from shared.database import limit_lock_waits, writing
from shared.queue.types import Submission, SubmittedJob

#: A group must not wait long for a lock that only some of it need. It is less than the second
#: after which PostgreSQL looks for deadlocks, so that of two it is the group that gives way.
LOCK_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class GroupedText:
    """A request for a text, and what became of it in its group.

    Attributes:
        job_id: The id of the new job.
        waits: Whether the request waits for the end of the job.
        is_confirmed: Whether its key is known to be valid. Otherwise its group confirms it.
        answers_at_end: Whether the request answers only once the end of the job is committed. The
            commit of the end waits for the disk, and so for both.
        committed_at: When it was committed, by `time.monotonic`.
        key: The idempotency key, if there is one.
        request_sha256: Of the request, if there is a key.
        creation: What is committed; None if the request was declined.
        error: What the database answered.
    """

    request: TextRequest
    job_id: str
    waits: bool
    is_confirmed: bool = True
    answers_at_end: bool = False
    committed_at: float = 0.0
    key: str | None = None
    request_sha256: str | None = None
    creation: Creation | None = None
    error: Exception | None = None


def write_group(group: Sequence[GroupedText]) -> None:
    """Write what is plainly fine of a group, in one transaction."""
    for text in group:
        text.creation = None
    with writing(services().engine, synced=False) as connection:
        limit_lock_waits(connection, LOCK_SECONDS)
        _read_ahead(connection, group)
        models = _usable_models(connection, group)
        submissions = _submissions(connection, _confirmed(connection, group), models)
        queue = services().queue
        jobs = {job.id: job for job in queue.admit(connection, submissions)}
        creations = {
            text: _creation(jobs[text.job_id], text, models)
            for text in group
            if text.job_id in jobs
        }
        kept = _store_keys(connection, creations)
        queue.insert(connection, [jobs[text.job_id] for text in kept])
        for text, key in kept.items():
            created = creations[text]
            if key is not None and created.complete_reply is not None:
                created = store_completed(Session(connection), key)
            text.creation = created


def _read_ahead(connection: Connection, group: Sequence[GroupedText]) -> None:
    """Send what the group will read, in the order in which it locks."""
    read_owners_ahead(connection, _unconfirmed(group))
    for _, request in _uses(group):
        with suppress(NotFound):
            model_id = as_id("model", request.model)
            read_model_ahead(connection, model_id, request.user)
            read_checkpoint_ahead(connection, model_id, request.checkpoint)
    if not any(text.request.scheduling and text.request.scheduling.after for text in group):
        # Otherwise those predecessors are locked before the users.
        services().queue.read_ahead(connection, {text.request.user.id for text in group})


def _unconfirmed(group: Sequence[GroupedText]) -> list[str]:
    """The prefixes of the keys that the group is to confirm."""
    return sorted({text.request.user.key_prefix for text in group if not text.is_confirmed})


def _confirmed(connection: Connection, group: Sequence[GroupedText]) -> Sequence[GroupedText]:
    """Leave out texts whose keys are not valid any more, or whose owners have changed."""
    owners = owners_of(connection, _unconfirmed(group))
    users = {prefix: user_of(owner) for prefix, owner in owners.items()}
    return [
        text
        for text in group
        if text.is_confirmed or users.get(text.request.user.key_prefix) == text.request.user
    ]


#: What a model is looked up for: a user, its id, a checkpoint, and whether no prompt is given.
_Use = tuple[str, str, str, bool]


def _use(request: TextRequest) -> _Use:
    return request.model, request.user.id, request.checkpoint, request.prompt is None


def _uses(group: Sequence[GroupedText]) -> list[tuple[_Use, TextRequest]]:
    """What the group looks up, each with one of its requests, in their order."""
    return sorted({_use(text.request): text.request for text in group}.items())


def _usable_models(
    connection: Connection, group: Sequence[GroupedText]
) -> Mapping[_Use, UsableModel]:
    """Look up each model once for each user, and what else a use of it needs, in their order."""
    models: dict[_Use, UsableModel] = {}
    found: dict[tuple[str, str], UsableModel] = {}
    for use, request in _uses(group):
        try:
            whose = (request.model, request.user.id)
            model = found.get(whose) or usable_model(connection, request)
            found[whose] = model
            if not has_checkpoint(connection, model, request):
                continue
            if request.prompt is None and not model.writes_items:
                # A session of its own shares the transaction, and ends with it.
                refuse_random_prompt(Session(connection), model.id, request.user)
        except ApiError:
            continue
        models[use] = model
    return models


def _submissions(
    connection: Connection, group: Sequence[GroupedText], models: Mapping[_Use, UsableModel]
) -> dict[str, Submission]:
    clock = cache(partial(database_now, connection))
    submissions = {}
    for text in group:
        model = models.get(_use(text.request))
        if model is None:
            continue
        try:
            submission = text.request.submission(model)
            if text.request.scheduling is not None:
                submission = scheduled(submission, text.request.scheduling, clock)
        except ApiError:
            continue
        submissions[text.job_id] = submission
    return submissions


def _creation(job: SubmittedJob, text: GroupedText, models: Mapping[_Use, UsableModel]) -> Creation:
    model, user = models[_use(text.request)], text.request.user
    reply = render_job(job, user.name, shows_corpus=model.shows_corpus)
    creation = creation_of(job, reply, lambda: job_spans.submitted(job.id, text.committed_at))
    return replace(creation, complete_reply=None) if text.waits else creation


def _store_keys(
    connection: Connection, creations: Mapping[GroupedText, Creation]
) -> dict[GroupedText, StoredKey | None]:
    """Store the keys of a group, before its jobs; leave out texts whose keys are not new."""
    keys = {
        text: StoredKey(text.request.user.id, text.key, text.request_sha256, creation)
        for text, creation in creations.items()
        if text.key is not None and text.request_sha256 is not None
    }
    new = store_new(connection, list(keys.values()), database_now(connection)) if keys else []
    stored = {id(key) for key in new}
    return {
        text: keys.get(text) for text in creations if text not in keys or id(keys[text]) in stored
    }
