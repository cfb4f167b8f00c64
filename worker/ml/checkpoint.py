"""A training at one moment, as bytes anybody can read: safetensors and JSON, no pickle.

The network's weights stand under their documented names in their true shapes, so that a page of
NumPy can run it. What only a resumed training needs (optimizer slots, raw weights beside their
average) stands under the prefix `training.`. The header's metadata holds one entry, `quire`.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worker.ml.config import NetworkConfig
from worker.ml.vocabulary import Vocabulary

FORMAT = 1
TRAINING_PREFIX = "training."
METADATA_KEY = "quire"
#: Instruction sets that decide which kernels run, and with them the last bits of a result.
CPU_FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd")

Array = npt.NDArray[Any]


class BadCheckpoint(ValueError):
    """These bytes are not a checkpoint of Quire, or not one that fits its own description."""


@dataclass(frozen=True)
class TrainingState:
    """Everything needed to generate, and to go on training as if nothing had happened.

    Attributes:
        weights: Those to generate with, float32, named and shaped as `network.weight_shapes()`.
        training: Float32 of the weights' shapes: optimizer slots (`momentum.…`, `velocity.…`)
            and, where `weights` are an average, those that are trained (`raw.…`).
        network: The network's numbers.
        characters: Those of the vocabulary, in the order of their ids.
        lowercase: Whether texts are lower-cased before they are encoded.
        meta: JSON values. `step`, `epoch`, `loss`, `val_loss`; `loop`, the loop's own state;
            `config`, how it was trained; `start_step`, the first checkpoint's of that training,
            and `start_rollbacks`, those before it;
            `fingerprint`, what computed it; `exact`, whether that computed all of it.
        words: Those of the vocabulary, whose ids follow; none with `tokenizer: "char"`.
    """

    weights: Mapping[str, Array]
    training: Mapping[str, Array]
    network: NetworkConfig
    characters: str
    lowercase: bool
    meta: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)


def pack(checkpoint: TrainingState) -> bytes:
    """The checkpoint as safetensors; the same checkpoint gives the same bytes."""
    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.weights.items()}
    for name, array in checkpoint.training.items():
        tensors[TRAINING_PREFIX + name] = np.ascontiguousarray(array)
    described = {"format": FORMAT, **_description(checkpoint), "meta": dict(checkpoint.meta)}
    return save(tensors, metadata={METADATA_KEY: _canonical(described)})


def unpack(data: bytes) -> TrainingState:
    """The checkpoint that `pack` wrote.

    Raises:
        BadCheckpoint: The bytes are damaged or cut short, or a tensor's name, shape or type does
            not fit the network that the header describes.
    """
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        described = json.loads(header["__metadata__"][METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"not a checkpoint of Quire: {error}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise BadCheckpoint(f"the header is not of format {FORMAT}, the only one known here")
    training = {
        name.removeprefix(TRAINING_PREFIX): array
        for name, array in tensors.items()
        if name.startswith(TRAINING_PREFIX)
    }
    weights = {name: array for name, array in tensors.items() if name not in _prefixed(training)}
    if not _is_described(described):
        raise BadCheckpoint("the header misses what a network needs, or has it in another type")
    try:
        return TrainingState(
            weights=weights,
            training=training,
            network=NetworkConfig(**described["network"]),
            characters=described["characters"],
            lowercase=described["lowercase"],
            meta=described["meta"],
            words=tuple(described.get("words", ())),
        )
    except BadCheckpoint:
        raise
    except (ValueError, TypeError) as error:
        raise BadCheckpoint(f"the header does not describe a network: {error}") from error


def digest(checkpoint: TrainingState) -> str:
    """SHA-256 over all variables, the vocabulary, the config and the loop's state, in hexadecimal.

    What computed it (the fingerprint) and what was measured beside it do not count: two runs that
    agree in every bit of the training agree here.
    """
    sha = hashlib.sha256()
    facts = {key: checkpoint.meta.get(key) for key in ("loop", "config")}
    sha.update(_canonical({**_description(checkpoint), **facts}).encode())
    for kind, tensors in (("weights", checkpoint.weights), ("training", checkpoint.training)):
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            sha.update(f"\n{kind} {name} {array.dtype.str} {array.shape}\n".encode())
            sha.update(array.data)
    return sha.hexdigest()


@cache
def fingerprint(threads: int, shards: int, device: str) -> dict[str, Any]:
    """What decides the last bits of a training: versions, processor, thread and shard counts.

    Equal instruction sets are not enough: how a product is cut depends on the caches as well.
    """
    return {
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
        "numpy": version("numpy"),
        "machine": platform.machine(),
        "cpu": ", ".join(sorted(_cpuinfo("model name", "Model"))),
        "cpu_features": _cpu_features(),
        "threads": threads,
        "shards": shards,
        "device": device,
    }


def _cpu_features() -> list[str]:
    flags = {flag for flags in _cpuinfo("flags", "Features") for flag in flags.split()}
    return [name for name in CPU_FEATURES if name in flags]


def _cpuinfo(*keys: str) -> set[str]:
    """What Linux says of the processors under one of those names; each value once."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    entries = (line.partition(":") for line in lines)
    return {value.strip() for key, _, value in entries if key.strip() in keys}


def _check(checkpoint: TrainingState) -> None:
    shapes = checkpoint.network.weight_shapes()
    missing, unknown = shapes.keys() - checkpoint.weights.keys(), checkpoint.weights.keys() - shapes
    if missing or unknown:
        raise BadCheckpoint(f"weights missing: {sorted(missing)}; not known: {sorted(unknown)}")
    for name, array in checkpoint.weights.items():
        _check_array(name, array, shapes[name])
    for name, array in checkpoint.training.items():
        weight = name.partition(".")[2]
        if weight not in shapes:
            raise BadCheckpoint(f"{TRAINING_PREFIX}{name} belongs to no weight of this network")
        _check_array(TRAINING_PREFIX + name, array, shapes[weight])
    try:
        size = len(Vocabulary(checkpoint.characters, checkpoint.words))
    except ValueError as error:
        raise BadCheckpoint(str(error)) from error
    if size != checkpoint.network.vocabulary_size:
        raise BadCheckpoint(f"{size} tokens for a network of {checkpoint.network.vocabulary_size}")


def _check_array(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32:
        raise BadCheckpoint(
            f"{name} is {array.dtype} {array.shape}; this network needs float32 {shape}"
        )


def _description(checkpoint: TrainingState) -> dict[str, Any]:
    return {
        "network": asdict(checkpoint.network),
        "characters": checkpoint.characters,
        **({"words": list(checkpoint.words)} if checkpoint.words else {}),
        "lowercase": checkpoint.lowercase,
    }


def _is_described(described: dict[str, Any]) -> bool:
    kinds = {"network": dict, "characters": str, "lowercase": bool, "meta": dict}
    words = described.get("words", [])
    listed = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return listed and all(isinstance(described.get(key), kind) for key, kind in kinds.items())


def _prefixed(training: Mapping[str, Array]) -> set[str]:
    return {TRAINING_PREFIX + name for name in training}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
