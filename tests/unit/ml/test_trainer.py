"""The trainer: exact resumes, equal backends, and clear refusals."""

import random
import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from tests.unit.ml.conftest import Start, small_config
from worker.ml.checkpoint import digest, pack, unpack
from worker.ml.config import TrainConfig
from worker.ml.holdout import TooShort
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.step import step_function
from worker.ml.training import progress
from worker.ml.training.divergence import Diverged
from worker.ml.training.progress import EpochEnd, IntervalReached, TrainingProgress
from worker.ml.training.trainer import Trainer
from worker.ml.training.variables import CheckpointMismatch
from worker.ml.vectorize import vectorize
from worker.ml.vocabulary import Vocabulary


def run_to_end(trainer: Trainer) -> list[TrainingProgress | EpochEnd | IntervalReached]:
    return list(trainer.run())


@pytest.fixture
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report after every call, with few steps in a call, to have many places to stop at."""
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "CALL_CHARACTERS", 12 * 8 * 2)


@pytest.mark.usefixtures("small_calls")
@pytest.mark.parametrize("kind", ["classic", "default"])
@pytest.mark.parametrize("events", [1, 3, 9])
def test_stopped_and_resumed_is_the_same_to_the_bit(start: Start, kind: str, events: int) -> None:
    whole = start(kind)
    run_to_end(whole)

    first = start(kind)
    for _ in islice(first.run(), events):
        pass
    assert 0 < first.step < first.steps_total
    kept = pack(first.state())
    second = start(kind, state=unpack(kept))
    assert second.exact
    assert second.step == first.step
    run_to_end(second)

    assert second.step == whole.step == whole.steps_total
    assert digest(second.state()) == digest(whole.state())
    assert digest(first.state()) != digest(whole.state())


def test_stopping_in_the_middle_of_an_epoch_is_possible(start: Start, small_calls: None) -> None:
    trainer = start("default")
    next(trainer.run())
    assert 0 < trainer.step < trainer.steps_per_epoch
    assert trainer.state().meta["loop"]["windows"] == trainer.step * 8


def test_a_requested_report_comes_after_every_call(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 3600.0)
    monkeypatch.setattr(progress, "CALL_CHARACTERS", 12 * 8 * 2)
    rare = start("default", epochs=1)
    assert not any(isinstance(event, TrainingProgress) for event in rare.run())
    trainer = start("default", epochs=1)
    reports = [
        event
        for event in trainer.run(report_requested=lambda: True)
        if isinstance(event, TrainingProgress)
    ]
    # The first calls take one and two steps, and none takes more than two.
    assert [event.step for event in reports[:4]] == [1, 3, 5, 7]
    assert all(0 < event.tokens_per_second < 1e9 for event in reports)
    assert digest(trainer.state()) == digest(rare.state())


@pytest.mark.usefixtures("small_calls")
def test_dropout_resumes_to_the_bit(start: Start) -> None:
    changes = {"dropout": 0.3, "layers": 2, "epochs": 1}
    whole, plain = start("default", **changes), start("default", **changes | {"dropout": 0.0})
    run_to_end(whole)
    run_to_end(plain)
    first = start("default", **changes)
    next(first.run())
    second = start("default", state=unpack(pack(first.state())), **changes)
    run_to_end(second)
    assert digest(second.state()) == digest(whole.state())
    assert digest(plain.state()) != digest(whole.state())


def test_steps_per_call_change_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for characters in (1, 12 * 8 * 3, 10**6):
        monkeypatch.setattr(progress, "CALL_CHARACTERS", characters)
        trainer = start("classic")
        run_to_end(trainer)
        digests.add(digest(trainer.state()))
    assert len(digests) == 1


def test_another_seed_gives_another_training(start: Start) -> None:
    one, other = start("classic", epochs=1), start("classic", epochs=1, seed=8)
    run_to_end(one)
    run_to_end(other)
    assert digest(one.state()) != digest(other.state())


def test_the_weights_to_generate_with_are_those_that_were_validated(start: Start) -> None:
    averaged = start("default", epochs=1)
    run_to_end(averaged)
    state = averaged.state()
    assert state.weights.keys() == averaged.config.network.weight_shapes().keys()
    assert "raw.head.kernel" in state.training
    assert not np.array_equal(state.weights["head.kernel"], state.training["raw.head.kernel"])
    plain = start("classic", epochs=1)
    assert not any(name.startswith("raw.") for name in plain.state().training)


def test_a_diverging_loss_is_reported_with_its_step(start: Start) -> None:
    trainer = start("default", learning_rate=1e38, rollbacks=0)
    with pytest.raises(Diverged, match="step") as caught:
        run_to_end(trainer)
    assert not np.isfinite(caught.value.loss)
    assert caught.value.step < trainer.steps_total


def test_a_short_text_is_refused_with_the_minimum() -> None:
    vocabulary, ids = vectorize("too short")
    config = small_config("default", len(vocabulary))
    with pytest.raises(TooShort, match="at least 130"):
        Trainer(config, ids, vocabulary)


def test_a_checkpoint_of_another_training_is_refused(start: Start, text: str) -> None:
    state = start("classic").state()
    with pytest.raises(CheckpointMismatch, match="cannot continue"):
        start("classic", state=state, units=11)
    with pytest.raises(CheckpointMismatch, match="optimizer or average"):
        start("classic", state=state, optimizer="adam")
    vocabulary, ids = vectorize(text)
    other = Vocabulary(vocabulary.characters[::-1])
    config: TrainConfig = small_config("classic", len(vocabulary))
    with pytest.raises(CheckpointMismatch, match="other characters"):
        Trainer(config, ids, other, state=state)
    with pytest.raises(CheckpointMismatch, match="for a network of"):
        Trainer(config, ids, Vocabulary("ab"), state=state)


def test_more_epochs_continue_a_finished_training(start: Start) -> None:
    trainer = start("classic", epochs=1)
    run_to_end(trainer)
    longer = start("classic", state=trainer.state(), epochs=2)
    (end,) = [e for e in run_to_end(longer) if isinstance(e, EpochEnd)]
    assert end.epoch == 2


def test_a_training_on_words_resumes_with_its_words(text: str) -> None:
    vocabulary, ids = vectorize(text, words=60)
    config = small_config("default", len(vocabulary))
    whole = Trainer(config, ids, vocabulary)
    run_to_end(whole)
    first = Trainer(config, ids, vocabulary)
    next(first.run())
    again = Trainer(config, ids, vocabulary, state=unpack(pack(first.state())))
    run_to_end(again)
    assert digest(again.state()) == digest(whole.state())
    other = Vocabulary(vocabulary.characters, vocabulary.words[::-1])
    with pytest.raises(CheckpointMismatch, match="other characters or words"):
        Trainer(config, ids, other, state=first.state())


@pytest.mark.parametrize("every", [1, 3, 7, 1000])
def test_the_interval_event_comes_on_time_and_changes_nothing(start: Start, every: int) -> None:
    plain, interrupted = start("default", epochs=2), start("default", epochs=2)
    run_to_end(plain)
    reached = [event.step for event in interrupted.run(every) if isinstance(event, IntervalReached)]
    ends = [interrupted.steps_per_epoch, 2 * interrupted.steps_per_epoch]
    due = range(every, interrupted.steps_total + 1, every)
    assert reached == [step for step in due if step not in ends]
    assert digest(interrupted.state()) == digest(plain.state())


@pytest.mark.parametrize("words", [0, 12])
def test_thirty_corpora_of_similar_alphabets_compile_one_graph(english: str, words: int) -> None:
    chosen = random.Random(5)
    english = "".join(re.findall(r"[a-z .,]+", english))
    sizes, made, traced = set(), set(), []
    sampled = step_function.cache_info().misses
    for _ in range(30):
        first, length = chosen.randrange(len(english) - 3000), chosen.randrange(500, 3000)
        vocabulary, ids = vectorize(english[first : first + length], words)
        config = small_config("default", len(vocabulary), epochs=1, units=9, seed=length)
        trainer = Trainer(config, ids, vocabulary)
        run_to_end(trainer)
        sizes.add(len(vocabulary))
        made.add(trainer._step)
        functions = (trainer._step._run_train, trainer._step._run_evaluate)
        traced.append([function.experimental_get_tracing_count() for function in functions])
        state = trainer.state()
        request = SamplingRequest(ids[:5], 3, 1.0, None, None, 1)
        Sampler(state.weights, state.network).generate([request])
    assert len(sizes) > 1
    assert len(made) == 1
    # The first few trainings relax the graph to any length of text and tail; no other retraces.
    assert traced[-1] == traced[5]
    assert step_function.cache_info().misses <= sampled + 1


def test_another_fingerprint_is_labelled_inexact(start: Start) -> None:
    state = start("classic").state()
    meta = {**state.meta, "fingerprint": {**state.meta["fingerprint"], "tensorflow": "1.0"}}
    assert not start("classic", state=replace(state, meta=meta)).exact


@pytest.mark.parametrize("kind", ["classic", "default"])
def test_both_backends_learn_the_same(start: Start, kind: str) -> None:
    curves = []
    for backend in ("xla", "keras"):
        trainer = start(kind, backend=backend, epochs=1, dropout=0.2)
        curves.append([e for e in run_to_end(trainer) if isinstance(e, EpochEnd)])
    for mine, theirs in zip(*curves, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, abs=1e-4)
        assert mine.val_loss == pytest.approx(theirs.val_loss, abs=1e-4)


def test_shards_and_short_batches_do_not_change_the_loss(start: Start) -> None:
    losses = []
    # 446 windows: the last batch of 8 holds 6, and 3 shards get 2, 3 and 3 windows.
    for shards in (2, 3):
        events = run_to_end(start("classic", shards=shards, epochs=1))
        losses.append(events[-1].loss)
    assert losses == pytest.approx([losses[0]] * 2, abs=1e-4)


def test_the_loss_falls_and_is_reported(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    trainer = start("default", epochs=25)
    events = run_to_end(trainer)
    ends = [event for event in events if isinstance(event, EpochEnd)]
    assert [end.epoch for end in ends] == list(range(1, 26))
    assert ends[-1].step == trainer.steps_total == 25 * trainer.steps_per_epoch
    assert ends[-1].loss < 0.8 * ends[0].loss
    assert ends[-1].val_loss < ends[0].val_loss
    assert 0 < ends[-1].val_accuracy < 1
    reports = [event for event in events if isinstance(event, TrainingProgress)]
    assert [event.step for event in reports] == sorted({event.step for event in reports})
    for event in reports:
        assert event.tokens_per_second > 0
        assert event.seconds_left >= 0
        assert event.epoch == pytest.approx(event.step / trainer.steps_per_epoch)
        assert 0 < event.loss < 6


def test_stacked_layers_on_one_hot_input_without_an_average_train(start: Start) -> None:
    trainer = start("default", epochs=1, layers=2, embedding=0, average_decay=None)
    (end,) = [e for e in run_to_end(trainer) if isinstance(e, EpochEnd)]
    assert np.isfinite(end.val_loss)
    unpack(pack(trainer.state()))
