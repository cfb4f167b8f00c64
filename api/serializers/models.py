"""Replies about corpora, models and checkpoints."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.permissions import current_user, digests_of_visible, visibility_of
from api.schemas.models import AliasesReply, CheckpointReply, CorpusReply, ItemsReply, ModelReply
from api.services import services
from shared.checkpoint_aliases import Aliases, resolve_many
from shared.tables import Checkpoint, Corpus, Group, Job, Model, User


def corpus_replies(session: Session, rows: Sequence[Any]) -> list[CorpusReply]:
    """Return corpora that the current user may see, given each with its owner's name."""
    groups = _group_names(session, [corpus for corpus, _ in rows])
    return [
        CorpusReply(
            id=corpus.id,
            name=corpus.name,
            visibility=visibility_of(corpus),
            group=groups.get(corpus.id),
            allow_excerpts=corpus.allow_excerpts,
            owner=owner,
            sha256=corpus.sha256,
            bytes=corpus.bytes,
            characters=corpus.characters,
            distinct_characters=corpus.distinct_characters,
            encoding=corpus.encoding,
            findings=corpus.findings or [],
            parts=corpus.parts or [],
            items=None if corpus.items is None else ItemsReply(**corpus.items),
            created_at=corpus.created_at,
            **_deletion(corpus),
        )
        for corpus, owner in rows
    ]


def _group_names(session: Session, rows: Sequence[Corpus | Model]) -> dict[str, str]:
    """Return the names of the groups that rows are shared with, by the rows' ids."""
    shared = {row.id: row.group_id for row in rows if visibility_of(row) == "group"}
    if not shared:
        return {}
    names = dict(
        session.execute(select(Group.id, Group.name).where(Group.id.in_(shared.values()))).all()
    )
    return {row_id: names[group] for row_id, group in shared.items() if group in names}


def _deletion(row: Corpus | Model) -> dict[str, datetime]:
    """The fields that only what was deleted has."""
    if row.deleted_at is None:
        return {}
    kept = timedelta(days=services().settings.deleted_days)
    return {"deleted_at": row.deleted_at, "purge_at": row.deleted_at + kept}


def model_replies(session: Session, models: Sequence[Model]) -> list[ModelReply]:
    """Return models that the current user may see."""
    ids = [model.id for model in models]
    aliases = resolve_many(session.connection(), ids)
    owners = dict(
        session.execute(
            select(User.id, User.name).where(User.id.in_({model.user_id for model in models}))
        ).all()
    )
    groups = _group_names(session, models)
    corpora = digests_of_visible(session, {model.corpus_id for model in models})
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
            visibility=visibility_of(model),
            group=groups.get(model.id),
            owner=owners[model.user_id],
            corpus=model.corpus_id if model.corpus_id in corpora else None,
            corpus_sha256=corpora.get(model.corpus_id),
            from_checkpoint=model.from_checkpoint_id
            if model.user_id == current_user().id
            else None,
            preset=model.spec["preset"],
            spec=model.spec,
            tokenizer=model.spec["tokenizer"],
            vocabulary_size=None if model.characters_per_token is None else model.vocabulary_size,
            characters_per_token=model.characters_per_token,
            job=trainings.get(model.id),
            checkpoints=aliases_reply(aliases[model.id]),
            created_at=model.created_at,
            **_deletion(model),
        )
        for model in models
    ]


def model_reply(session: Session, model: Model) -> ModelReply:
    """Return one model that the current user may see."""
    return model_replies(session, [model])[0]


def checkpoint_reply(checkpoint: Checkpoint, model: Model) -> CheckpointReply:
    """Return a checkpoint whose model the current user may see."""
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


def aliases_reply(aliases: Aliases) -> AliasesReply:
    """Return the checkpoints that `best` and `latest` mean now."""
    return AliasesReply(best=aliases.best, latest=aliases.latest)
