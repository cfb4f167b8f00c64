"""Replies about jobs."""

from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from api.permissions import current_user, digests_of_visible
from api.schemas.jobs import EstimateReply, JobErrorReply, JobReply, PlaceReply, ProgressReply
from api.serializers.models import aliases_reply
from api.serializers.texts import text_replies
from api.services import services
from shared.checkpoint_aliases import Aliases, resolve_many
from shared.scheduling.forecast import Place
from shared.scheduling.forecast_queries import places
from shared.tables import KINDS, PRIORITIES, TERMINAL_STATUSES, Checkpoint, GeneratedText, Job

# Built once, because clients poll their jobs.
_TEXTS = (
    select(GeneratedText)
    .where(GeneratedText.job_id == bindparam("job"))
    .order_by(GeneratedText.step, GeneratedText.position)
)
_INEXACT = select(Checkpoint.job_id).where(
    Checkpoint.job_id.in_(bindparam("jobs", expanding=True)), ~Checkpoint.exact
)
PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}


def job_replies(session: Session, jobs: Sequence[Job], *, place: bool = True) -> list[JobReply]:
    """Return jobs of the current user without texts; `place` adds the place in the queue."""
    trained = {job.model_id for job in jobs if job.kind == "train" and job.model_id is not None}
    aliases = resolve_many(session.connection(), trained)
    found_places = places_of(session, jobs) if place else {}
    ids = [job.id for job in jobs if job.kind == "train"]
    inexact: set[str] = set()
    if ids:
        inexact.update(session.scalars(_INEXACT, {"jobs": ids}))
    corpora = digests_of_visible(session, {job.corpus_id for job in jobs if job.corpus_id})
    return [
        _job_reply(job, aliases, found_places.get(job.id), corpora, exact=job.id not in inexact)
        for job in jobs
    ]


def job_reply(session: Session, job: Job, *, place: bool = True) -> JobReply:
    """Return one job of the current user, with its texts if it is an ended generation."""
    reply = job_replies(session, [job], place=place)[0]
    if job.kind != "generate" or job.status not in TERMINAL_STATUSES:
        return reply
    texts = session.scalars(_TEXTS, {"job": job.id})
    return reply.model_copy(update={"texts": text_replies(session, texts)})


def place_reply(session: Session, job: Job) -> PlaceReply | None:
    """Return a job's place in the queue; None unless it is queued."""
    place = places_of(session, [job]).get(job.id)
    return None if place is None else PlaceReply(**asdict(place))


def places_of(session: Session, jobs: Sequence[Job]) -> dict[str, Place]:
    """Return the places of those jobs of the current user that are queued, by job id."""
    connection = session.connection()
    found: dict[str, Place] = {}
    for kind in KINDS:
        queued = [job for job in jobs if job.status == "queued" and job.kind == kind]
        if queued:
            forecast = services().forecasts.of(connection, kind, current_user().id)
            found |= places(connection, forecast, current_user().id, queued)
    return found


def _job_reply(
    job: Job,
    aliases: dict[str, Aliases],
    place: Place | None,
    corpora: Container[str | None],
    *,
    exact: bool,
) -> JobReply:
    reply = JobReply(
        id=job.id,
        kind=job.kind,
        name=job.name,
        status=job.status,
        owner=current_user().name,
        model=job.model_id,
        corpus=job.corpus_id if job.corpus_id in corpora else None,
        spec=job.spec,
        progress=None if job.progress is None else ProgressReply(**job.progress),
        attempt=job.attempt,
        error=None if job.error is None else JobErrorReply(**job.error),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested_at is not None,
        pause_requested=job.pause_requested_at is not None,
        priority=PRIORITY_NAMES[job.priority],
        after=job.after_job_id,
        start_before=job.start_before,
        deadline_seconds=job.deadline_seconds,
    )
    if place is not None:
        reply = reply.model_copy(update={"queue": PlaceReply(**asdict(place))})
    if job.kind != "train":
        return reply
    found = aliases.get(job.model_id or "", Aliases())
    details: dict[str, Any] = {"checkpoints": aliases_reply(found), "exact": exact}
    if job.estimate is not None:
        details["estimate"] = EstimateReply(**job.estimate)
    return reply.model_copy(update=details)
