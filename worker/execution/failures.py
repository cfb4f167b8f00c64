"""Why a run can fail, in words for the job's owner: each error with its way out."""

from typing import Any

import tensorflow as tf

from shared.blobs import CorruptBlob, MissingBlob
from shared.queue.types import problem
from shared.scheduling.errors import StorageFull
from worker.ml.checkpoint import BadCheckpoint
from worker.ml.sampling.sampler import NotFinite
from worker.ml.training.divergence import Diverged
from worker.ml.training.variables import Mismatch
from worker.ml.vectorize import TooShort
from worker.ml.vocabulary import UnknownCharacter


class RunFailed(Exception):
    """A run cannot go on, and its owner can be told why."""

    slug = "failed"
    title = "The job failed"

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class ModelDeleted(RunFailed):
    """The model was deleted while the job waited."""

    slug = "model-deleted"
    title = "The model is gone"

    def __init__(self) -> None:
        super().__init__(
            "The job's model was deleted before the job ran. Train it again, or name another model."
        )


class CorpusDeleted(RunFailed):
    """The corpus was deleted, and the run needs its text."""

    slug = "corpus-deleted"
    title = "The corpus is gone"

    def __init__(self, kind: str) -> None:
        way_out = (
            "Upload it again and train on that."
            if kind == "train"
            else "Without it there is no random piece to begin from: give a `prompt`."
        )
        super().__init__(f"The job's corpus was deleted before the job ran. {way_out}")


class CheckpointGone(RunFailed):
    """The checkpoint that a training was to begin from is not there any more."""

    slug = "checkpoint-gone"
    title = "The checkpoint to begin from is gone"

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(
            f"The training was to begin from checkpoint {checkpoint_id}, which was deleted before "
            "it ran. Begin from another one (`from`), or anew without it."
        )


class NothingToWriteWith(RunFailed):
    """The model has no such checkpoint."""

    slug = "no-checkpoint"
    title = "The model has no such checkpoint"

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"`checkpoint` is {asked!r}, and the model has none of that name: let its training "
            "write one first (GET /v1/models/{id}/checkpoints lists them), or name another."
        )


class OtherVocabulary(RunFailed):
    """The corpus is not the one the model was made for."""

    slug = "other-vocabulary"
    title = "Corpus and model do not fit"

    def __init__(self, character: str, position: int) -> None:
        super().__init__(
            f"The corpus holds {character!r} at position {position}, which the model's vocabulary "
            "lacks. Submit the training again: it makes a model with the corpus's own vocabulary."
        )


#: Errors that are known by their type: slug, title, and what to do, after the error's own words.
_KNOWN: tuple[tuple[type[Exception], str, str, str], ...] = (
    (TooShort, "text-too-short", "The text is too short", "Take a longer one, a smaller `window`, "
     "or another `held_out`."),
    (Diverged, "diverged", "The training diverged", "Going back to the best weights with half "
     "the rate did not help, or was turned off (`rollbacks`). Train again with a lower "
     "`learning_rate`, or with `clip_norm` set. The best checkpoint up to then is kept."),
    (Mismatch, "other-training", "The checkpoint belongs to another training", "Submit the "
     "training again: it begins anew."),
    (UnknownCharacter, "unknown-character", "A character the model does not know", "Leave it out "
     "of the prompt, or let `unknown` be \"skip\" or \"replace\"."),
    (NotFinite, "not-finite", "The checkpoint cannot write", "Its training diverged: name an "
     "earlier checkpoint, or `best`."),
    (BadCheckpoint, "bad-checkpoint", "The checkpoint is damaged", "Name another checkpoint of "
     "the model (`latest`, or an id)."),
    (CorruptBlob, "damaged-bytes", "Stored bytes are damaged", "Name another checkpoint, or "
     "upload the corpus again; the server's admin should check its disk."),
    (StorageFull, StorageFull.slug, "The checkpoint may not be stored", "Then run it again."),
    (MissingBlob, "missing-bytes", "Stored bytes are missing", "Name another checkpoint, or "
     "upload the corpus again; the server's admin should check its database."),
)  # fmt: skip
_OUT_OF_MEMORY = {
    "train": "Ask for less: fewer `units` or `layers`, a smaller `batch_size` or `window`.",
    "generate": "Ask for less: fewer texts at once (`n`, temperatures), or a smaller model.",
}


def explain(error: Exception, kind: str) -> dict[str, Any]:
    """A failure as its job's owner reads it."""
    if isinstance(error, RunFailed):
        return problem(error.slug, error.title, error.detail)
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return problem(
            "out-of-memory",
            "The device has too little memory",
            f"The run needed more memory than its device has. {_OUT_OF_MEMORY[kind]}",
        )
    for known, slug, title, way_out in _KNOWN:
        if isinstance(error, known):
            words = str(error)
            return problem(slug, title, f"{words[:1].upper()}{words[1:]}. {way_out}")
    return problem(
        "unexpected-error",
        "The job failed unexpectedly",
        f"{type(error).__name__}: {error}. The worker's log has more; running the job again may "
        "help, and if it does not, this is a fault of Quire's.",
    )


def overdue(kind: str) -> dict[str, Any]:
    """The failure of a run that took longer than its `deadline_seconds`."""
    kept = "checkpoints are kept" if kind == "train" else "texts are kept as far as they go"
    return problem(
        "deadline-reached",
        "It took longer than it might",
        f"The job had run for its `deadline_seconds` and was not done. Its {kept}; "
        "run it again with a longer deadline, or without one.",
    )


def is_known(error: Exception) -> bool:
    """Whether the error explains itself, so that no traceback is needed."""
    known = (RunFailed, MemoryError, tf.errors.ResourceExhaustedError)
    return isinstance(error, known) or any(isinstance(error, entry[0]) for entry in _KNOWN)
