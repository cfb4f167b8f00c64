"""What the presets change where a budget is long for its text."""

from typing import Any

import pytest

from tests.api.harness import ENGLISH, Person


@pytest.mark.parametrize(
    ("fields", "dropout"),
    [
        ({}, 0.1),
        ({"budget": {"seconds": 1}}, 0.1),
        ({"budget": {"seconds": 3600}}, 0.3),
        ({"budget": {"seconds": 3600}, "dropout": 0.2}, 0.2),
        ({"budget": {"seconds": 3600}, "preset": "classic"}, 0.0),
    ],
)
def test_a_budget_that_is_long_for_its_text_drops_more(
    ann: Person, fields: dict[str, Any], dropout: float
) -> None:
    corpus = ann.upload(ENGLISH * (40_000 // len(ENGLISH)))
    assert ann.train(corpus, **fields)["spec"]["dropout"] == dropout
