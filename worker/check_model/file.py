"""The whole file: its tensors and its metadata, which must describe one model."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from shared.model_files.about import CHECKPOINT_KEY, MODEL_KEY, TRAINING_PREFIX, About
from shared.model_files.header import (
    LENGTH_BYTES,
    Header,
    RefusedFile,
    header_length,
    parse_header,
    parse_json,
)
from worker.check_model.metadata import about_of, network_of, vocabulary_of
from worker.check_model.tensors import Array, check_numbers, check_training, check_weights
from worker.check_model.training_facts import meta_of
from worker.ml.checkpoint import BadCheckpoint, TrainingState, digest


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
    about = about_of(header.metadata[MODEL_KEY])
    network = network_of(described, about, len(arrays))
    weights = {
        name: array for name, array in arrays.items() if not name.startswith(TRAINING_PREFIX)
    }
    training = {
        name.removeprefix(TRAINING_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(TRAINING_PREFIX)
    }
    shapes = network.weight_shapes()
    check_weights(weights, shapes)
    vocabulary = vocabulary_of(described, about, network)
    meta = meta_of(described, about, network)
    check_training(training, meta, about, shapes)
    for name, array in arrays.items():
        check_numbers(name, array)
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
