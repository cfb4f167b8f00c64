"""Generates with checkpoints of a known shape and counts XLA's compilations; run by a test.

``python -m tests.unit.ml.count_compilations DIRECTORY`` with ``--xla_dump_to=DIRECTORY``, where XLA
dumps each module. Prints the number of modules once the first checkpoint has generated in every
way, after twenty other checkpoints have, and after one of another shape.
"""

import sys
from dataclasses import replace
from pathlib import Path

from tests.unit.ml.networks import STATEFUL, make_requests, make_weights
from worker.ml.runtime import configure
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.stack import warm_up_stacks


def warm_everything() -> None:
    """Compile every graph of a shape."""
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    for filtered in (False, True):
        for rows in sampler.buckets:
            sampler.warm_up(rows, filtered=filtered)
        warm_up_stacks(sampler, filtered=filtered)


def generate_with_others() -> None:
    """Generate sixty different texts with twenty more checkpoints at once."""
    others = [Sampler(make_weights(STATEFUL, seed=9 + i), STATEFUL) for i in range(20)]
    engine = Engine(threads=2)
    for i, request in enumerate(make_requests(STATEFUL, 60)):
        other = others[0 if i < 40 else i - 40]
        engine.add(other.new_sequence(request), other, owner="ann")
        engine.step()
    while len(engine):
        engine.step()
    engine.close()


def generate_with_a_new_shape() -> None:
    """Generate one character with a network that has one unit more."""
    wider = replace(STATEFUL, units=STATEFUL.units + 1)
    Sampler(make_weights(wider), wider).warm_up()


if __name__ == "__main__":
    configure(threads=1, device="cpu")
    for part in (warm_everything, generate_with_others, generate_with_a_new_shape):
        part()
        print(len(list(Path(sys.argv[1]).glob("*before_optimizations.txt"))))
