"""The tensors: which there are, their shapes, and every number in them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.model_files.about import TRAINING_PREFIX, About
from shared.model_files.header import RefusedFile

Array = npt.NDArray[np.float32]

#: Numbers looked at together.
BLOCK_NUMBERS = 1 << 20
#: The slots of each optimizer, as in worker/ml/training/optimizer.py, which needs TensorFlow.
SLOTS = {"rmsprop": {"velocity"}, "adam": {"momentum", "velocity"}}


def check_weights(weights: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that all weights of the network are there, and no others, in their shapes."""
    if missing := sorted(shapes.keys() - weights.keys()):
        raise RefusedFile("missing-tensors", f"the network needs {', '.join(missing[:5])}")
    if unknown := sorted(weights.keys() - shapes.keys()):
        shown = ", ".join(repr(name[:100]) for name in unknown[:5])
        raise RefusedFile("unknown-tensors", f"the network has no {shown}")
    for name, array in weights.items():
        _check_shape(name, array, shapes[name])


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise RefusedFile(
            "wrong-shape",
            f"{name} has the shape {list(array.shape)}, and the network needs {list(shape)}",
        )


def check_training(
    training: Mapping[str, Array],
    meta: Mapping[str, Any],
    about: About,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Check that the optimizer state is whole, or not there."""
    if bool(training) != about.origin.optimizer:
        there = "an" if training else "no"
        raise RefusedFile(
            "missing-tensors", f"the file has {there} optimizer state, and says otherwise"
        )
    if not training:
        return
    groups = {name.partition(".")[0] for name in training}
    expected = SLOTS[about.spec.optimizer]
    if meta["config"].get("average_decay") is not None:
        expected = expected | {"raw"}
    names = {f"{group}.{name}" for group in expected for name in shapes}
    if missing := sorted(names - training.keys()):
        raise RefusedFile("missing-tensors", f"the optimizer needs {TRAINING_PREFIX}{missing[0]}")
    if unknown := sorted(training.keys() - names):
        raise RefusedFile(
            "unknown-tensors",
            f"a training with {about.spec.optimizer} has no {TRAINING_PREFIX}{unknown[0][:100]}",
        )
    for name, array in training.items():
        _check_shape(TRAINING_PREFIX + name, array, shapes[name.partition(".")[2]])
    for group in groups & {"velocity"}:
        for name in shapes:
            if training[f"{group}.{name}"].min(initial=0) < 0:
                raise RefusedFile(
                    "impossible-number",
                    f"{TRAINING_PREFIX}{group}.{name} has a mean of squares below 0",
                )


def check_numbers(name: str, array: Array) -> None:
    """Check that every number is finite."""
    flat = array.reshape(-1)
    for start in range(0, len(flat), BLOCK_NUMBERS):
        finite = np.isfinite(flat[start : start + BLOCK_NUMBERS])
        if not finite.all():
            place = start + int(np.argmin(finite))
            raise RefusedFile(
                "not-finite", f"number {place:,} of {name} is {flat[place]}, and must be finite"
            )
