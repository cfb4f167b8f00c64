"""``python -m worker.check_model FILE``: read an exported model's file, and trust nothing of it.

The API runs this as a process of its own: a file that somebody sends reaches NumPy only where it
can take down nothing but itself. It prints one JSON object: what the file holds, or why it is
refused.
"""

import json
import mmap
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from shared.model_files.about import CHECKPOINT_KEY, MODEL_KEY, TRAINING_PREFIX, About
from shared.model_files.header import (
    LENGTH_BYTES,
    Header,
    RefusedFile,
    header_length,
    parse_header,
    parse_json,
)
from shared.texts.characters import forbidden_at
from worker.ml.checkpoint import BadCheckpoint, TrainingState, digest
from worker.ml.config import ITEM_BEGIN, ITEM_END, NetworkConfig, TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.training.loop_state import LoopState
from worker.ml.vocabulary import Vocabulary

Array = npt.NDArray[np.float32]

#: What the process may take beside the file: Python and NumPy, and a header in pieces.
MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 120
NICENESS = 5
#: Numbers looked at together.
BLOCK_NUMBERS = 1 << 20
MAX_FINGERPRINT_CHARACTERS = 8192
MAX_PIECES = 1000
#: What the config of a training may have otherwise than its spec: one that goes on with another
#: training begins with that one's, and a worker has threads of its own.
LENGTH_AND_MACHINE = ("epochs", "seconds", "patience", "rollbacks", "threads", "shards")
#: The slots of each optimizer, as in worker/ml/training/optimizer.py, which needs TensorFlow.
SLOTS = {"rmsprop": {"velocity"}, "adam": {"momentum", "velocity"}}
MAX_STEP = 2**31 - 1


def main(arguments: list[str]) -> int:
    """Check one file; see the module."""
    path = Path(arguments[0])
    # The API keeps itself to one core, which it needs for answers.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    os.nice(NICENESS)
    limit = MEMORY_BYTES + 2 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        answer: dict[str, Any] = check(path)
    except RefusedFile as error:
        answer = {"refused": {"code": error.code, "message": str(error)}}
    json.dump(answer, sys.stdout)
    return 0


def check(path: Path) -> dict[str, Any]:
    """Read a file, and return what rows of a model and a checkpoint need.

    Raises:
        RefusedFile: Something about the file is wrong; the message says what.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        length = header_length(start, size)
        header = parse_header(start + file.read(length), size)
        state, about = _state(header, _arrays(header, file.fileno(), size))
    found = digest(state)
    if about.origin.optimizer and found != about.origin.digest:
        raise RefusedFile(
            "digest-mismatch",
            f"the digest of its numbers is {found}, and the file says {about.origin.digest}: it "
            "was changed after the export",
        )
    meta = state.meta
    return {
        "name": about.name,
        "spec": about.spec.model_dump(mode="json"),
        "origin": about.origin.model_dump(),
        "characters": state.characters,
        "vocabulary_size": state.network.vocabulary_size,
        "characters_per_token": about.characters_per_token,
        "digest": found,
        "step": meta["step"],
        "epoch": meta["epoch"],
        "loss": meta["loss"],
        "val_loss": about.val_loss,
        "fingerprint": meta["fingerprint"],
        "exact": meta.get("exact", True),
        "tensors": list(header.tensors),
    }


def _arrays(header: Header, descriptor: int, size: int) -> dict[str, Array]:
    """The tensors, which are read from the file as they are looked at."""
    if size == header.size_bytes:
        raise RefusedFile("missing-tensors", "the file has no tensors")
    mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(
            mapped,
            "<f4",
            count=(tensor.end - tensor.begin) // 4,
            offset=header.size_bytes + tensor.begin,
        ).reshape(tensor.shape)
        for name, tensor in header.tensors.items()
    }


def _state(header: Header, arrays: dict[str, Array]) -> tuple[TrainingState, About]:
    if CHECKPOINT_KEY not in header.metadata:
        raise RefusedFile(
            "no-model", f"the file has no metadata {CHECKPOINT_KEY!r}: no model of Quire wrote it"
        )
    if MODEL_KEY not in header.metadata:
        raise RefusedFile(
            "no-export",
            f"the file has no metadata {MODEL_KEY!r}: it is a downloaded checkpoint. Export the "
            "model: `quire model export`",
        )
    described = parse_json(header.metadata[CHECKPOINT_KEY], CHECKPOINT_KEY, "bad-metadata")
    about = _about(header.metadata[MODEL_KEY])
    network = _network(described, about, len(arrays))
    weights = {
        name: array for name, array in arrays.items() if not name.startswith(TRAINING_PREFIX)
    }
    training = {
        name.removeprefix(TRAINING_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(TRAINING_PREFIX)
    }
    shapes = network.weight_shapes()
    _check_weights(weights, shapes)
    vocabulary = _vocabulary(described, about, network)
    meta = _meta(described, about, network)
    _check_training(training, meta, about, shapes)
    for name, array in arrays.items():
        _check_numbers(name, array)
    try:
        state = TrainingState(
            weights=weights,
            training=training,
            network=network,
            characters=vocabulary.characters,
            lowercase=about.spec.lowercase,
            meta=meta,
            words=vocabulary.words,
            word_rules=vocabulary.word_rules,
        )
    except BadCheckpoint as error:
        raise RefusedFile("bad-metadata", str(error)) from None
    return state, about


def _about(document: str) -> About:
    given = parse_json(document, MODEL_KEY, "bad-metadata")
    _check_strings(given, MODEL_KEY)
    try:
        return About.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its fields"
        raise RefusedFile("bad-metadata", f"{MODEL_KEY}: {place}: {first['msg'].lower()}") from None


def _network(described: Mapping[str, Any], about: About, tensors: int) -> NetworkConfig:
    """The network that the file describes, which must be the one of its training's numbers."""
    given = described.get("network")
    if not isinstance(given, dict):
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: network is missing")
    try:
        network = NetworkConfig(**given)
        # Before a list of its weights is made: a number of layers costs nothing to write.
        if network.layers > tensors:
            raise RefusedFile("missing-tensors", f"{network.layers:,} layers in {tensors} tensors")
        spec = about.spec.model_dump()
        expected = TrainConfig.from_spec(spec, network.vocabulary_size).network
    except (TypeError, ValueError) as error:
        if isinstance(error, RefusedFile):
            raise
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: network: {error}") from None
    for field in fields(NetworkConfig):
        is_now, should = getattr(network, field.name), getattr(expected, field.name)
        if is_now != should:
            raise RefusedFile(
                "wrong-network",
                f"the network's {field.name} is {is_now!r}, and {should!r} in its training's spec",
            )
    return network


