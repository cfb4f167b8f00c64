"""Starts a training from a checkpoint: continues its training, or begins a new one.

A training continues to the bit if the text is the same and only its length changes. Otherwise it
takes the checkpoint's weights as initial weights: the schedule and the optimizer start anew, and
new characters get rows and columns of their own.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.items import ItemHoldout
from worker.ml.model import initial_weights
from worker.ml.training.variables import CheckpointMismatch, initial_variables, to_checkpoint
from worker.ml.vocabulary import Vocabulary

#: Fields that may change when a training continues: they decide only how long it lasts.
_LENGTH = ("epochs", "seconds", "patience", "rollbacks")
#: Fields that checkpoints of earlier releases lack, with the values that those trained with.
_FIRST_VALUES = {"dropout": 0.0, "holdout": "tail", "items": False}
#: Fields that decide only the last bits: a resume with others is labelled inexact.
_MACHINE = ("threads", "shards")


def can_continue(state: TrainingState, config: TrainConfig) -> bool:
    """Whether `config`, on the checkpoint's own text, continues the checkpoint's training.

    A falling schedule cannot continue: with more steps it would have fallen more slowly.
    """
    if config.schedule != "constant" or config.epochs is None:
        return False
    if not state.training:  # an imported model that came without its optimizer state
        return False
    left_out = (*_LENGTH, *_MACHINE)
    before, now = _FIRST_VALUES | state.meta["config"], config.as_dict()
    return all(before.get(name) == value for name, value in now.items() if name not in left_out)


def extend_epochs(state: TrainingState, config: TrainConfig, steps_per_epoch: int) -> TrainConfig:
    """Add the epochs before the start step of `state`, so that it trains `epochs` more."""
    if config.epochs is None:
        return config
    steps = int(state.meta.get("start_step", 0)) + round(config.epochs * steps_per_epoch)
    epochs, within = divmod(steps, steps_per_epoch)
    return replace(config, epochs=steps / steps_per_epoch if within else epochs)


def initial_state(
    state: TrainingState,
    config: TrainConfig,
    vocabulary: Vocabulary,
    fingerprint: dict[str, Any],
    holdout: Holdout | ItemHoldout,
    *,
    lowercase: bool,
    same_text: bool,
) -> TrainingState:
    """The first state of a training that starts from a checkpoint.

    Args:
        state: The checkpoint to start from.
        config: The new training's config.
        vocabulary: The new training's vocabulary: the checkpoint's characters, then new ones.
        fingerprint: Fingerprint of this process; see `checkpoint.fingerprint`.
        holdout: The new training's held-out pieces: the checkpoint's own on the same corpus, or
            the network would be judged on what it has learnt.
        lowercase: Whether the new text is lower-cased.
        same_text: Whether the text is the one that `state` was trained on.

    Raises:
        CheckpointMismatch: The network or the order of the known characters differs.
    """
    if same_text and can_continue(state, config):
        loop = {**state.meta["loop"], "stopped": False}
        if state.meta["loop"].get("stopped"):
            loop["stale"] = 0
        start = {"start_step": loop["step"], "start_rollbacks": loop["rollbacks"]}
        return replace(state, meta={**state.meta, "loop": loop, **start})
    same_words = vocabulary.words == state.words and (
        vocabulary.word_rules == state.word_rules or not state.words
    )
    if not vocabulary.characters.startswith(state.characters) or not same_words:
        raise CheckpointMismatch("the new vocabulary does not begin with the checkpoint's own")
    if replace(state.network, vocabulary_size=len(vocabulary)) != config.network:
        raise CheckpointMismatch(f"a checkpoint of {state.network} cannot start {config.network}")
    weights = initial_weights(config.network, config.seed)
    if config.network.tied_embedding:
        # At 0, characters that the network has never seen would be its likeliest.
        weights["head.bias"][...] = state.weights["head.bias"].min()
    ids = _new_ids(state, vocabulary)
    for name, known in state.weights.items():
        axis = _vocabulary_axis(name, config)
        if axis is None:
            weights[name][...] = known
        elif axis == 0:
            weights[name][ids] = known
        else:
            weights[name][:, ids] = known
    stored, training = to_checkpoint(initial_variables(config, weights), config)
    return TrainingState(
        weights=stored,
        training=training,
        network=config.network,
        characters=vocabulary.characters,
        words=vocabulary.words,
        word_rules=vocabulary.word_rules,
        lowercase=lowercase,
        meta={
            "step": 0,
            "epoch": 0.0,
            "loss": None,
            "val_loss": None,
            "loop": {},
            "holdout": holdout.as_dict(),
            "config": config.as_dict(),
            "fingerprint": fingerprint,
        },
    )


def _new_ids(state: TrainingState, vocabulary: Vocabulary) -> npt.NDArray[np.intp]:
    """The new id of each of the checkpoint's tokens: new characters shift the words."""
    characters = np.arange(len(state.characters))
    words = len(vocabulary.characters) + np.arange(len(state.words))
    return np.concatenate([characters, words])


def _vocabulary_axis(name: str, config: TrainConfig) -> int | None:
    """The axis of a weight that has an entry per token; None if it has none."""
    if name == "head.kernel":
        return 1
    first = "embedding" if config.network.embedding else "lstm.0.kernel"
    return 0 if name in (first, "head.bias") else None
