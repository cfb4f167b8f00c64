"""Unattended trainings: rollbacks, early stopping, time budgets, and starts from a checkpoint."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.ml.conftest import Start, small_config
from worker.ml.checkpoint import TrainingState, digest, fingerprint, pack, unpack
from worker.ml.training.divergence import Diverged
from worker.ml.training.progress import EpochEnd, RolledBack, Validated
from worker.ml.training.trainer import Trainer
from worker.ml.training.transfer import can_continue, extend_epochs, initial_state
from worker.ml.training.validation import VALIDATION_INTERVAL_CHARACTERS, validation_interval
from worker.ml.vectorize import steps_per_epoch, vectorize
from worker.ml.vocabulary import Vocabulary

#: A rate that makes every network diverge.
FATAL = 1e38


@pytest.mark.parametrize("kind", ["classic", "default"])
def test_an_explosion_is_rolled_back_three_times(start: Start, kind: str) -> None:
    trainer = start(kind, learning_rate=FATAL, schedule="constant")
    events = []
    with pytest.raises(Diverged, match="the learning rate is too high"):
        events.extend(event for event in _collect(trainer, events) if event)
    back = [event for event in events if isinstance(event, RolledBack)]
    assert [event.rollbacks for event in back] == [1, 2, 3]
    assert [event.learning_rate for event in back] == [FATAL / 2, FATAL / 4, FATAL / 8]
    assert all(event.back_to == 0 for event in back), "nothing was validated before"


def test_a_finite_explosion_is_rolled_back_unless_rollbacks_are_off(
    start: Start,
) -> None:
    numbers = {"learning_rate": 100.0, "epochs": 1}
    back = next(e for e in start("classic", **numbers).run() if isinstance(e, RolledBack))
    assert 20 < back.loss < 1e30
    left = start("classic", rollbacks=0, **numbers)
    assert not any(isinstance(event, RolledBack) for event in left.run())
    assert left.finished


def test_an_explosion_restores_the_best_weights(start: Start) -> None:
    calm = start("classic", epochs=1, patience=None)
    [validated] = [event for event in calm.run() if isinstance(event, Validated)]
    best = calm.state()
    # The same training with a rate that makes its next step diverge.
    wild = start(
        "classic", best, epochs=2, learning_rate=FATAL, load_state={validated.step: best}.get
    )
    event = next(event for event in wild.run() if isinstance(event, RolledBack))
    assert (event.back_to, event.rollbacks) == (validated.step, 1)
    after = wild.state()
    for name, weight in best.weights.items():
        np.testing.assert_array_equal(after.weights[name], weight)
    assert after.meta["val_loss"] == validated.val_loss


def test_an_explosion_restores_the_first_weights_if_the_best_are_gone(start: Start) -> None:
    numbers = {"schedule": "constant", "patience": None}
    origin = start("classic", epochs=2, **numbers)
    list(origin.run())
    before = origin.state()
    # Its best checkpoint was an earlier one, which is deleted by now.
    loop = {**before.meta["loop"], "best_step": 1, "best_val_loss": 0.5, "stale": 1}
    before = replace(before, meta={**before.meta, "loop": loop})
    here = fingerprint(2, 2, "cpu")
    first = initial_state(
        before,
        origin.config,
        origin.vocabulary,
        here,
        origin.holdout,
        lowercase=False,
        same_text=True,
    )
    requested: list[int] = []

    def load_state(step: int) -> TrainingState | None:
        requested.append(step)
        return {origin.step: first}.get(step)

    numbers["learning_rate"] = FATAL
    wild = start("classic", first, epochs=4, load_state=load_state, **numbers)
    event = next(event for event in wild.run() if isinstance(event, RolledBack))
    assert requested == [1, origin.step]
    assert (event.back_to, event.rollbacks) == (origin.step, 1)
    after = wild.state()
    assert after.meta["val_loss"] == before.meta["val_loss"], "that of the restored weights"
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(after.weights[name], weight)
    lost = start("classic", first, epochs=4, load_state=lambda _: None, **numbers)
    with pytest.raises(Diverged):
        list(lost.run())


def test_a_rollback_survives_a_resume_to_the_bit(start: Start) -> None:
    def begin(state: TrainingState | None = None) -> Trainer:
        return start(
            "default", state, learning_rate=FATAL, rollbacks=100, load_state=lambda _: None
        )

    whole = begin()
    run = whole.run()
    for _ in range(4):
        next(run)
    first = begin()
    run = first.run()
    next(run)
    second = begin(unpack(pack(first.state())))
    run = second.run()
    for _ in range(3):
        next(run)
    assert second.step == whole.step
    assert digest(second.state()) == digest(whole.state())


def test_a_rollback_at_the_last_step_ends_with_a_validation(start: Start) -> None:
    steps_per_epoch = start("classic").steps_per_epoch
    # The first step is computed with the initial weights, so the second is the one that explodes.
    numbers = {"learning_rate": FATAL, "epochs": 2 / steps_per_epoch, "load_state": lambda _: None}
    trainer = start("classic", **numbers)
    run = trainer.run()
    back = next(run)
    assert isinstance(back, RolledBack)
    assert back.step == trainer.steps_total == 2
    assert not trainer.finished
    paused = unpack(pack(trainer.state()))
    validated = next(run)
    assert isinstance(validated, Validated)
    assert validated.best
    assert (validated.step, trainer.best_step) == (2, 2)
    assert validated.loss == validated.val_loss, "no step counts for a mean"
    assert list(run) == []
    assert trainer.finished

    resumed = start("classic", paused, **numbers)
    assert list(resumed.run()) == [validated]
    assert digest(resumed.state()) == digest(trainer.state())
    longer = start("classic", paused, **(numbers | {"epochs": 1, "learning_rate": 0.01}))
    events = [event for event in longer.run() if isinstance(event, Validated)]
    assert events[0].step > 2, "with steps left, nothing is pending"
    assert longer.finished


def test_without_rollbacks_a_loss_that_is_not_finite_ends_a_training(start: Start) -> None:
    with pytest.raises(Diverged):
        list(start("classic", learning_rate=FATAL, rollbacks=0).run())


def test_patience_ends_a_training_that_no_longer_improves(start: Start) -> None:
    trainer = start("classic", epochs=200, patience=2, learning_rate=0.02)
    validated = [event for event in trainer.run() if isinstance(event, Validated)]
    assert trainer.stopped_early
    assert len(validated) < 200
    assert not any(event.best for event in validated[-2:])
    assert trainer.best_step == max(event.step for event in validated if event.best)
    patient = start("classic", epochs=3, patience=None)
    list(patient.run())
    assert not patient.stopped_early


def test_the_validation_interval_is_a_number_of_characters() -> None:
    config = small_config("default", 9, batch_size=8, window=12)
    step = config.batch_size * config.window
    short = validation_interval(config, [(0, 1000 * step + 1)])
    assert short == steps_per_epoch(config, [(0, 1000 * step + 1)]), "once an epoch"
    characters = 5 * VALIDATION_INTERVAL_CHARACTERS // 2
    whole = [(0, characters)]
    epoch = steps_per_epoch(config, whole)
    interval = validation_interval(config, whole)
    assert interval * step <= VALIDATION_INTERVAL_CHARACTERS
    # Three equal parts, of which the last is at most two steps shorter.
    assert 3 * interval - 2 <= epoch <= 3 * interval
    for asked, got in ((7, 7), (10**6, epoch)):
        assert validation_interval(replace(config, validate_every=asked), whole) == got


def test_an_epoch_is_validated_within_and_at_its_end(start: Start) -> None:
    trainer = start("default", epochs=2, validate_every=2)
    validated = [event for event in trainer.run() if isinstance(event, Validated)]
    steps, per_epoch = [event.step for event in validated], trainer.steps_per_epoch
    within = [step for step in range(1, 2 * per_epoch + 1) if step % per_epoch % 2 == 0]
    assert steps == sorted({*within, per_epoch, 2 * per_epoch})
    ends = [event.epoch for event in validated if isinstance(event, EpochEnd)]
    assert ends == [1, 2]


def test_a_time_budget_becomes_a_fixed_number_of_steps(start: Start) -> None:
    budget = {"epochs": None, "seconds": 1.5}
    trainer = start("default", **budget)
    first = None
    for event in trainer.run():
        if first is None:
            assert isinstance(event, Validated), "epochs passed while the speed was measured"
            assert event.step > trainer.steps_per_epoch
            first = unpack(pack(trainer.state()))
    assert first is not None
    assert trainer.steps_total == trainer.step == first.meta["loop"]["steps_total"]
    resumed = start("default", first, **budget)
    list(resumed.run())
    assert resumed.step == trainer.step
    assert digest(resumed.state()) == digest(trainer.state())


def test_exactly_one_of_epochs_and_seconds_is_required() -> None:
    for wrong in ({"epochs": None}, {"epochs": 2, "seconds": 3.0}):
        with pytest.raises(ValueError, match="give exactly one of them"):
            small_config("default", 9, **wrong)


def test_more_epochs_at_a_constant_rate_continue_to_the_bit(start: Start) -> None:
    numbers = {"schedule": "constant", "patience": None}
    whole = start("classic", epochs=4, **numbers)
    list(whole.run())
    half = start("classic", epochs=2, **numbers)
    list(half.run())
    before = half.state()
    config = replace(half.config, epochs=2)
    assert can_continue(before, config)
    here = fingerprint(config.threads, config.shards, "cpu")
    state = initial_state(
        before, config, half.vocabulary, here, half.holdout, lowercase=False, same_text=True
    )
    config = extend_epochs(state, config, half.steps_per_epoch)
    assert config.epochs == 4
    later = start("classic", state, epochs=4, **numbers)
    list(later.run())
    assert digest(later.state()) == digest(whole.state())
    assert not can_continue(before, replace(config, learning_rate=0.02))
    falling = start("default")
    list(falling.run())
    assert not can_continue(falling.state(), falling.config), "its schedule has ended"


@pytest.mark.parametrize("words", [0, 20])
@pytest.mark.parametrize(
    ("kind", "changes"), [("classic", {}), ("default", {}), ("default", {"tied_embedding": True})]
)
def test_known_tokens_keep_their_weights_beside_new_characters(
    text: str, kind: str, changes: dict[str, Any], words: int
) -> None:
    vocabulary, ids = vectorize(text, words)
    config = small_config(kind, len(vocabulary), epochs=1, **changes)
    trainer = Trainer(config, ids, vocabulary)
    list(trainer.run())
    before = trainer.state()
    larger = Vocabulary(vocabulary.characters + "é漢", vocabulary.words)
    network = replace(config.network, vocabulary_size=len(larger))
    config = replace(config, network=network, seed=8)
    here = fingerprint(2, 2, "cpu")
    after = initial_state(
        before, config, larger, here, trainer.holdout, lowercase=False, same_text=False
    )
    piece = vocabulary.decode(ids[:50])
    old, new = vocabulary.encode(piece), larger.encode(piece)
    rows = "embedding" if config.network.embedding else "lstm.0.kernel"
    np.testing.assert_array_equal(after.weights[rows][new], before.weights[rows][old])
    added = larger.encode("é漢")
    if config.network.tied_embedding:
        biases = before.weights["head.bias"], after.weights["head.bias"]
        np.testing.assert_array_equal(biases[1][new], biases[0][old])
        assert biases[1][added].max() == biases[0].min(), "they are no likelier than the rarest"
    else:
        heads = before.weights["head.kernel"], after.weights["head.kernel"]
        np.testing.assert_array_equal(heads[1][:, new], heads[0][:, old])
    assert np.abs(after.weights[rows][added]).max() > 0
    assert (after.meta["step"], after.characters) == (0, larger.characters)
    list(Trainer(config, larger.encode(text + "é漢" * 20), larger, state=after).run())


def _collect(trainer: Trainer, events: list[Any]) -> Any:
    for event in trainer.run():
        events.append(event)
        yield None


def test_rollbacks_before_a_training_do_not_count_towards_its_limit(start: Start) -> None:
    numbers = {"schedule": "constant", "patience": None}
    origin = start("classic", epochs=1, **numbers)
    list(origin.run())
    before = origin.state()
    loop = {**before.meta["loop"], "rollbacks": 3}
    before = replace(before, meta={**before.meta, "loop": loop})
    here = fingerprint(2, 2, "cpu")
    first = initial_state(
        before,
        origin.config,
        origin.vocabulary,
        here,
        origin.holdout,
        lowercase=False,
        same_text=True,
    )
    load_state = {origin.step: first}.get
    numbers["learning_rate"] = FATAL
    wild = start("classic", first, epochs=3, load_state=load_state, **numbers)
    run = wild.run()
    events = [next(run), next(run)]
    # A resume keeps the count.
    again = start("classic", unpack(pack(wild.state())), epochs=3, load_state=load_state, **numbers)
    run = again.run()
    events.append(next(run))
    assert [event.rollbacks for event in events if isinstance(event, RolledBack)] == [1, 2, 3]
    assert events[0].learning_rate == FATAL / 16, "the rate stays halved"
    with pytest.raises(Diverged):
        next(run)
