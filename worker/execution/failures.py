"""Why a run can fail, as its owner reads it: every error names its way out."""

from collections.abc import Mapping
from typing import Any

from shared.blobs import CorruptBlob, MissingBlob
from shared.queue.types import problem
from shared.scheduling.errors import GroupFull, StorageFull
from shared.scheduling.network_memory import NetworkTooLarge
from shared.texts.vocabulary import UnknownLetter
from worker.execution.device_errors import is_out_of_memory
from worker.ml.checkpoint import BadCheckpoint
from worker.ml.holdout import TooShort, WindowTooLong
from worker.ml.sampling.sampler import NonFiniteWeights
from worker.ml.training.divergence import Diverged
from worker.ml.training.variables import CheckpointMismatch
from worker.ml.vocabulary import UnknownCharacter


class RunFailed(Exception):
    """A run cannot go on, for a reason that its owner can act on."""

    slug = "failed"
    title = "The job failed"

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class ModelDeleted(RunFailed):
    """The model was deleted while the job was queued."""

    slug = "model-deleted"
    title = "The model was deleted"

    def __init__(self) -> None:
        super().__init__(
            "The job's model was deleted before the job ran. Train it again, or name another model."
        )


class CorpusDeleted(RunFailed):
    """The corpus was deleted, and the run needs its text."""

    slug = "corpus-deleted"
    title = "The corpus was deleted"

    def __init__(self, kind: str) -> None:
        ways_out = {
            "train": "Upload it again, and train on the new corpus.",
            "generate": "Random prompts are taken from it: give a `prompt` instead.",
            "score": "Upload it again, and score the new corpus.",
            "compare": "Texts are compared with it: leave `only_new` and `nearest` out.",
        }
        super().__init__(f"The job's corpus was deleted before the job ran. {ways_out[kind]}")


class NothingToScore(RunFailed):
    """Nothing of the corpus is in the model's vocabulary."""

    slug = "nothing-to-score"
    title = "Nothing to score"

    def __init__(self) -> None:
        super().__init__(
            "No character of the corpus is in the model's vocabulary. Score another text."
        )


class StartingPointDeleted(RunFailed):
    """The checkpoint that a training should start from was deleted."""

    slug = "checkpoint-gone"
    title = "The checkpoint to start from was deleted"

    def __init__(self, checkpoint_id: str) -> None:
        super().__init__(
            f"Checkpoint {checkpoint_id}, which the training should start from, was deleted before "
            "the training ran. Start from another checkpoint (`from`), or from scratch without it."
        )


class NoSuchCheckpoint(RunFailed):
    """The model has no checkpoint of the requested name."""

    slug = "no-checkpoint"
    title = "The model has no such checkpoint"

    def __init__(self, requested: str) -> None:
        super().__init__(
            f"`checkpoint` is {requested!r}, but the model has no such checkpoint. Wait until its "
            "training has saved one, or name another; GET /v1/models/{id}/checkpoints lists them."
        )


class VocabularyMismatch(RunFailed):
    """The corpus holds a character that the model's vocabulary lacks."""

    slug = "other-vocabulary"
    title = "The corpus does not fit the model"

    def __init__(self, character: str, position: int) -> None:
        super().__init__(
            f"The corpus holds {character!r} at position {position}, which the model's vocabulary "
            "lacks. Submit the training again: it makes a model with the corpus's own vocabulary."
        )


