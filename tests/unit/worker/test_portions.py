"""Ended runs are persisted in portions, the shortest first."""

from typing import Any, cast

import pytest

from shared.queue.types import Generated
from worker.execution.batching.batch_run import EndedRun, take_portion
from worker.execution.outcome import RunOutcome


def ended(*tokens: int | None) -> list[EndedRun]:
    # A portion looks at nothing but the outcomes.
    return [
        EndedRun(
            cast(Any, None),
            RunOutcome("succeeded", generated=None if count is None else Generated(count, 0.1)),
        )
        for count in tokens
    ]


def tokens_of(runs: list[EndedRun]) -> list[int | None]:
    return [None if run.outcome.generated is None else run.outcome.generated.tokens for run in runs]


@pytest.mark.parametrize(
    ("written", "taken", "left"),
    [
        ([], [], []),
        ([5_000], [5_000], []),
        ([900, 5_000, 100], [100, 900], [5_000]),
        ([500, 500, 1], [1, 500], [500]),
        ([400, 600], [400, 600], []),
        ([3_000, 2_000], [2_000], [3_000]),
        ([1_000, None, 0], [None, 0, 1_000], []),
    ],
)
def test_a_portion_is_the_shortest_runs(
    written: list[int | None], taken: list[int | None], left: list[int | None]
) -> None:
    runs = ended(*written)
    assert tokens_of(take_portion(runs, 1_000)) == taken
    assert tokens_of(runs) == left


def test_portions_lose_nothing() -> None:
    runs = ended(*range(0, 4_000, 7))
    everything, taken = list(map(id, runs)), []
    while runs:
        taken += take_portion(runs, 1_000)
    assert sorted(map(id, taken)) == sorted(everything)
