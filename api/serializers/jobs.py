"""Rows as replies."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from api.permissions import may_see, current_user
from api.schemas.jobs import EstimateReply, JobErrorReply, JobReply, PlaceReply, ProgressReply
from api.schemas.models import AliasesReply, CheckpointReply, CorpusReply, ModelReply
from api.schemas.texts import NoveltyReply, TextReply
from api.services import services
from shared.checkpoint_aliases import Aliases, resolve_many
from shared.scheduling.forecast import Place
from shared.scheduling.forecast_reader import places
from shared.tables import (
    KINDS,
    PRIORITIES,
    TERMINAL_STATUSES,
    Checkpoint,
    Corpus,
    GeneratedText,
    Job,
    Model,
    User,
)

# Built once: people ask for their jobs again and again.
_TEXTS = (
    select(GeneratedText)
    .where(GeneratedText.job_id == bindparam("job"))
    .order_by(GeneratedText.step, GeneratedText.position)
)
_INEXACT = select(Checkpoint.job_id).where(
    Checkpoint.job_id.in_(bindparam("jobs", expanding=True)), ~Checkpoint.exact
)
PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}


def corpus_reply(corpus: Corpus, owner: str) -> CorpusReply:
    """A corpus."""
    return CorpusReply(
        id=corpus.id,
        name=corpus.name,
        visibility=corpus.visibility,
        owner=owner,
        sha256=corpus.sha256,
        bytes=corpus.bytes,
        characters=corpus.characters,
        distinct_characters=corpus.distinct_characters,
        encoding=corpus.encoding,
        created_at=corpus.created_at,
    )


def text_reply(text: GeneratedText) -> TextReply:
    """A text; only its owner ever sees it."""
    return TextReply(
        id=text.id,
        job=text.job_id,
        model=text.model_id,
        checkpoint=text.checkpoint_id,
        owner=current_user().name,
        prompt=text.prompt,
        text=text.prompt + text.text if text.echo else text.text,
        temperature=text.temperature,
        top_k=text.top_k,
        top_p=text.top_p,
        seed=text.seed,
        index=text.position,
        finish_reason=text.finish_reason,
        temperature_to=text.temperature_to,
        repetition_penalty=text.repetition_penalty,
        echo=text.echo,
        mean_logprob=text.mean_logprob,
        bits_per_char=text.bits_per_char,
        logprobs=text.logprobs,
        epoch=text.epoch,
        step=None if text.requested else text.step,
        requested=text.requested,
        novelty=_novelty_reply(text),
        created_at=text.created_at,
    )


def _novelty_reply(text: GeneratedText) -> NoveltyReply | None:
    length, at = text.copied_characters, text.copied_at
    if length is None or at is None:
        return None
    return NoveltyReply(
        copied_characters=length,
        copied=text.text[at : at + length],
        copied_from=text.copied_from if length else None,
        known_grams=text.known_grams,
    )


def job_replies(session: Session, jobs: Sequence[Job], *, place: bool = True) -> list[JobReply]:
    """Jobs of the caller's, without the texts; `place` says where those stand that wait."""
    trained = {job.model_id for job in jobs if job.kind == "train" and job.model_id is not None}
    aliases = resolve_many(session.connection(), trained)
    standing = places_of(session, jobs) if place else {}
    ids = [job.id for job in jobs if job.kind == "train"]
    inexact: set[str] = set()
    if ids:
        inexact.update(session.scalars(_INEXACT, {"jobs": ids}))
    return [
        _job_reply(job, aliases, standing.get(job.id), exact=job.id not in inexact) for job in jobs
    ]


def job_reply(session: Session, job: Job, *, place: bool = True) -> JobReply:
    """One job of the caller's, with its texts where it wrote some on request and has ended."""
    reply = job_replies(session, [job], place=place)[0]
    if job.kind != "generate" or job.status not in TERMINAL_STATUSES:
        return reply
    texts = session.scalars(_TEXTS, {"job": job.id})
    return reply.model_copy(update={"texts": [text_reply(text) for text in texts]})


