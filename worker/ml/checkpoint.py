"""The state of a training as bytes in an open format: safetensors and JSON, no pickle.

The network's weights have their documented names and true shapes, so a page of NumPy can run the
network. Tensors that only a resumed training needs (optimizer slots, raw weights beside their
average) have the prefix `training.`. The header's metadata has one entry, `quire`.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worker.ml.config import NetworkConfig
from worker.ml.gpu_facts import gpu_facts
from worker.ml.vocabulary import Vocabulary
from worker.ml.words import NEWEST_RULES

#: The format is the version of the rules for words. A model of characters is still written as
#: format 1, which every release reads.
FORMATS = (1, 2)
TRAINING_PREFIX = "training."
METADATA_KEY = "quire"
#: Instruction sets that decide which kernels run, and so the last bits of a result.
CPU_FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd")

Array = npt.NDArray[Any]


class BadCheckpoint(ValueError):
    """The bytes are not a checkpoint of Quire, or its tensors don't match its header."""


@dataclass(frozen=True)
class TrainingState:
    """Everything needed to generate, and to resume the training to the bit.

    Attributes:
        weights: The weights to generate with, float32, named and shaped as in
            `network.weight_shapes()`.
        training: Float32 arrays of the weights' shapes: optimizer slots (`momentum.…`,
            `velocity.…`) and, if `weights` are an average, the trained weights (`raw.…`).
        network: The network's dimensions.
        characters: The characters of the vocabulary, in the order of their ids.
        lowercase: Whether texts are lower-cased before they are encoded.
        meta: JSON values: `step`, `epoch`, `loss`, `val_loss`; `loop`, the state of the loop;
            `config`, the training's config; `start_step`, the step of its first checkpoint, and
            `start_rollbacks`, the rollbacks before that; `holdout`, the pieces of the text that
            judge the training; `fingerprint`, what computed it; `exact`, whether one fingerprint
            computed all steps.
        words: The words of the vocabulary, whose ids follow; empty with `tokenizer: "char"`.
        word_rules: How texts are cut into words; a key of `worker.ml.words.RULES`.

    Raises:
        BadCheckpoint: Names, shapes, types or the vocabulary don't match the network.
    """

    weights: Mapping[str, Array]
    training: Mapping[str, Array]
    network: NetworkConfig
    characters: str
    lowercase: bool
    meta: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    word_rules: int = NEWEST_RULES

    @property
    def vocabulary(self) -> Vocabulary:
        """The network's tokens."""
        return Vocabulary(self.characters, self.words, self.word_rules)

    def __post_init__(self) -> None:
        _check(self)


def pack(state: TrainingState) -> bytes:
    """Serialize a state as safetensors; equal states give equal bytes."""
    tensors = {name: np.ascontiguousarray(array) for name, array in state.weights.items()}
    for name, array in state.training.items():
        tensors[TRAINING_PREFIX + name] = np.ascontiguousarray(array)
    number = state.word_rules if state.words else FORMATS[0]
    metadata = {"format": number, **_description(state), "meta": dict(state.meta)}
    return save(tensors, metadata={METADATA_KEY: _canonical(metadata)})