#: Errors known by their type: slug, title, and the way out, which follows the error's own message.
_KNOWN: tuple[tuple[type[Exception], str, str, str], ...] = (
    (TooShort, "text-too-short", "The text is too short", "Use a longer text, a smaller `window` "
     "or another `held_out`."),
    (WindowTooLong, "window-too-long", "The window is too long", "Use a smaller `window`."),
    (Diverged, "diverged", "The training diverged", "Restoring the best weights at half the "
     "learning rate did not help, or `rollbacks` turned it off. Train again with a lower "
     "`learning_rate`, or set `clip_norm`. The best checkpoint so far is kept."),
    (CheckpointMismatch, "other-training", "The checkpoint belongs to another training",
     "Submit the training again: it starts from scratch."),
    (UnknownLetter, "unknown-character", "The model does not know a character", "Score another "
     "text, or set `unknown` to \"skip\" or \"replace\"."),
    (UnknownCharacter, "unknown-character", "The model does not know a character", "Remove it "
     "from the prompt, or set `unknown` to \"skip\" or \"replace\"."),
    (NonFiniteWeights, "not-finite", "The checkpoint cannot generate text",
     "Its training diverged: name an earlier checkpoint, or `best`."),
    (NetworkTooLarge, "does-not-fit", "The network does not fit on a worker", "Train a smaller "
     "one, or ask the server's admin."),
    (BadCheckpoint, "bad-checkpoint", "The checkpoint is damaged", "Name another checkpoint of "
     "the model (`latest`, or an id)."),
    (CorruptBlob, "damaged-bytes", "Stored bytes are damaged", "Name another checkpoint, or "
     "upload the corpus again. The server's admin should check its disk."),
    (StorageFull, StorageFull.slug, "No storage is left for the checkpoint", "Then run the job "
     "again."),
    (GroupFull, GroupFull.slug, "No storage is left for the checkpoint", "Then run the job "
     "again."),
    (MissingBlob, "missing-bytes", "Stored bytes are missing", "Name another checkpoint, or "
     "upload the corpus again. The server's admin should check its database."),
)  # fmt: skip
#: The numbers whose lowering saves memory, each with its least useful value, and which helps best.
_MEMORY_NUMBERS = {"batch_size": 16, "units": 64, "window": 32, "layers": 1}


def explain(error: Exception, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A failure as the job's owner reads it; `spec` is the job's."""
    if isinstance(error, RunFailed):
        return problem(error.slug, error.title, error.detail)
    if is_out_of_memory(error):
        return problem(
            "out-of-memory",
            "The device ran out of memory",
            f"The run needed more memory than its device has. {_less_memory(kind, spec)}",
        )
    for known, slug, title, way_out in _KNOWN:
        if isinstance(error, known):
            message = str(error)
            return problem(slug, title, f"{message[:1].upper()}{message[1:]}. {way_out}")
    return problem(
        "unexpected-error",
        "The job failed unexpectedly",
        f"{type(error).__name__}: {error}. Run the job again; if it fails again, this is a bug in "
        "Quire. The worker's log has the details.",
    )


def deadline_exceeded(kind: str) -> dict[str, Any]:
    """The failure of a run that took longer than its `deadline_seconds`."""
    kept = "checkpoints" if kind == "train" else "texts written so far"
    return problem(
        "deadline-reached",
        "Deadline exceeded",
        f"The job ran for its `deadline_seconds` without finishing. Its {kept} are kept. Run it "
        "again with a longer deadline, or without one.",
    )


def is_known(error: Exception) -> bool:
    """Whether the error explains itself, so that no traceback is needed."""
    if isinstance(error, RunFailed) or is_out_of_memory(error):
        return True
    return any(isinstance(error, entry[0]) for entry in _KNOWN)


def _less_memory(kind: str, spec: Mapping[str, Any]) -> str:
    """The number of a spec to lower, with half of its value."""
    if kind == "train":
        for name, least in _MEMORY_NUMBERS.items():
            value = spec.get(name)
            if isinstance(value, int) and value > least:
                return f"Lower `{name}` from {value} to {max(least, value // 2)}, then train again."
        return "Use fewer `units` or `layers`, or a smaller `batch_size` or `window`."
    texts = spec.get("n")
    if isinstance(texts, int) and texts > 1:
        return f"Lower `n` from {texts} to {texts // 2}, or use a smaller model."
    return "Ask for fewer texts at once (`temperatures`), or use a smaller model."
