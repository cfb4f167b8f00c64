"""How often a busy batch runner looks for new jobs."""

import pytest

from worker.execution.batching.claim_pace import CLAIM_SECONDS, FULL_CLAIM_SECONDS, ClaimPace

JUST_BEFORE, JUST_AFTER = 0.99, 1.01


class Clock:
    """A clock that stands still."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def pause_of(pace: ClaimPace, clock: Clock, *, is_full: bool = False, is_hurried: bool) -> float:
    """Return which of the known pauses passes until the pace says that a look is due."""
    began = clock.now
    for seconds in (CLAIM_SECONDS, 2 * CLAIM_SECONDS, 4 * CLAIM_SECONDS, FULL_CLAIM_SECONDS):
        clock.now = began + JUST_BEFORE * seconds
        assert not pace.is_due(is_full=is_full, is_hurried=is_hurried)
        clock.now = began + JUST_AFTER * seconds
        if pace.is_due(is_full=is_full, is_hurried=is_hurried):
            return seconds
    raise AssertionError("no look is due")


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("found", [0, 1])
def test_looks_are_frequent_while_somebody_is_hurried(found: int, is_full: bool) -> None:
    clock = Clock()
    pace = ClaimPace(clock)
    for _ in range(4):
        assert pause_of(pace, clock, is_full=is_full, is_hurried=True) == CLAIM_SECONDS
        pace.note_claim(found)


def test_looks_are_rare_while_the_engine_is_full() -> None:
    clock = Clock()
    pace = ClaimPace(clock)
    for found in (8, 0):
        assert pause_of(pace, clock, is_full=True, is_hurried=False) == FULL_CLAIM_SECONDS
        pace.note_claim(found)


def test_looks_that_find_nothing_become_rare() -> None:
    clock = Clock()
    pace = ClaimPace(clock)
    pauses = []
    for found in (1, 0, 0, 0, 0, 1, 0):
        pauses.append(pause_of(pace, clock, is_hurried=False))
        pace.note_claim(found)
    first, full = CLAIM_SECONDS, FULL_CLAIM_SECONDS
    assert pauses == [first, first, 2 * first, 4 * first, full, full, first]