def _check_weights(weights: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
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


def _check_training(
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


def _check_numbers(name: str, array: Array) -> None:
    flat = array.reshape(-1)
    for start in range(0, len(flat), BLOCK_NUMBERS):
        finite = np.isfinite(flat[start : start + BLOCK_NUMBERS])
        if not finite.all():
            place = start + int(np.argmin(finite))
            raise RefusedFile(
                "not-finite", f"number {place:,} of {name} is {flat[place]}, and must be finite"
            )


def _vocabulary(described: Mapping[str, Any], about: About, network: NetworkConfig) -> Vocabulary:
    characters, words = described.get("characters"), described.get("words", [])
    rules, lowercase = described.get("format"), described.get("lowercase")
    if (
        not isinstance(characters, str)
        or not isinstance(words, list)
        or not all(isinstance(word, str) for word in words)
    ):
        raise RefusedFile("bad-vocabulary", "characters must be a string, and words strings")
    marks = ITEM_BEGIN + ITEM_END
    if about.spec.items and not set(marks) <= set(characters):
        raise RefusedFile("bad-vocabulary", "a model of a list needs the marks of its items")
    plain = characters.translate({ord(mark): None for mark in marks * about.spec.items})
    place = forbidden_at(plain)
    if place is not None:
        raise RefusedFile("bad-vocabulary", f"no text may hold U+{ord(plain[place]):04X}")
    if bool(words) != (about.spec.tokenizer == "word"):
        raise RefusedFile(
            "bad-vocabulary", f"{len(words)} words with the tokenizer {about.spec.tokenizer!r}"
        )
    if lowercase is not about.spec.lowercase:
        raise RefusedFile(
            "bad-vocabulary", f"lowercase is {lowercase!r}, and otherwise in the spec"
        )
    if type(rules) is not int:
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: format is {rules!r}")
    try:
        vocabulary = Vocabulary(characters, tuple(words), rules)
    except ValueError as error:
        raise RefusedFile("bad-vocabulary", str(error)) from None
    if len(vocabulary) != network.vocabulary_size:
        raise RefusedFile(
            "bad-vocabulary",
            f"{len(vocabulary):,} tokens for a network of {network.vocabulary_size:,}",
        )
    return vocabulary


def _meta(described: Mapping[str, Any], about: About, network: NetworkConfig) -> dict[str, Any]:
    """What the checkpoint says of its training, as far as a server relies on it."""
    meta = described.get("meta")
    if not isinstance(meta, dict):
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: meta is missing")
    _check_strings(meta, "meta")
    _need(meta, "step", _is_count(meta.get("step")))
    _need(meta, "epoch", _is_number(meta.get("epoch")) and meta["epoch"] >= 0)
    for name in ("loss", "val_loss"):
        _need(meta, name, name in meta and (meta[name] is None or _is_number(meta[name])))
    for name in ("start_step", "start_rollbacks"):
        _need(meta, name, meta.get(name) is None or _is_count(meta[name]))
    _need(meta, "exact", type(meta.get("exact", True)) is bool)
    fingerprint = meta.get("fingerprint")
    _need(
        meta,
        "fingerprint",
        isinstance(fingerprint, dict) and len(json.dumps(fingerprint)) < MAX_FINGERPRINT_CHARACTERS,
    )
    _check_config(meta, about, network)
    _check_loop(meta)
    _check_holdout(meta.get("holdout"))
    return meta


def _need(meta: Mapping[str, Any], name: str, valid: bool) -> None:
    if not valid:
        raise RefusedFile("bad-metadata", f"meta.{name} can't be {repr(meta.get(name))[:100]}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_STEP


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30


def _check_config(meta: Mapping[str, Any], about: About, network: NetworkConfig) -> None:
    config = meta.get("config")
    _need(meta, "config", isinstance(config, dict))
    assert isinstance(config, dict)  # noqa: S101 - for mypy
    expected = TrainConfig.from_spec(about.spec.model_dump(), network.vocabulary_size).as_dict()
    for name, value in config.items():
        if name in expected and name not in LENGTH_AND_MACHINE and value != expected[name]:
            raise RefusedFile(
                "wrong-config",
                f"meta.config.{name} is {repr(value)[:100]}, and {expected[name]!r} in the spec",
            )


def _check_loop(meta: Mapping[str, Any]) -> None:
    loop = meta.get("loop")
    _need(meta, "loop", isinstance(loop, dict))
    assert isinstance(loop, dict)  # noqa: S101 - for mypy
    first = LoopState()
    for field in fields(LoopState):
        value, initial = loop.get(field.name), getattr(first, field.name)
        if field.name not in loop or (value is None and initial is None):
            continue
        if type(initial) is bool:
            valid = type(value) is bool
        elif type(initial) is int or field.name in ("steps_total", "best_step"):
            valid = _is_count(value)
        else:
            valid = _is_number(value)
        if not valid:
            raise RefusedFile(
                "bad-metadata", f"meta.loop.{field.name} can't be {repr(value)[:100]}"
            )
    if loop.get("step", meta["step"]) != meta["step"]:
        raise RefusedFile("bad-metadata", "meta.loop.step is not meta.step")


def _check_holdout(holdout: Any) -> None:
    if holdout is None:
        return
    try:
        if "pieces" in holdout:
            pieces = holdout["pieces"]
            numbers = [holdout["tokens"], *(bound for piece in pieces for bound in piece)]
            if len(pieces) > MAX_PIECES or not all(type(number) is int for number in numbers):
                raise ValueError("its pieces must be at most a thousand pairs of numbers")
            Holdout(holdout["tokens"], tuple((first, end) for first, end in pieces))
        else:
            counts = all(type(holdout[name]) is int for name in ("tokens", "items", "seed"))
            share = _is_number(holdout["held_out"]) and 0 < holdout["held_out"] < 1
            if not counts or not share or holdout["place"] not in ("tail", "spread"):
                raise ValueError("its numbers must be those of held-out items")
            if not 0 <= holdout["seed"] < 2**53:
                raise ValueError("its seed must be from 0 to below 2**53")
    except (TypeError, KeyError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RefusedFile("bad-metadata", f"meta.holdout: {reason[:200]}") from None


def _check_strings(value: Any, place: str) -> None:
    """Refuse characters that a database can't hold, in any string of a JSON value."""
    if isinstance(value, str) and forbidden_at(value) is not None:
        raise RefusedFile("bad-metadata", f"{place} holds a character that no text may hold")
    if isinstance(value, dict):
        for name, each in value.items():
            _check_strings(name, place)
            _check_strings(each, f"{place}.{name[:50]}")
    if isinstance(value, list):
        for each in value:
            _check_strings(each, place)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
