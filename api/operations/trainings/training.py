"""Submit a training: resolve its spec, check that it fits, and create its model and job."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.idempotency import Creation
from api.operations.audit import check_sharing, record_visibility
from api.operations.notifications import notify_of_job
from api.operations.submission import submit
from api.operations.trainings.admission import admit
from api.operations.trainings.base_checkpoint import BaseCheckpoint, find_base_checkpoint
from api.permissions import current_user, may_see, visible
from api.schemas.fields import NAME_CHARACTERS
from api.schemas.jobs import EstimateReply, PlaceReply, TrainDryRunReply
from api.schemas.requests import SchedulingOptions
from api.schemas.training import TrainBase
from api.services import services
from shared.clock import database_now
from shared.queue.types import Submission
from shared.scheduling import cap_checks
from shared.specs.estimates import CorpusSize, Estimate
from shared.specs.presets import fit_to_alphabet, fit_to_budget, fit_to_items, resolve_train
from shared.specs.seeds import new_seed
from shared.specs.training import SMALLEST_WINDOW, TrainNumbers, TrainSpec
from shared.specs.windows import largest_window, longest_piece
from shared.tables import Corpus, Model


def enqueue_training(session: Session, body: TrainBase) -> Creation:
    """Submit the training that a request asks for."""
    corpus = visible(session, Corpus, body.corpus, lock="use")
    base = find_base_checkpoint(session, body.from_checkpoint)
    spec = _resolve_spec(body, base, corpus)
    name = body.name or _free_name(session, corpus.name)
    creation = enqueue_model(session, corpus, spec, name, body.visibility, body, base)
    if body.notify:
        notify_of_job(session, (creation.location or "").rpartition("/")[2], body.notify)
    return creation


def dry_run_training(session: Session, body: TrainBase) -> TrainDryRunReply:
    """Say what a training would be, what it would cost and when it would start. Store nothing.

    Raises:
        Invalid: As `enqueue_training`.
        DoesNotFit: As `enqueue_training`.
        MissingScope: As `enqueue_training`.
        shared.scheduling.errors.CapReached: The user has reached a cap.
    """
    check_sharing(body.visibility)
    corpus = visible(session, Corpus, body.corpus)
    base = find_base_checkpoint(session, body.from_checkpoint)
    spec = _resolve_spec(body, base, corpus)
    _, estimate = _plan(session, corpus, spec, base)
    user_id, connection = current_user().id, session.connection()
    cap_checks.check_job(
        connection, services().settings, user_id, "train", database_now(connection)
    )
    place = services().forecasts.of(connection, "train", user_id).place_of_next(user_id)
    return TrainDryRunReply(
        name=body.name or _free_name(session, corpus.name),
        spec=spec.model_dump(mode="json"),
        estimate=EstimateReply(**estimate.as_dict()),
        queue=PlaceReply(**asdict(place)),
    )


def _plan(
    session: Session, corpus: Corpus, spec: TrainSpec, base: BaseCheckpoint | None
) -> tuple[str, Estimate]:
    """Return the alphabet and the estimate of a training that some worker can run."""
    if corpus.items is None:
        _refuse_short_corpus(corpus, spec)
    if base is not None and base.is_trained_on(corpus) and not base.spec.items:
        _refuse_long_window(corpus, spec, base)
    alphabet = corpus.alphabet_lowercase if spec.lowercase else corpus.alphabet
    if base is not None:
        alphabet = base.extend_vocabulary(alphabet)
    text = CorpusSize(corpus.characters, len(alphabet), None if base is None else base.word_count)
    fixed = () if base is None else base.fixed_fields
    return alphabet, admit(session, corpus, spec, text, fixed)


def enqueue_model(
    session: Session,
    corpus: Corpus,
    spec: TrainSpec,
    name: str,
    visibility: str,
    scheduling: SchedulingOptions | None = None,
    base: BaseCheckpoint | None = None,
) -> Creation:
    """Create a model and the job that trains it, in one transaction.

    Raises:
        Invalid: The corpus is too short for the spec.
        DoesNotFit: No worker could run the training.
        MissingScope: Others would see the model, and the key lacks the scope `manage`.
    """
    check_sharing(visibility)
    alphabet, estimate = _plan(session, corpus, spec, base)
    plain_spec = spec.model_dump(mode="json")
    model = Model(
        user_id=current_user().id,
        name=name,
        visibility=visibility,
        corpus_id=corpus.id,
        spec=plain_spec,
        vocabulary=alphabet,
        vocabulary_size=len(alphabet),
        characters_per_token=1.0 if spec.tokenizer == "char" else None,
        from_checkpoint_id=None if base is None else base.checkpoint.id,
        created_at=database_now(session.connection()),
    )
    session.add(model)
    session.flush()
    record_visibility(session, model)
    submission = Submission(
        "train",
        current_user().id,
        name,
        plain_spec,
        model.id,
        corpus.id,
        estimate=estimate.as_dict(),
    )
    return submit(session, submission, scheduling)


def _free_name(session: Session, name: str) -> str:
    """Return the name, with ``-2`` or a higher number appended if a visible model has it."""
    taken = set(session.scalars(select(Model.name).where(may_see(Model, current_user()))))
    suffixes = ("", *(f"-{number}" for number in range(2, len(taken) + 2)))
    names = (f"{name[: NAME_CHARACTERS - len(suffix)]}{suffix}" for suffix in suffixes)
    return next(free for free in names if free not in taken)


def _resolve_spec(body: TrainBase, base: BaseCheckpoint | None, corpus: Corpus) -> TrainSpec:
    settings = services().settings
    changes: dict[str, Any] = body.model_dump(
        include={*TrainNumbers.model_fields, "sample", "budget"}, exclude_unset=True
    )
    if changes.get("budget") is not None and "epochs" in changes:
        raise Invalid(
            "budget",
            changes["budget"],
            f"not allowed together with epochs ({changes['epochs']}). Give only one of them",
        )
    preset, seed = body.preset, body.seed
    if base is not None:
        requested_preset = body.preset if "preset" in body.model_fields_set else None
        preset, changes = base.resolve_fields(requested_preset, changes, corpus)
        seed = base.spec.seed if seed is None else seed
    spec = resolve_train(
        preset,
        changes,
        seed=new_seed() if seed is None else seed,
        threads=settings.train_threads,
        shards=settings.train_shards,
    )
    if base is None:
        alphabet = corpus.alphabet_lowercase if spec.lowercase else corpus.alphabet
        spec = fit_to_alphabet(spec, len(alphabet), changes)
        size = CorpusSize(corpus.characters, len(alphabet))
        spec = fit_to_budget(spec, size, changes, items=corpus.items is not None)
    if spec.tied_embedding and not spec.embedding:
        raise Invalid(
            "tied_embedding",
            True,
            "not possible without an embedding: `embedding` is 0. Set it, or leave tied_embedding "
            "out",
        )
    if corpus.items is None:
        return spec
    _refuse_for_items(spec, body)
    given = body.model_fields_set if base is None else {"window", "batch_size"}
    return fit_to_items(spec, corpus.items["longest"], given)


def _refuse_for_items(spec: TrainSpec, body: TrainBase) -> None:
    """Refuse what a list can't be trained with."""
    if spec.predict != "every":
        field = "predict" if "predict" in body.model_fields_set else "preset"
        raise Invalid(
            field,
            getattr(body, field),
            "not possible with a corpus of items, which may be shorter than a window. Choose the "
            "preset default or large, or upload the corpus without `items`",
        )
    if spec.tokenizer != "char":
        raise Invalid(
            "tokenizer",
            spec.tokenizer,
            "not possible with a corpus of items. Leave it out, or upload the corpus without "
            "`items`",
        )


def _refuse_short_corpus(corpus: Corpus, spec: TrainSpec) -> None:
    minimum = spec.minimum_characters
    if corpus.characters < minimum:
        window = largest_window(corpus.characters, spec.held_out)
        way = "a longer text"
        if window >= SMALLEST_WINDOW:
            way += f" or a window of at most {window}"
        raise Invalid(
            "corpus",
            corpus.id,
            f"too short ({corpus.characters:,} characters; a window of {spec.window} with "
            f"{100 * spec.held_out:g} % held out needs {minimum:,}). Use {way}",
        )


def _refuse_long_window(corpus: Corpus, spec: TrainSpec, base: BaseCheckpoint) -> None:
    """Refuse a window that no held-out piece of the checkpoint's training holds."""
    if spec.tokenizer != "char" or base.spec.holdout != "spread":
        return
    longest = longest_piece(corpus.characters, base.spec.window, base.spec.held_out)
    if spec.window >= longest:
        raise Invalid(
            "window",
            spec.window,
            f"too long: the held-out pieces of checkpoint {base.checkpoint.id}, which a training "
            f"on the same corpus keeps, have {longest:,} characters. Use a window of at most "
            f"{longest - 1:,}, or another corpus",
        )
