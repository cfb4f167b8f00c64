"""Whose sequences the next block advances, and what the engine's thread does meanwhile."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.ml.networks import STATEFUL, make_request, make_weights
from worker.ml.sampling import shape as shapes
from worker.ml.sampling import turns
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.turns import MOST_AHEAD

LONG, SHORT = 2_000, 50


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler(make_weights(STATEFUL), STATEFUL)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(threads=2)
    yield engine
    engine.close()


def add(engine: Engine, sampler: Sampler, owner: str, length: int, count: int = 1) -> set[Sequence]:
    sequences = [sampler.new_sequence(make_request(length=length)) for _ in range(count)]
    for sequence in sequences:
        sequence.followed = False
        engine.add(sequence, sampler, owner=owner)
    return set(sequences)


def test_a_short_text_runs_ahead_of_a_crowd_in_one_block(engine: Engine, sampler: Sampler) -> None:
    crowd = add(engine, sampler, "ann", LONG, 2 * sampler.capacity)
    assert set(engine.step()) == crowd
    short = add(engine, sampler, "bob", SHORT)
    assert set(engine.step()) == short
    assert not any(sequence.remaining_steps for sequence in short)
    assert set(engine.step()) == crowd


def test_blocks_are_short_while_somebody_asks_for_little(
    engine: Engine, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SHORT_BLOCKS_SECONDS", 1e9)
    shape = replace(sampler.shape, rows=sampler.capacity)
    monkeypatch.setattr(shapes, "LONG_MULTIPLY_ADDS_PER_CALL", 90 * shape.multiply_adds)
    monkeypatch.setattr(shapes, "SHORT_MULTIPLY_ADDS_PER_CALL", 30 * shape.multiply_adds)
    crowd = add(engine, sampler, "ann", LONG, 2 * sampler.capacity)
    assert steps_of(engine, crowd) == 90
    # A text that is longer than a block has no turn of its own.
    [long] = add(engine, sampler, "cid", LONG)
    assert steps_of(engine, crowd) == 90
    engine.remove(long)
    short = add(engine, sampler, "bob", SHORT)
    assert set(engine.step()) == short
    assert steps_of(engine, crowd) == 30
    monkeypatch.setattr(turns, "SHORT_BLOCKS_SECONDS", 0.0)
    assert steps_of(engine, crowd) == 90


def steps_of(engine: Engine, crowd: set[Sequence]) -> int:
    """The most steps that a sequence of the crowd advances by in the next block."""
    before = {sequence: sequence.remaining_steps for sequence in crowd}
    engine.step()
    return max(before[sequence] - sequence.remaining_steps for sequence in crowd)


def test_no_two_blocks_in_a_row_run_ahead(engine: Engine, sampler: Sampler) -> None:
    crowd = add(engine, sampler, "ann", LONG, 2 * sampler.capacity)
    for number in range(3):
        short = add(engine, sampler, f"{number}", SHORT)
        another = add(engine, sampler, f"{number} too", SHORT, 2)
        assert set(engine.step()) == short | another
        late = add(engine, sampler, f"{number} late", SHORT)
        # It has its turn at once, but the crowd has the rest of the block.
        assert late < set(engine.step()) <= crowd | late


@pytest.mark.parametrize(
    ("length", "each", "users"),
    [(LONG, 1, 1), (SHORT, 3, 1), (SHORT, 1, MOST_AHEAD + 1)],
    ids=["a long text", "several texts", "many users"],
)
def test_only_a_few_short_texts_run_ahead(
    engine: Engine, sampler: Sampler, length: int, each: int, users: int
) -> None:
    crowd = add(engine, sampler, "ann", LONG, 2 * sampler.capacity)
    others = set[Sequence]()
    for user in range(users):
        others |= add(engine, sampler, f"{user}", length, each)
    advanced = set(engine.step())
    # They have their turn, and the crowd has what is left.
    assert others < advanced
    assert advanced & crowd


def test_short_texts_without_a_crowd_share_a_block(engine: Engine, sampler: Sampler) -> None:
    texts = add(engine, sampler, "ann", SHORT) | add(engine, sampler, "bob", SHORT, 2)
    assert set(engine.step()) == texts


def test_meanwhile_is_called_as_long_as_the_block_runs(engine: Engine, sampler: Sampler) -> None:
    add(engine, sampler, "ann", LONG, 2 * sampler.capacity)
    calls = []

    def meanwhile() -> float:
        calls.append(engine.staying)
        return 0.0

    engine.step(meanwhile)
    assert len(calls) > 1
    assert set(calls) == {2 * sampler.capacity}


def test_meanwhile_is_called_for_the_shortest_block_too(engine: Engine, sampler: Sampler) -> None:
    add(engine, sampler, "ann", 1)
    calls = []

    def meanwhile() -> float:
        calls.append(True)
        return 60.0

    # A block that ends ends the pause as well.
    engine.step(meanwhile)
    assert calls == [True]


@pytest.mark.parametrize(
    ("texts", "threads", "parts"),
    [
        (1, 2, [1]),
        (2, 2, [2]),
        (3, 2, [2, 1]),
        # Two parts of 4 would have 8 rows each, as one of 8 has.
        (8, 2, [8]),
        (8, 4, [2, 2, 2, 2]),
        (10, 2, [8, 2]),
        (32, 2, [16, 16]),
        (32, 3, [16, 8, 8]),
        (32, 4, [8, 8, 8, 8]),
        (33, 2, [32, 1]),
        (64, 2, [32, 32]),
    ],
)
def test_a_batch_is_cut_where_its_parts_have_fewer_rows(
    sampler: Sampler, texts: int, threads: int, parts: list[int]
) -> None:
    engine = Engine(threads)
    sequences = add(engine, sampler, "ann", LONG, texts)
    batches = [members for batch in engine._schedule() for _, members in batch.groups]
    engine.close()
    assert sorted(map(len, batches), reverse=True) == parts
    assert {sequence for members in batches for sequence in members} == sequences
