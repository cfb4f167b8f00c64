"""Replies about texts."""

from api.permissions import current_user
from api.schemas.texts import NoveltyReply, TextReply
from shared.tables import GeneratedText


def text_reply(text: GeneratedText) -> TextReply:
    """Return a text. Only its owner ever sees it."""
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
