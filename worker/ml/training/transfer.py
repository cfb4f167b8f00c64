"""A training that begins from a checkpoint: one that goes on, or one that is new.

It goes on to the bit where the text is the same and nothing but its length is to change. Else it
takes the weights, as initial ones: the schedule and the optimizer begin anew, and characters that
the checkpoint does not know get rows and columns of their own.
"""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.checkpoint import Checkpoint
from worker.ml.config import TrainConfig
from worker.ml.model import initial_weights
from worker.ml.training.variables import Mismatch, beginning, to_checkpoint
from worker.ml.vocabulary import Vocabulary

#: What a training may change and still be the same to the bit, as long as it lasts.
_LENGTH = ("epochs", "seconds", "patience", "rollbacks")
#: What decides the last bits only: a resume elsewhere is labelled inexact.
_MACHINE = ("threads", "shards")


def goes_on(state: Checkpoint, config: TrainConfig) -> bool:
    """Whether `config`, on the checkpoint's own text, goes on with the checkpoint's training.

    A schedule that falls to its end at a training's end cannot go on: it would have been another.
    """
    if config.schedule != "constant" or config.epochs is None:
        return False
    left_out = (*_LENGTH, *_MACHINE)
    before, now = dict(state.meta["config"]), asdict(config)
    return all(before.get(name) == value for name, value in now.items() if name not in left_out)


def longer(state: Checkpoint, config: TrainConfig, steps_per_epoch: int) -> TrainConfig:
    """The config of a training that goes on from where `state` began it, `epochs` longer."""
    if config.epochs is None:
        return config
    steps = int(state.meta.get("start_step", 0)) + round(config.epochs * steps_per_epoch)
    epochs, within = divmod(steps, steps_per_epoch)
    return replace(config, epochs=steps / steps_per_epoch if within else epochs)


def first_state(
    state: Checkpoint,
    config: TrainConfig,
    vocabulary: Vocabulary,
    fingerprint: dict[str, Any],
    *,
    lowercase: bool,
    same_text: bool,
) -> Checkpoint:
    """The first checkpoint of a training that begins from `state`.

    Args:
        state: The checkpoint it begins from.
        config: Of the new training.
        vocabulary: Of the new training: the checkpoint's characters, then those that are new.
        fingerprint: What computes it.
        lowercase: Whether the new text is lower-cased.
        same_text: Whether the text is the one that `state` was trained on.

    Raises:
        Mismatch: The network or the order of the known characters is another.
    """
    if same_text and goes_on(state, config):
        loop = {**state.meta["loop"], "stopped": False}
        if state.meta["loop"].get("stopped"):
            loop["stale"] = 0
        start = {"start_step": loop["step"], "start_rollbacks": loop["rollbacks"]}
        return replace(state, meta={**state.meta, "loop": loop, **start})
    if not vocabulary.characters.startswith(state.characters) or vocabulary.words != state.words:
        raise Mismatch("the new vocabulary does not begin with what the checkpoint knows")
    if replace(state.network, vocabulary_size=len(vocabulary)) != config.network:
        raise Mismatch(f"a checkpoint of {state.network} cannot begin {config.network}")
    weights = initial_weights(config.network, config.seed)
    kept = _places(state, vocabulary)
    for name, known in state.weights.items():
        axis = _vocabulary_axis(name, config)
        if axis is None:
            weights[name][...] = known
        elif axis == 0:
            weights[name][kept] = known
        else:
            weights[name][:, kept] = known
    mine, training = to_checkpoint(beginning(config, weights), config)
    return Checkpoint(
        weights=mine,
        training=training,
        network=config.network,
        characters=vocabulary.characters,
        words=vocabulary.words,
        lowercase=lowercase,
        meta={
            "step": 0,
            "epoch": 0.0,
            "loss": None,
            "val_loss": None,
            "loop": {},
            "config": config.as_dict(),
            "fingerprint": fingerprint,
        },
    )


def _places(state: Checkpoint, vocabulary: Vocabulary) -> npt.NDArray[np.intp]:
    """Where each of the checkpoint's tokens stands now: new characters push the words back."""
    characters = np.arange(len(state.characters))
    words = len(vocabulary.characters) + np.arange(len(state.words))
    return np.concatenate([characters, words])


def _vocabulary_axis(name: str, config: TrainConfig) -> int | None:
    """The axis of a weight that has an entry for each token."""
    if name == "head.kernel":
        return 1
    first = "embedding" if config.network.embedding else "lstm.0.kernel"
    return 0 if name in (first, "head.bias") else None
