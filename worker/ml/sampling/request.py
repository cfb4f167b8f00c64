"""A sampling request: the prompt, the length and the sampling parameters of one text."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.ml.sampling.report import Report
from worker.ml.sampling.rng import SEEDS


@dataclass(frozen=True, eq=False)
class SamplingRequest:
    """One text to generate.

    Attributes:
        prompt: Token ids to continue, at least one. A network with a window reads the last
            `window` of them; one that carries its state reads all.
        length: Tokens to generate. With 0 the prompt is only scored.
        temperature: Divides the logits; 0 always picks the likeliest token.
        top_k: Sample only from this many likeliest tokens; None from all.
        top_p: Sample only from the fewest likeliest tokens that together have at least this
            probability, after `top_k`; None from all.
        seed: Decides every draw, together with the draw's position in the text.
        temperature_to: Temperature of the last token, reached in equal steps from `temperature`
            at the first; None keeps `temperature`.
        repetition_penalty: Divides the probability of each of the last `REPETITION_WINDOW`
            tokens, prompt included, before the temperature; 1 changes nothing.
        report: What to keep of each draw beside its token: the likeliest tokens, or of the first
            draw the whole distribution.

    Raises:
        ValueError: A field is out of range.
    """

    prompt: npt.NDArray[np.integer]
    length: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    temperature_to: float | None = None
    repetition_penalty: float = 1.0
    report: Report | None = None

    def __post_init__(self) -> None:
        last = self.temperature if self.temperature_to is None else self.temperature_to
        rules = (
            ("prompt", len(self.prompt) > 0, "at least one token"),
            ("length", self.length >= 0, "0 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "a finite number from 0"),
            ("temperature_to", 0 <= last < math.inf, "a finite number from 0, or None"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or None"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and up to 1, or None"),
            ("seed", 0 <= self.seed < SEEDS, "from 0 to 2^64 - 1"),
            (
                "repetition_penalty",
                0 < self.repetition_penalty < math.inf,
                "a finite number above 0",
            ),
        )
        for name, valid, expected in rules:
            if not valid:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {expected}")

    @property
    def filtered(self) -> bool:
        """Whether it restricts its draws, which takes the larger of a shape's two graphs."""
        return self.top_k is not None or self.top_p is not None or self.repetition_penalty != 1

    @property
    def graph(self) -> tuple[bool, Report | None]:
        """Which graph of a shape it needs. Only requests of one graph share a batch."""
        return self.filtered, self.report