def unpack(data: bytes) -> TrainingState:
    """Deserialize a state that `pack` wrote.

    Raises:
        BadCheckpoint: The bytes are damaged or truncated, or the name, shape or type of a tensor
            does not match the network in the header.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"not a checkpoint of Quire: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("format") not in FORMATS:
        raise BadCheckpoint(f"the header is of none of the formats {FORMATS}")
    training = {
        name.removeprefix(TRAINING_PREFIX): array
        for name, array in tensors.items()
        if name.startswith(TRAINING_PREFIX)
    }
    weights = {name: array for name, array in tensors.items() if name not in _prefixed(training)}
    if not _has_valid_fields(metadata):
        raise BadCheckpoint("the header misses a field of a checkpoint, or has one of another type")
    try:
        return TrainingState(
            weights=weights,
            training=training,
            network=NetworkConfig(**metadata["network"]),
            characters=metadata["characters"],
            lowercase=metadata["lowercase"],
            meta=metadata["meta"],
            words=tuple(metadata.get("words", ())),
            word_rules=metadata["format"],
        )
    except BadCheckpoint:
        raise
    except (ValueError, TypeError) as error:
        raise BadCheckpoint(f"the header does not describe a network: {error}") from error


def digest(state: TrainingState) -> str:
    """SHA-256 of all variables, the vocabulary, the config and the loop's state, in hexadecimal.

    The fingerprint and other measurements are left out, so two runs whose trainings agree in every
    bit have equal digests.
    """
    sha = hashlib.sha256()
    facts = {key: state.meta.get(key) for key in ("loop", "config")}
    sha.update(_canonical({**_description(state), **facts}).encode())
    for kind, tensors in (("weights", state.weights), ("training", state.training)):
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            sha.update(f"\n{kind} {name} {array.dtype.str} {array.shape}\n".encode())
            sha.update(array.data)
    return sha.hexdigest()


@cache
def fingerprint(threads: int, shards: int, device: str) -> dict[str, Any]:
    """What decides the last bits of a training: versions, processor, thread and shard counts.

    Equal instruction sets are not enough, because the tiling of a product also depends on caches.
    On a GPU its model, driver and libraries are among it.
    """
    return {
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
        "numpy": version("numpy"),
        "machine": platform.machine(),
        "cpu": ", ".join(sorted(_cpuinfo("model name", "Model"))),
        "cpu_features": cpu_features(),
        "threads": threads,
        "shards": shards,
        "device": device,
        **(gpu_facts() if device == "gpu" else {}),
    }


def cpu_features() -> list[str]:
    """The instruction sets of this processor that decide which kernels run."""
    flags = {flag for flags in _cpuinfo("flags", "Features") for flag in flags.split()}
    return [name for name in CPU_FEATURES if name in flags]


def _cpuinfo(*keys: str) -> set[str]:
    """The distinct values of any of these keys in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    entries = (line.partition(":") for line in lines)
    return {value.strip() for key, _, value in entries if key.strip() in keys}


def _check(state: TrainingState) -> None:
    shapes = state.network.weight_shapes()
    missing, unknown = shapes.keys() - state.weights.keys(), state.weights.keys() - shapes
    if missing or unknown:
        raise BadCheckpoint(
            f"missing weights: {sorted(missing)}; unknown weights: {sorted(unknown)}"
        )
    for name, array in state.weights.items():
        _check_array(name, array, shapes[name])
    for name, array in state.training.items():
        weight = name.partition(".")[2]
        if weight not in shapes:
            raise BadCheckpoint(f"{TRAINING_PREFIX}{name} belongs to no weight of this network")
        _check_array(TRAINING_PREFIX + name, array, shapes[weight])
    try:
        size = len(state.vocabulary)
    except ValueError as error:
        raise BadCheckpoint(str(error)) from error
    if size != state.network.vocabulary_size:
        raise BadCheckpoint(f"{size} tokens for a network of {state.network.vocabulary_size}")


def _check_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32:
        raise BadCheckpoint(
            f"{name} is {array.dtype} {array.shape}; this network needs float32 {shape}"
        )


def _description(state: TrainingState) -> dict[str, Any]:
    return {
        "network": state.network.as_dict(),
        "characters": state.characters,
        **({"words": list(state.words)} if state.words else {}),
        "lowercase": state.lowercase,
    }


def _has_valid_fields(metadata: dict[str, Any]) -> bool:
    kinds = {"network": dict, "characters": str, "lowercase": bool, "meta": dict}
    words = metadata.get("words", [])
    listed = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return listed and all(isinstance(metadata.get(key), kind) for key, kind in kinds.items())


def _prefixed(training: Mapping[str, Array]) -> set[str]:
    return {TRAINING_PREFIX + name for name in training}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