def place_reply(session: Session, job: Job) -> PlaceReply | None:
    """Where a job of the caller's stands."""
    place = places_of(session, [job]).get(job.id)
    return None if place is None else PlaceReply(**asdict(place))


def places_of(session: Session, jobs: Sequence[Job]) -> dict[str, Place]:
    """Where those of the caller's jobs stand that are queued, by id."""
    connection = session.connection()
    found: dict[str, Place] = {}
    for kind in KINDS:
        queued = [job for job in jobs if job.status == "queued" and job.kind == kind]
        if queued:
            line = services().lines.of(connection, kind)
            found |= places(connection, line, current_user().id, queued)
    return found


def _job_reply(
    job: Job, aliases: dict[str, Aliases], place: Place | None, *, exact: bool
) -> JobReply:
    reply = JobReply(
        id=job.id,
        kind=job.kind,
        name=job.name,
        status=job.status,
        owner=current_user().name,
        model=job.model_id,
        corpus=job.corpus_id,
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
    told: dict[str, Any] = {"checkpoints": _aliases_reply(found), "exact": exact}
    if job.estimate is not None:
        told["estimate"] = EstimateReply(**job.estimate)
    return reply.model_copy(update=told)


def model_replies(session: Session, models: Sequence[Model]) -> list[ModelReply]:
    """Models that the caller may see."""
    ids = [model.id for model in models]
    aliases = resolve_many(session.connection(), ids)
    owners = dict(
        session.execute(
            select(User.id, User.name).where(User.id.in_({model.user_id for model in models}))
        ).all()
    )
    corpora = dict(
        session.execute(
            select(Corpus.id, Corpus.sha256).where(
                Corpus.id.in_({model.corpus_id for model in models}), may_see(Corpus, current_user())
            )
        ).all()
    )
    trainings = dict(
        session.execute(
            select(Job.model_id, Job.id).where(
                Job.model_id.in_(ids), Job.kind == "train", Job.user_id == current_user().id
            )
        ).all()
    )
    return [
        ModelReply(
            id=model.id,
            name=model.name,
            visibility=model.visibility,
            owner=owners[model.user_id],
            corpus=model.corpus_id if model.corpus_id in corpora else None,
            corpus_sha256=corpora.get(model.corpus_id),
            from_checkpoint=model.from_checkpoint_id if model.user_id == current_user().id else None,
            preset=model.spec["preset"],
            spec=model.spec,
            tokenizer=model.spec["tokenizer"],
            vocabulary_size=None if model.characters_per_token is None else model.vocabulary_size,
            characters_per_token=model.characters_per_token,
            job=trainings.get(model.id),
            checkpoints=_aliases_reply(aliases[model.id]),
            created_at=model.created_at,
        )
        for model in models
    ]


def model_reply(session: Session, model: Model) -> ModelReply:
    """One model that the caller may see."""
    return model_replies(session, [model])[0]


def checkpoint_reply(checkpoint: Checkpoint, model: Model) -> CheckpointReply:
    """A checkpoint of a model that the caller may see."""
    return CheckpointReply(
        id=checkpoint.id,
        model=checkpoint.model_id,
        job=checkpoint.job_id if model.user_id == current_user().id else None,
        step=checkpoint.step,
        epoch=checkpoint.epoch,
        loss=checkpoint.loss,
        val_loss=checkpoint.val_loss,
        bits_per_char=_bits_per_char(checkpoint.val_loss, model.characters_per_token),
        digest=checkpoint.digest,
        sha256=checkpoint.sha256,
        bytes=checkpoint.size_bytes,
        fingerprint=checkpoint.fingerprint,
        exact=checkpoint.exact,
        created_at=checkpoint.created_at,
    )


def _bits_per_char(loss: float | None, characters_per_token: float | None) -> float | None:
    if loss is None or characters_per_token is None:
        return None
    return loss / characters_per_token / math.log(2)


def _aliases_reply(aliases: Aliases) -> AliasesReply:
    return AliasesReply(best=aliases.best, latest=aliases.latest)
