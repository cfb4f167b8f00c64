"""``POST /v1/train``: a network to train on a corpus."""

from typing import Any

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.operations import base_checkpoint
from api.operations.admission import admit
from api.operations.base_checkpoint import BaseCheckpoint
from api.operations.submission import submit
from api.permissions import may_see, visible, current_user
from api.schemas.fields import NAME_CHARACTERS
from api.schemas.headers import IdempotencyHeader
from api.schemas.jobs import JobReply
from api.schemas.requests import SchedulingOptions
from api.schemas.training import TrainBase, TrainRequest
from api.services import services
from shared.clock import database_now
from shared.queue.types import Submission
from shared.specs.estimates import Text
from shared.specs.presets import TrainNumbers, TrainSpec, resolve_train
from shared.specs.seeds import new_seed
from shared.tables import Corpus, Model

train = Resource("train", "Teach a network to write")


@train.post("/train", 202, JobReply)
def submit_training(header: IdempotencyHeader, body: TrainRequest) -> Response:
    """Train a network on a corpus.

    The answer is the job, with an estimate of what it will take; its `model` can write as soon
    as it has a checkpoint. Any number of the preset can be changed, and with `from` the training
    begins from a checkpoint. What no worker could run is refused with 422 and the number to
    lower. A model without a `name` is called as its corpus. Names may repeat: ids tell things
    apart.
    """
    return create_once(header, body, lambda session: _submit(session, body)).answer()


def _submit(session: Session, body: TrainBase) -> Creation:
    corpus = visible(session, Corpus, body.corpus, lock="use")
    origin = base_checkpoint.find(session, body.from_checkpoint)
    spec = _resolve(body, origin)
    name = body.name or _free_name(session, corpus.name)
    return submit_model(session, corpus, spec, name, body.visibility, body, origin)


def submit_model(
    session: Session,
    corpus: Corpus,
    spec: TrainSpec,
    name: str,
    visibility: str,
    order: SchedulingOptions | None = None,
    origin: BaseCheckpoint | None = None,
) -> Creation:
    """A model, and the job that trains it, in one transaction.

    Raises:
        Invalid: The corpus is too short for the numbers.
        DoesNotFit: No worker could run it.
    """
    _refuse_if_too_short(corpus, spec)
    alphabet = corpus.alphabet_lowercase if spec.lowercase else corpus.alphabet
    if origin is not None:
        alphabet = origin.enlarged(alphabet)
    text = Text(corpus.characters, len(alphabet), None if origin is None else origin.words)
    estimate = admit(session, corpus, spec, text, () if origin is None else origin.shape)
    written = spec.model_dump(mode="json")
    model = Model(
        user_id=current_user().id,
        name=name,
        visibility=visibility,
        corpus_id=corpus.id,
        spec=written,
        vocabulary=alphabet,
        vocabulary_size=len(alphabet),
        characters_per_token=1.0 if spec.tokenizer == "char" else None,
        from_checkpoint_id=None if origin is None else origin.checkpoint.id,
        created_at=database_now(session.connection()),
    )
    session.add(model)
    session.flush()
    submission = Submission(
        "train", current_user().id, name, written, model.id, corpus.id, estimate=estimate.as_dict()
    )
    return submit(session, submission, order)


def _free_name(session: Session, name: str) -> str:
    """This name, or with ``-2`` and so on behind it, so that it says which model is meant."""
    taken = set(session.scalars(select(Model.name).where(may_see(Model, current_user()))))
    ends = ("", *(f"-{number}" for number in range(2, len(taken) + 2)))
    names = (f"{name[: NAME_CHARACTERS - len(end)]}{end}" for end in ends)
    return next(free for free in names if free not in taken)


def _resolve(body: TrainBase, origin: BaseCheckpoint | None) -> TrainSpec:
    settings = services().settings
    changes: dict[str, Any] = body.model_dump(
        include={*TrainNumbers.model_fields, "sample", "budget"}, exclude_unset=True
    )
    if changes.get("budget") is not None and "epochs" in changes:
        raise Invalid(
            "budget",
            changes["budget"],
            f"stands beside epochs: {changes['epochs']}, and only one of them can end a training: "
            "leave the other out",
        )
    preset, seed = body.preset, body.seed
    if origin is not None:
        given = body.preset if "preset" in body.model_fields_set else None
        preset, changes = origin.numbers(given, changes)
        seed = origin.spec.seed if seed is None else seed
    return resolve_train(
        preset,
        changes,
        seed=new_seed() if seed is None else seed,
        threads=settings.train_threads,
        shards=settings.train_shards,
    )


def _refuse_if_too_short(corpus: Corpus, spec: TrainSpec) -> None:
    minimum = spec.minimum_characters
    if corpus.characters < minimum:
        raise Invalid(
            "corpus",
            corpus.id,
            f"has {corpus.characters} characters, and a window of {spec.window} with "
            f"{spec.held_out:g} held out needs {minimum}: take a longer text, "
            "or a smaller window",
        )
