"""``POST /openai/v1/completions`` and ``/chat/completions``: write texts with a model."""

import math
from functools import partial

from flask import Response

from api.errors import Invalid
from api.http.openapi import returns_non_json
from api.http.prefer_wait import wait_seat
from api.http.responses import raw_json_response
from api.openai.errors import TooManyWaits
from api.openai.faces import ChatFace, CompletionFace, Face
from api.openai.fingerprints import combined
from api.openai.model_ids import find_model
from api.openai.replies import ChatCompletion, Completion
from api.openai.requests import ChatCompletionRequest, CompletionBase, CompletionRequest
from api.openai.resource import OpenAiResource
from api.openai.streaming import stream_texts
from api.openai.texts import SubmittedTexts, submit, submit_and_wait, usage
from api.schemas.headers import IdempotencyHeader
from api.services import reading, services

completions = OpenAiResource("openai_completions", "Write texts")


@completions.post("/completions", 200, Completion)
@returns_non_json
def complete(header: IdempotencyHeader, body: CompletionRequest) -> Response:
    """Continue one text, or several."""
    return _answer(header, body, CompletionFace, shows_likeliest=bool(body.logprobs))


@completions.post("/chat/completions", 200, ChatCompletion)
@returns_non_json
def complete_chat(header: IdempotencyHeader, body: ChatCompletionRequest) -> Response:
    """Continue the text of the last message of the user."""
    return _answer(header, body, ChatFace, shows_likeliest=bool(body.top_logprobs))


def _answer(
    header: IdempotencyHeader, body: CompletionBase, kind: type[Face], *, shows_likeliest: bool
) -> Response:
    with reading() as session:
        model = find_model(session, body.model)
    by_words = model.model.spec["tokenizer"] == "word"
    if by_words and body.wants_logprobs:
        raise Invalid(
            "logprobs",
            True,
            "not supported for a model of words, whose tokens are not kept apart. Leave it out, or "
            "use POST /v1/generate",
        )
    generations = body.generations(model)

    def make_face(submitted: SubmittedTexts) -> Face:
        return kind(
            id=submitted.jobs[0],
            created=submitted.created,
            model=body.model,
            echo=body.echoes,
            shows_logprobs=body.wants_logprobs,
            shows_likeliest=shows_likeliest,
        )

    if body.stream:
        return stream_texts(
            partial(submit, header, body, generations),
            generations,
            make_face,
            by_words=by_words,
            includes_usage=body.stream_options.include_usage,
            keeps_jobs=header.idempotency_key is not None,
        )
    seconds = math.ceil(services().settings.openai_wait_seconds)
    with wait_seat(seconds) as seat:
        if seat is None:
            raise TooManyWaits(
                "as many requests wait for texts as may (QUIRE_WAIT_SLOTS). Try again, or stream"
            )
        submitted, jobs = submit_and_wait(header, body, generations, seconds, seat)
    texts = [job.texts for job in jobs]
    used = usage(texts, generations, by_words=by_words)
    reply = make_face(submitted).whole(
        [text for of_job in texts for text in of_job],
        used,
        combined([job.fingerprint for job in jobs]),
    )
    return raw_json_response(reply.model_dump(), 200)
