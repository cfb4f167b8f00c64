"""What a text's log-probability is told as."""

import math

import pytest

from worker.handlers.generation_run import bits_per_char


def test_bits_are_counted_by_character() -> None:
    assert bits_per_char(-8 * math.log(2), 4) == pytest.approx(2)
    assert bits_per_char(-1.0, 0) is None


@pytest.mark.parametrize("nats", [0.0, -0.0])
def test_a_text_that_is_certain_has_no_negative_zero(nats: float) -> None:
    assert f"{bits_per_char(nats, 4):.4f}" == "0.0000"
