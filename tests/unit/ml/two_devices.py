"""Writes on two devices of TensorFlow, the second of which stands for a GPU; run by a test.

``python -m tests.unit.ml.two_devices`` prints JSON: for each case, where each text was computed.
Both devices are the CPU, divided by TensorFlow, so the rules of a GPU and the way of the data are
real, and the speeds are not.
"""

import json
import threading
from collections import abc
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tests.unit.ml.networks import CLASSIC, STATEFUL, make_request, make_weights
from worker.ml import crossover
from worker.ml.config import NetworkConfig
from worker.ml.runtime import configure
from worker.ml.sampling import batch, sampler, stack
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

GPU = "/CPU:1"
#: Where and by which rules each call of a sequence was computed.
places: dict[Sequence, set[str]] = {}


def note_places() -> None:
    """Note of each call whose it was, and on which device TensorFlow left its results."""
    run_batch, step_function = batch.run_batch, batch.step_function
    # Two batches may run at once, each on a thread.
    latest = threading.local()

    def noted_step(shape: Any) -> Any:
        def run(*arguments: Any) -> Any:
            results = step_function(shape)(*arguments)
            rules = "gpu" if shape.gpu else "cpu"
            devices = {tensor.device.rpartition(":")[2] for tensor in results}
            latest.place = f"{rules} on {','.join(sorted(devices))}"
            return results

        return run

    def noted_batch(
        weights: Any, sequences: abc.Sequence[Sequence], *rest: Any, **more: Any
    ) -> None:
        run_batch(weights, sequences, *rest, **more)
        for sequence in sequences:
            places.setdefault(sequence, set()).add(latest.place)

    batch.step_function = noted_step
    sampler.run_batch = stack.run_batch = noted_batch


def gpus(network: NetworkConfig = STATEFUL, seed: int = 0) -> Sampler:
    return Sampler(make_weights(network, seed), network, exact=False, device=GPU)


def work(of: Sampler, rows: int) -> int:
    return replace(of.shape, rows=rows).multiply_adds


def write(
    engine: Engine, waves: abc.Sequence[abc.Sequence[tuple[Sampler, int]]]
) -> list[dict[str, Any]]:
    """Start texts in waves, a block apart; tells of each where it was and what came out."""
    texts: list[tuple[Sampler, Sequence]] = []
    for wave in waves:
        for its, length in wave:
            sequence = its.new_sequence(make_request(length=length, seed=len(texts)))
            texts.append((its, sequence))
            engine.add(sequence, its, owner="ann")
        engine.step()
    while len(engine):
        engine.step()
    engine.close()
    found = []
    for its, text in texts:
        where = sorted(places[text])
        # As a worker without a GPU makes it.
        plain = Sampler(make_weights(its._network), its._network)
        expected = plain.new_sequence(text.request)
        while expected.remaining_steps:
            plain.advance([expected])
        same = expected.logprobs.tobytes() == text.logprobs.tobytes()
        found.append({"where": where, "bits of a CPU": same})
    return found


def main() -> None:
    configure(threads=1, device="cpu")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    note_places()
    one, other, classic, wide = gpus(), gpus(), gpus(CLASSIC), gpus(replace(STATEFUL, units=100))
    limit = work(one, 4)
    many = [gpus(seed=seed) for seed in range(6)]
    found: dict[str, Any] = {
        "few": write(Engine(1, crossover=limit), [[(one, 700)] * 3]),
        "many": write(Engine(1, crossover=limit), [[(one, 700)] * 4]),
        "few, then many": write(
            Engine(1, crossover=limit), [[(one, 900)] * 2, [(one, 300)] * 6, [(one, 300)]]
        ),
        "many, then few": write(Engine(1, crossover=limit), [[(one, 900)] + [(one, 20)] * 5]),
        "no crossover": write(Engine(1), [[(one, 300)]]),
        "classic": write(Engine(1, crossover=work(classic, 2)), [[(classic, 60)]]),
        "two of classic": write(Engine(1, crossover=work(classic, 9)), [[(classic, 60)] * 2]),
        "wide": write(Engine(1, crossover=limit), [[(wide, 60)]]),
        "a stack": write(Engine(1, crossover=limit), [[(each, 100) for each in many]]),
        "few checkpoints": write(Engine(1, crossover=limit), [[(one, 300), (other, 300)]]),
    }
    measured = crossover.measure_crossover(other)
    found["weights"] = [
        tensor.device.rpartition(":")[2]
        for each in (other, other.on_cpu)
        for tensor in each.weights
    ]
    found["measured"] = [
        measured.streams,
        measured.multiply_adds,
        {rows: work(other, rows) for rows in measured.step_seconds},
        measured.step_seconds,
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
