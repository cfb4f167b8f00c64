"""Real checkpoints for tests of files: small networks with random weights."""

import hashlib
import json
from typing import Any

import numpy as np

from shared import blobs
from shared.queue.types import CheckpointRecord
from tests.api.harness import ApiHarness, Person
from worker.ml.checkpoint import TrainingState, digest, pack
from worker.ml.config import TrainConfig

SMALL = {"units": 8, "layers": 1, "embedding": 4, "window": 16, "epochs": 1}
SLOTS = ("momentum", "velocity", "raw")


def state_of(
    spec: dict[str, Any], characters: str, words: tuple[str, ...] = (), step: int = 40
) -> TrainingState:
    """A checkpoint as a training with `default`'s optimizer writes it."""
    config = TrainConfig.from_spec(spec, len(characters) + len(words))
    rng = np.random.default_rng(step)
    shapes = config.network.weight_shapes()

    def arrays() -> dict[str, Any]:
        return {
            name: np.abs(rng.standard_normal(shape)).astype(np.float32)
            for name, shape in shapes.items()
        }

    return TrainingState(
        weights=arrays(),
        training={f"{slot}.{name}": each for slot in SLOTS for name, each in arrays().items()},
        network=config.network,
        characters=characters,
        words=words,
        lowercase=spec["lowercase"],
        meta={
            "step": step,
            "epoch": 1.0,
            "loss": 2.5,
            "val_loss": 2.75,
            "loop": {"step": step, "steps_total": 80, "best_val_loss": 2.75, "best_step": step},
            "config": json.loads(json.dumps(config.as_dict())),
            "holdout": {"tokens": 4000, "pieces": [[100, 300]]},
            "fingerprint": {"threads": 1, "cpu": "a processor"},
            "exact": True,
        },
    )


def trained(harness: ApiHarness, person: Person, **fields: Any) -> Any:
    """A model with one real checkpoint, from a training that has succeeded."""
    job = person.train(fields.pop("corpus", None) or person.upload(), **{**SMALL, **fields})
    claim = harness.claim(job["id"])
    text = person.get(f"/v1/corpora/{job['corpus']}/text").get_data(as_text=True)
    state = state_of(job["spec"], "".join(sorted(set(text))))
    data = pack(state)
    record = CheckpointRecord(
        step=state.meta["step"],
        epoch=1.0,
        loss=2.5,
        val_loss=2.75,
        digest=digest(state),
        sha256=blobs.store(harness.engine, data),
        size_bytes=len(data),
        fingerprint=state.meta["fingerprint"],
    )
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    harness.queue.record_checkpoint(claim, record)
    harness.queue.succeed(claim)
    return person.get(f"/v1/models/{job['model']}").json


def bring(person: Person, data: bytes, query: str = "", **options: Any) -> Any:
    """Send the file of a model."""
    return person.post(
        f"/v1/models/import{query}",
        data=data,
        content_type="application/octet-stream",
        **options,
    )
