"""What is held out of a text: the same share of it, all over it, and never trained on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from shared.specs import windows
from tests.unit.ml.conftest import Start, small_config
from worker.ml.checkpoint import digest, pack, unpack
from worker.ml.config import TrainConfig, minimum_characters
from worker.ml.holdout import (
    MAX_PIECES,
    MIN_PIECE_WINDOWS,
    Holdout,
    TooShort,
    WindowTooLong,
    least_windows,
)
from worker.ml.training.progress import Validated
from worker.ml.training.transfer import can_continue, initial_state
from worker.ml.vectorize import (
    epoch_starts,
    find_holdout,
    steps_per_epoch,
    validation_starts,
    vectorize,
)

KINDS = ("classic", "default")


def spread(kind: str = "default", **changes: object) -> TrainConfig:
    return small_config(kind, 20, holdout="spread", **changes)


def touched(config: TrainConfig, starts: np.ndarray) -> set[int]:
    """The tokens that windows read or predict."""
    places = starts[starts >= 0][:, None] + np.arange(config.window + 1)
    return set(places.ravel().tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held_out", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("tokens", [500, 1003, 25_078, 100_001])
def test_no_window_of_the_training_touches_what_is_held_out(
    kind: str, held_out: float, tokens: int
) -> None:
    config = spread(kind, held_out=held_out)
    try:
        holdout = Holdout.draw(config, tokens)
    except TooShort:
        assert tokens < minimum_characters(config)
        return
    held = {token for first, end in holdout.pieces for token in range(first, end)}
    assert len(held) == int(tokens * held_out), "as many as in a tail"
    judged = [touched(config, each) for each in validation_starts(config, holdout.pieces)]
    for piece, (first, end) in zip(judged, holdout.pieces, strict=True):
        assert piece
        assert piece <= set(range(first, end))
    for epoch in range(3):
        starts = epoch_starts(config, holdout.parts, epoch)
        assert len(starts) == steps_per_epoch(config, holdout.parts)
        assert not touched(config, starts) & held


@pytest.mark.parametrize(("tokens", "pieces"), [(1000, 2), (2000, 4), (100_000, MAX_PIECES)])
def test_pieces_lie_in_all_parts_of_a_text_and_hold_four_windows(tokens: int, pieces: int) -> None:
    config = spread()
    holdout = Holdout.draw(config, tokens)
    assert len(holdout.pieces) == pieces
    for number, (first, end) in enumerate(holdout.pieces):
        assert tokens * number // pieces <= first < end <= tokens * (number + 1) // pieces
        assert end - first > MIN_PIECE_WINDOWS * config.window
    assert all(end < first for (_, end), (first, _) in pairwise(holdout.pieces))


def test_the_seed_draws_the_pieces() -> None:
    config = spread()
    assert Holdout.draw(config, 5000) == Holdout.draw(replace(config, epochs=9), 5000)
    assert Holdout.draw(config, 5000) != Holdout.draw(replace(config, seed=8), 5000)


@pytest.mark.parametrize("changes", [{"holdout": "tail"}, {"held_out": 0.09}])
def test_a_text_too_short_for_two_pieces_keeps_the_tail(changes: dict[str, object]) -> None:
    config = replace(spread(), **changes)
    count = int(1000 * config.held_out)
    assert Holdout.draw(config, 1000).pieces == ((1000 - count, 1000),)
    assert Holdout.draw(config, 1000).parts == ((0, 1000 - count),)


@pytest.mark.parametrize("holdout", ["tail", "spread"])
@pytest.mark.parametrize(("window", "held_out"), [(60, 0.05), (96, 0.05), (12, 0.5), (4, 0.013)])
def test_the_error_names_the_shortest_text_that_works(
    holdout: str, window: int, held_out: float
) -> None:
    config = small_config("default", 20, window=window, held_out=held_out, holdout=holdout)
    least = minimum_characters(config)
    Holdout.draw(config, least)
    with pytest.raises(TooShort, match=f"{least:,}") as caught:
        Holdout.draw(config, least - 1)
    assert (caught.value.tokens, caught.value.minimum) == (least - 1, least)
    # The API applies the same rule before a job is queued.
    assert least == windows.minimum_characters(window, held_out)


def test_what_a_checkpoint_names_is_kept_if_the_text_is_as_long() -> None:
    config = spread()
    kept = Holdout.draw(config, 5000)
    meta = {"holdout": kept.as_dict()}
    other = replace(config, seed=99, held_out=0.4, holdout="tail")
    assert Holdout.from_meta(meta, other, 5000) == kept
    assert Holdout.from_meta(meta, other, 4999) == Holdout.draw(other, 4999)
    assert Holdout.from_meta({}, other, 5000) == Holdout.draw(other, 5000)
    longest = max(end - first for first, end in kept.pieces)
    Holdout.from_meta(meta, replace(config, window=longest - 1), 5000)
    with pytest.raises(WindowTooLong, match=f"may have {longest - 1} at most"):
        Holdout.from_meta(meta, replace(config, window=longest), 5000)


@pytest.mark.parametrize("pieces", [[], [[10, 5]], [[0, 50], [40, 60]], [[90, 101]]])
def test_pieces_that_are_none_are_refused(pieces: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="no pieces"):
        Holdout.from_meta({"holdout": {"tokens": 100, "pieces": pieces}}, spread(), 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_tells_the_loss_of_each_piece(start: Start, kind: str) -> None:
    trainer = start(kind, holdout="spread", batch_size=4, held_out=0.2)
    events = [event for event in trainer.run() if isinstance(event, Validated)]
    assert len(trainer.holdout.pieces) > 2
    for event in events:
        assert len(event.piece_losses) == len(trainer.holdout.pieces)
        starts = validation_starts(trainer.config, trainer.holdout.pieces)
        windows = [int((each >= 0).sum()) for each in starts]
        # Every window counts once, whichever piece it lies in.
        mean = float(np.average([loss or 0.0 for loss in event.piece_losses], weights=windows))
        assert event.val_loss == pytest.approx(mean, rel=1e-6)
    [tail] = next(event for event in start(kind).run() if isinstance(event, Validated)).piece_losses
    assert tail is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_keeps_the_pieces_to_the_bit(start: Start, kind: str) -> None:
    whole = start(kind, holdout="spread", held_out=0.2)
    list(whole.run())
    half = start(kind, holdout="spread", held_out=0.2)
    next(event for event in half.run() if isinstance(event, Validated))
    state = unpack(pack(half.state()))
    resumed = start(kind, state, holdout="spread", held_out=0.2)
    assert resumed.holdout == half.holdout == whole.holdout
    list(resumed.run())
    assert digest(resumed.state()) == digest(whole.state())


@pytest.mark.parametrize("seed", [7, 99])
def test_a_training_from_it_is_judged_by_the_same_pieces(start: Start, seed: int) -> None:
    first = start("default", holdout="spread", held_out=0.2, schedule="constant")
    list(first.run())
    before = first.state()
    config = replace(first.config, seed=seed, epochs=4)
    same = can_continue(before, config)
    assert same == (seed == 7)
    state = initial_state(
        before,
        config,
        first.vocabulary,
        {},
        Holdout.from_meta(before.meta, config, first.holdout.tokens),
        lowercase=False,
        same_text=True,
    )
    second = start(
        "default", state, holdout="spread", held_out=0.2, schedule="constant", seed=seed, epochs=4
    )
    assert second.holdout == first.holdout
    assert (second.step > 0) == same


def test_the_held_out_lines_of_a_list_judge_in_random_order() -> None:
    config = spread(window=30, held_out=0.2)
    text = "".join(f"{number:03}\n" for number in range(1000))
    vocabulary, ids = vectorize(text)
    holdout = Holdout.draw(config, len(ids))
    lines = holdout.shuffled_lines(ids, vocabulary, config.window)
    assert lines is not None
    found = vocabulary.decode(lines).splitlines()
    held_out = [
        line
        for first, end in holdout.pieces
        for line in text[first:end].split("\n")[1:-1]  # the first and the last may be cut
    ]
    assert sorted(found) == sorted(held_out)
    assert found != held_out
    assert np.array_equal(lines, holdout.shuffled_lines(ids, vocabulary, config.window))
    assert holdout.shuffled_lines(ids, vocabulary, 23) is None, "five lines in a window are no list"
    tail = Holdout.draw(replace(config, holdout="tail"), len(ids))
    assert tail.shuffled_lines(ids, vocabulary, config.window) is None


def test_a_piece_of_a_list_may_be_as_short_as_a_window() -> None:
    config = spread(window=30, held_out=0.05)
    vocabulary, ids = vectorize("".join(f"{number:03}\n" for number in range(1000)))
    holdout = find_holdout({}, config, ids, vocabulary)
    assert isinstance(holdout, Holdout)
    assert len(holdout.pieces) == 200 // 31
    assert min(end - first for first, end in holdout.pieces) > 30
    assert find_holdout({"holdout": holdout.as_dict()}, config, ids, vocabulary) == holdout
    assert least_windows(ids, vocabulary, 24) == 1
    assert least_windows(ids, vocabulary, 23) == MIN_PIECE_WINDOWS
    prose, ids = vectorize("without an end of a line " * 100)
    assert least_windows(ids, prose, 200) == MIN_PIECE_WINDOWS
