"""What the checkpoint says of its training: numbers that a server shows, and goes on from."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from shared.model_files.about import CHECKPOINT_KEY, About
from shared.model_files.header import RefusedFile
from worker.check_model.metadata import check_strings
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.training.loop_state import LoopState

MAX_FINGERPRINT_CHARACTERS = 8192
MAX_PIECES = 1000
MAX_STEP = 2**31 - 1
#: What the config of a training may have otherwise than its spec: one that goes on with another
#: training begins with that one's, and a worker has threads of its own.
LENGTH_AND_MACHINE = ("epochs", "seconds", "patience", "rollbacks", "threads", "shards")


def meta_of(described: Mapping[str, Any], about: About, network: NetworkConfig) -> dict[str, Any]:
    """What the checkpoint says of its training, as far as a server relies on it."""
    meta = described.get("meta")
    if not isinstance(meta, dict):
        raise RefusedFile("bad-metadata", f"{CHECKPOINT_KEY}: meta is missing")
    check_strings(meta, "meta")
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
