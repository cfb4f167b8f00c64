"""Replies about texts."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from api.permissions import current_user, deleted_models, jobs_that_show_excerpts
from api.schemas.texts import (
    CopiedSpanReply,
    LikelyTokenReply,
    NextReply,
    NextTokenReply,
    NoveltyReply,
    TextReply,
)
from shared.queue.types import StoredText
from shared.tables import GeneratedText

#: What has the columns of a text.
TextColumns = GeneratedText | StoredText | Row[Any]


def text_replies(session: Session, texts: Iterable[TextColumns]) -> list[TextReply]:
    """Return texts of the current user; nobody else ever sees them."""
    listed = list(texts)
    copying = {text.job_id for text in listed if text.copied_from is not None}
    placed = jobs_that_show_excerpts(session, copying) if copying else set()
    gone = deleted_models(session, {text.model_id for text in listed if text.model_id})
    owner = current_user().name
    return [
        render_text(text, owner, placed=text.job_id in placed, model_deleted=text.model_id in gone)
        for text in listed
    ]


def text_reply(session: Session, text: TextColumns) -> TextReply:
    """Return one text of the current user."""
    return text_replies(session, [text])[0]


def render_text(
    text: TextColumns, owner: str, *, placed: bool, model_deleted: bool = False
) -> TextReply:
    """Render the reply for a text: the only place that does, whatever the columns come from.

    Args:
        text: The text's columns.
        owner: The name of its owner.
        placed: Whether the owner may be told where in the corpus it copies.
        model_deleted: Whether its model was deleted.
    """
    return TextReply(
        id=text.id,
        job=text.job_id,
        model=None if model_deleted else text.model_id,
        checkpoint=None if model_deleted else text.checkpoint_id,
        owner=owner,
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
        tokens=text.tokens,
        top_logprobs=_top_logprobs(text.top_logprobs),
        copied_spans=_copied_spans(text) if placed else None,
        next=_next_replies(text.next_tokens),
        epoch=text.epoch,
        step=None if text.requested else text.step,
        requested=text.requested,
        novelty=_novelty_reply(text, placed=placed),
        copy=text.copy,
        kept=text.kept,
        note=text.note,
        created_at=text.created_at,
    )


def _top_logprobs(stored: Sequence[Any] | None) -> list[list[LikelyTokenReply]] | None:
    if stored is None:
        return None
    return [
        [LikelyTokenReply(token=token, logprob=logprob) for token, logprob in likeliest]
        for likeliest in stored
    ]


def _copied_spans(text: TextColumns) -> list[CopiedSpanReply] | None:
    if text.copied_spans is None:
        return None
    before = len(text.prompt) if text.echo else 0
    return [
        CopiedSpanReply.model_validate({"start": before + start, "length": length, "from": source})
        for start, length, source in text.copied_spans
    ]


def _next_replies(stored: Sequence[Any] | None) -> list[NextReply] | None:
    if stored is None:
        return None
    return [
        NextReply(
            temperature=each["temperature"],
            entropy_bits=each["entropy_bits"],
            rest=each["rest"],
            tokens=[
                NextTokenReply(
                    token=token,
                    probability=probability,
                    logprob=math.log(probability) if probability else None,
                )
                for token, probability in each["tokens"]
            ],
        )
        for each in stored
    ]


def _novelty_reply(text: TextColumns, *, placed: bool) -> NoveltyReply | None:
    length, at = text.copied_characters, text.copied_at
    if length is None or at is None:
        return None
    return NoveltyReply(
        copied_characters=length,
        copied=text.text[at : at + length],
        copied_from=text.copied_from if length and placed else None,
        known_grams=text.known_grams,
    )
