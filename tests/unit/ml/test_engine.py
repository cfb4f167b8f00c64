"""Continuous batching: scheduling, block lengths, and how a sequence ends."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from shared.specs.presets import PRESETS
from shared.specs.training import PresetName
from tests.unit.ml.count_compilations import (
    generate_with_a_new_shape,
    generate_with_others,
    warm_everything,
)
from tests.unit.ml.networks import (
    CLASSIC,
    STATEFUL,
    count_traces,
    make_request,
    make_weights,
    preset,
)
from worker.ml.sampling import step
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.shape import BLOCK, SHORT_MULTIPLY_ADDS_PER_CALL
from worker.ml.sampling.stack import CPU_RULE
from worker.ml.sampling.step import GRAPHS, step_function


def test_many_checkpoints_share_steps_and_few_take_turns() -> None:
    samplers = [Sampler(make_weights(STATEFUL, seed), STATEFUL) for seed in range(40)]
    engine = Engine(threads=2)
    for count, advanced_at_once in ((2, 2), (4, 2), (5, 5), (40, 2 * CPU_RULE.sizes[-1])):
        sequences = [sampler.new_sequence(make_request(length=400)) for sampler in samplers[:count]]
        for sequence, sampler in zip(sequences, samplers, strict=False):
            engine.add(sequence, sampler, owner="ann")
        assert len(engine.step()) == advanced_at_once
        for sequence in sequences:
            engine.remove(sequence)
    # Networks with a window are not stacked, nor are large ones.
    wide = replace(STATEFUL, units=512)
    for network in (CLASSIC, wide):
        assert not Sampler(make_weights(network), network).stackable
    engine.close()


def test_a_checkpoint_of_a_known_shape_traces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    warm_everything()
    traces = count_traces(monkeypatch)
    generate_with_others()
    assert not traces
    generate_with_a_new_shape()
    assert traces


def test_a_checkpoint_of_a_known_shape_compiles_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.unit.ml.count_compilations", str(tmp_path)]
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    ended = subprocess.run(
        program,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    # Five batch sizes, filtered and not.
    assert list(map(int, ended.stdout.split())) == [10, 10, 11]


def test_a_dropped_graph_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert step_function.cache_info().maxsize == GRAPHS
    monkeypatch.setattr(step, "GRAPHS", step_function.cache_info().currsize + 1)
    for units, expected in ((26, []), (27, ["graph_dropped"])):
        network = replace(STATEFUL, units=units)
        with structlog.testing.capture_logs() as logs:
            Sampler(make_weights(network), network).warm_up()
        assert [entry["event"] for entry in logs] == expected


def finish(engine: Engine, rounds: int = 10_000) -> list[Sequence]:
    """Run to the end; returns the sequences in the order in which they ended."""
    ended: list[Sequence] = []
    for _ in range(rounds):
        if not len(engine):
            break
        ended += [sequence for sequence in engine.step() if not sequence.remaining_steps]
    engine.close()
    return ended


@pytest.mark.parametrize("others", ["ann", "bob"])
def test_a_short_text_does_not_wait_for_a_long_one(others: str) -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    engine = Engine(threads=1)
    long = [sampler.new_sequence(make_request(length=4000, seed=seed)) for seed in range(3)]
    for sequence in long:
        engine.add(sequence, sampler, owner="ann")
    for _ in range(3):
        engine.step()
    short = sampler.new_sequence(make_request(length=40))
    engine.add(short, sampler, owner=others)
    assert finish(engine)[0] is short
    assert all(not sequence.remaining_steps for sequence in long)


def test_what_is_done_meanwhile_is_done_however_short_a_block_is() -> None:
    """Jobs are claimed and persisted there, also while blocks are over before it begins."""
    engine, sampler = Engine(threads=1), Sampler(make_weights(STATEFUL), STATEFUL)
    engine.add(sampler.new_sequence(make_request(length=1)), sampler, owner="ann")
    called: list[int] = []

    def meanwhile() -> float:
        called.append(len(engine))
        return 600.0

    engine.step(meanwhile)
    assert called == [1]
    assert len(engine) == 0
    engine.close()


def test_texts_of_one_owner_take_turns() -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    engine = Engine(threads=1)
    sequences = [sampler.new_sequence(make_request(length=4000, seed=seed)) for seed in range(3)]
    for sequence in sequences:
        engine.add(sequence, sampler, owner="ann")
    moved = [engine.step() for _ in range(6)]
    assert moved == [[sequence] for sequence in sequences * 2]
    engine.close()


def test_three_checkpoints_of_one_owner_take_turns_on_two_threads() -> None:
    wide = replace(STATEFUL, units=200)
    samplers = [Sampler(make_weights(wide, seed), wide) for seed in range(3)]
    assert not samplers[0].stackable
    engine = Engine(threads=2)
    pairs = [
        [sampler.new_sequence(make_request(length=4000)) for _ in range(2)] for sampler in samplers
    ]
    for sampler, pair in zip(samplers, pairs, strict=True):
        for sequence in pair:
            engine.add(sequence, sampler, owner="ann")
    blocks = [engine.step() for _ in range(3)]
    # In three blocks of two checkpoints, each had two, and all its sequences advanced.
    for pair in pairs:
        assert sum(set(pair) <= set(moved) for moved in blocks) == 2
    assert [len(moved) for moved in blocks] == [4, 4, 4]
    short = samplers[2].new_sequence(make_request(length=40))
    engine.add(short, samplers[2], owner="ann")
    assert finish(engine)[0] is short


def test_owners_take_turns_however_many_texts_each_has() -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    # Compile first, or that time would count as one owner's.
    sampler.generate([make_request(length=600)])
    engine = Engine(threads=1)
    many = [sampler.new_sequence(make_request(length=600, seed=seed)) for seed in range(20)]
    one = sampler.new_sequence(make_request(length=600))
    for sequence in many:
        engine.add(sequence, sampler, owner="ann")
    engine.add(one, sampler, owner="bob")
    while one.remaining_steps:
        engine.step()
    # With a window, texts are generated one at a time: bob had about every second block.
    used = sum(sequence.seconds for sequence in many)
    assert 0.3 < used / one.seconds < 3
    engine.close()


def test_batches_side_by_side_pay_for_the_device_once() -> None:
    """Two threads are not two devices: at most the time that passed is charged."""
    samplers = [Sampler(make_weights(CLASSIC, seed), CLASSIC) for seed in range(2)]
    engine = Engine(threads=2)
    sequences = [sampler.new_sequence(make_request(length=300)) for sampler in samplers]
    for sequence, sampler in zip(sequences, samplers, strict=True):
        engine.add(sequence, sampler, owner="ann")
    began = time.perf_counter()
    finish(engine)
    passed = time.perf_counter() - began
    charged = sum(sequence.seconds for sequence in sequences)
    assert 0 < charged <= passed
    engine.close()


def test_sequences_of_several_checkpoints_are_all_completed() -> None:
    samplers = [Sampler(make_weights(STATEFUL, seed), STATEFUL) for seed in range(5)]
    expected = [sampler.generate([make_request(length=100)])[0] for sampler in samplers]
    engine = Engine(threads=2)
    sequences = [sampler.new_sequence(make_request(length=100)) for sampler in samplers]
    for sequence, sampler in zip(sequences, samplers, strict=True):
        engine.add(sequence, sampler, owner="ann")
    assert len(finish(engine)) == 5
    for sequence, text in zip(sequences, expected, strict=True):
        np.testing.assert_array_equal(sequence.output_ids, text)


def test_a_reader_gets_the_first_characters_after_a_short_block() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    sequence = sampler.new_sequence(make_request(range(30), length=300))
    sequence.followed = True
    engine.add(sequence, sampler, owner="ann")
    engine.step()
    assert 1 <= len(sequence.output_ids) <= 16
    engine.remove(sequence)
    engine.remove(sequence)
    assert len(engine) == 0
    engine.close()


def test_whoever_follows_a_text_changes_nothing_but_the_blocks() -> None:
    """One reader of a batch shortens its blocks; the texts stay as they are to the bit."""
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    written, blocks = [], []
    for followed in ((), (0,), (0, 1, 2)):
        engine = Engine(threads=1)
        sequences = [sampler.new_sequence(make_request(seed=i, length=700)) for i in range(3)]
        for i, sequence in enumerate(sequences):
            sequence.followed = i in followed
            engine.add(sequence, sampler, owner="ann")
        count = 0
        while len(engine):
            engine.step()
            count += 1
        blocks.append(count)
        written.append([sequence.output_ids.tolist() for sequence in sequences])
        engine.close()
    assert written[0] == written[1] == written[2]
    assert blocks[0] < blocks[1] <= blocks[2]


@pytest.mark.parametrize("name", PRESETS)
def test_no_block_of_a_preset_is_more_work_than_documented(name: PresetName) -> None:
    sampler = Sampler(make_weights(preset(name)), preset(name))
    network = sampler.shape
    for rows in sampler.buckets:
        shape = replace(network, rows=rows)
        # Per row: the recurrent products of all windows in flight, and the head's.
        lstm = (2 * network.layers - 1) * 4 * network.units**2
        step = rows * ((network.window or 1) * lstm + network.units * network.vocabulary)
        assert 1 <= shape.short_steps_per_call <= BLOCK
        # One step is the least: of a preset for GPUs it may be more.
        assert (
            shape.short_steps_per_call == 1
            or shape.short_steps_per_call * step <= SHORT_MULTIPLY_ADDS_PER_CALL
        )
        # No block is shorter than necessary, because starting a block costs time.
        longer = (shape.short_steps_per_call + 1) * step
        assert shape.short_steps_per_call == BLOCK or longer > SHORT_MULTIPLY_ADDS_PER_CALL
    # The figures in the comment on the limit.
    small = replace(STATEFUL, units=128)
    shape = Sampler(make_weights(small), small).shape
    assert [replace(shape, rows=rows).short_steps_per_call for rows in (1, 32)] == [256, 84]


@pytest.mark.parametrize("followed", [True, False])
def test_every_block_is_as_long_as_its_shape_says(followed: bool) -> None:
    network = preset("default")
    sampler = Sampler(make_weights(network, scale=0.1), network)
    engine = Engine(threads=1)
    sequences = [
        sampler.new_sequence(make_request(length=200, seed=seed))
        for seed in range(sampler.capacity)
    ]
    for sequence in sequences:
        sequence.followed = followed
        engine.add(sequence, sampler, owner="ann")
    engine.step()
    shape = replace(sampler.shape, rows=len(sequences))
    most = shape.short_steps_per_call if followed else shape.long_steps_per_call
    assert most < (30 if followed else 90)
    while sequences[0].remaining_steps:
        before = sequences[0].remaining_steps
        engine.step()
        assert {before - sequence.remaining_steps for sequence in sequences} == {min(most, before)}
    engine.close()


def test_a_sequence_that_breaks_its_batch_fails_alone() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    sequences = [sampler.new_sequence(make_request(length=30, seed=seed)) for seed in range(4)]
    sequences[2].state = np.zeros((1, 2, 1, 5), np.float32)
    for sequence in sequences:
        engine.add(sequence, sampler, owner="ann")
    finish(engine)
    assert [sequence.error is not None for sequence in sequences] == [False, False, True, False]
    assert [sequence.remaining_steps for sequence in sequences] == [0, 0, 30 + 2, 0]


def test_an_error_in_meanwhile_harms_no_sequence() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    sequence = sampler.new_sequence(make_request(length=300))
    engine.add(sequence, sampler, owner="ann")

    def fail() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.step(meanwhile=fail)
    finish(engine)
    np.testing.assert_array_equal(
        sequence.output_ids, sampler.generate([make_request(length=300)])[0]
    )
