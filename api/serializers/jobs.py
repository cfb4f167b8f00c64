"""Replies about jobs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.orm import Session

from api.permissions import current_user, deleted_models, digests_of_visible
from api.schemas.jobs import EstimateReply, JobErrorReply, JobReply, PlaceReply, ProgressReply
from api.serializers.models import aliases_reply
from api.serializers.texts import TextColumns, render_text, text_replies
from api.services import services
from shared.checkpoint_aliases import Aliases, resolve_many
from shared.prepared import Prepared
from shared.queue.types import SubmittedJob
from shared.scheduling.forecast import Place
from shared.scheduling.forecast_queries import places
from shared.tables import KINDS, PRIORITIES, TERMINAL_STATUSES, Checkpoint, GeneratedText, Job

# Built once, because clients poll their jobs.
_TEXTS = Prepared(
    select(*GeneratedText.__table__.columns)
    .where(GeneratedText.job_id == bindparam("job"))
    .order_by(GeneratedText.step, GeneratedText.position)
)
_INEXACT = select(Checkpoint.job_id).where(
    Checkpoint.job_id.in_(bindparam("jobs", expanding=True)), ~Checkpoint.exact
)
PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}

#: What has the columns of a job.
JobColumns = Job | SubmittedJob | Row[Any]


def job_replies(
    session: Session, jobs: Sequence[JobColumns], *, place: bool = True
) -> list[JobReply]:
    """Return jobs of the current user without texts; `place` adds the place in the queue."""
    corpora = digests_of_visible(session, {job.corpus_id for job in jobs if job.corpus_id})
    # A model is deleted only after its jobs.
    ended = {job.model_id for job in jobs if job.model_id and job.status in TERMINAL_STATUSES}
    gone = deleted_models(session, ended)
    shown = [(job, job.corpus_id in corpora, job.model_id in gone) for job in jobs]
    return _job_replies(session, shown, place=place)


def job_reply(session: Session, job: JobColumns, *, place: bool = True) -> JobReply:
    """Return one job of the current user, with its texts if it is an ended generation."""
    reply = job_replies(session, [job], place=place)[0]
    if job.kind != "generate" or job.status not in TERMINAL_STATUSES:
        return reply
    texts = _TEXTS.all(session.connection(), {"job": job.id})
    return reply.model_copy(update={"texts": text_replies(session, texts)})


def own_job_reply(connection: Connection, job: Any) -> JobReply:
    """Return one job of the current user, with its texts if it is an ended generation.

    Args:
        connection: To read what else the reply needs.
        job: From `api.permissions.own_job_as_shown`.
    """
    if job.kind != "generate" or job.status not in TERMINAL_STATUSES:
        with Session(connection) as session:
            shown = (job, bool(job.shows_corpus), bool(job.model_deleted))
            return _job_replies(session, [shown])[0]
    return ended_job_reply(job, stored_texts(connection, job.id))


def stored_texts(connection: Connection, job_id: str) -> Sequence[TextColumns]:
    """Read the texts of a job in the order of its reply."""
    return _TEXTS.all(connection, {"job": job_id})


def ended_job_reply(job: Any, texts: Iterable[TextColumns]) -> JobReply:
    """Return an ended generation of the current user with its texts.

    Args:
        job: From `api.permissions.own_job_as_shown`.
        texts: Its texts.
    """
    owner, placed = current_user().name, bool(job.shows_excerpts)
    model_deleted = bool(job.model_deleted)
    return render_job(
        job,
        owner,
        shows_corpus=bool(job.shows_corpus),
        model_deleted=model_deleted,
        texts=[
            render_text(text, owner, placed=placed, model_deleted=model_deleted) for text in texts
        ],
    )


def place_reply(session: Session, job: JobColumns) -> PlaceReply | None:
    """Return a job's place in the queue; None unless it is queued."""
    place = places_of(session, [job], job.user_id).get(job.id)
    return None if place is None else PlaceReply(**asdict(place))


def places_of(
    session: Session, jobs: Sequence[JobColumns], user_id: str | None = None
) -> dict[str, Place]:
    """Return the places of those jobs of a user that are queued, by job id.

    The user is the current one by default.
    """
    connection = session.connection()
    found: dict[str, Place] = {}
    for kind in KINDS:
        queued = [job for job in jobs if job.status == "queued" and job.kind == kind]
        if queued:
            owner_id = user_id or current_user().id
            forecast = services().forecasts.of(connection, kind, owner_id)
            found |= places(connection, forecast, owner_id, queued)
    return found


def _job_replies(
    session: Session, jobs: Sequence[tuple[JobColumns, bool, bool]], *, place: bool = True
) -> list[JobReply]:
    """Return jobs, each with whether the user may see its corpus, and its model was deleted."""
    trainings = {job.id: job.model_id for job, _, gone in jobs if job.kind == "train" and not gone}
    aliases = resolve_many(session.connection(), {each for each in trainings.values() if each})
    found_places = places_of(session, [job for job, _, _ in jobs]) if place else {}
    inexact: set[str] = set()
    if trainings:
        inexact.update(session.scalars(_INEXACT, {"jobs": list(trainings)}))
    owner = current_user().name
    return [
        render_job(
            job,
            owner,
            shows_corpus=shows_corpus,
            model_deleted=model_deleted,
            place=found_places.get(job.id),
            **_training_details(job, aliases, inexact),
        )
        for job, shows_corpus, model_deleted in jobs
    ]


def _training_details(
    job: JobColumns, aliases: dict[str, Aliases], inexact: set[str]
) -> dict[str, Any]:
    if job.kind != "train":
        return {}
    found = aliases.get(job.model_id or "", Aliases())
    details = {"checkpoints": aliases_reply(found), "exact": job.id not in inexact}
    if job.estimate is not None:
        details["estimate"] = EstimateReply(**job.estimate)
    return details


def render_job(
    job: JobColumns,
    owner: str,
    *,
    shows_corpus: bool,
    model_deleted: bool = False,
    place: Place | None = None,
    **details: Any,
) -> JobReply:
    """Render the reply for a job: the only place that does, whatever the columns come from.

    Args:
        job: The job's columns.
        owner: The name of its owner.
        shows_corpus: Whether the owner may see its corpus.
        model_deleted: Whether its model was deleted.
        place: Its place in the queue.
        details: Further fields of the reply.
    """
    if place is not None:
        details["queue"] = PlaceReply(**asdict(place))
    return JobReply(
        id=job.id,
        kind=job.kind,
        name=job.name,
        status=job.status,
        owner=owner,
        model=None if model_deleted else job.model_id,
        corpus=job.corpus_id if shows_corpus else None,
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
        **details,
    )
