"""One attempt to tell which tokens may follow a prompt: one draw, whose distribution is kept."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shared.queue.types import TextRecord
from shared.specs.generation import GenerateSpec, NextSpec
from worker.data.model_cache import LoadedModel
from worker.handlers.generation_run import LOGPROB_DIGITS, TokenTexts, temperature_ends
from worker.handlers.reading_run import ReadingRun
from worker.ml.config import ITEM_BEGIN
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sequence import Sequence

#: Significant digits of a stored probability.
PROBABILITY_DIGITS = 6

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NextRun(ReadingRun):
    """A prompt while it is read, and the distribution of the token after it.

    Attributes:
        spec: The job's spec.
        wanted: What is to be told.
        checkpoint_id: The checkpoint that tells it.
        model: The loaded checkpoint.
        prompt: The prompt.
        sequence: Its tokens and one more.
    """

    spec: GenerateSpec
    wanted: NextSpec
    checkpoint_id: str
    model: LoadedModel
    prompt: str
    sequence: Sequence

    @classmethod
    def begin(
        cls,
        spec: GenerateSpec,
        wanted: NextSpec,
        checkpoint_id: str,
        model: LoadedModel,
        prompt: str,
    ) -> Self:
        """Prepare the sequence of a prompt."""
        request = SamplingRequest(
            prompt=model.vocabulary.encode(ITEM_BEGIN + prompt if spec.items else prompt),
            length=1,
            temperature=1.0,
            top_k=None,
            top_p=None,
            seed=0,
            report="distribution",
        )
        sequence = model.sampler.new_sequence(request)
        return cls(spec, wanted, checkpoint_id, model, prompt, sequence)

    def new_progress(self) -> None:
        """It is done at once."""

    def read_ahead(self) -> None:
        """It has all its input."""

    def records(self, unfinished: str | None = None) -> list[TextRecord]:
        """What may follow; nothing if it was interrupted."""
        logits = self.sequence.distribution
        if unfinished is not None or logits is None:
            return []
        temperatures = [temperature_ends(each)[0] for each in self.spec.temperatures]
        found = logits[: len(self.model.vocabulary)].astype(np.float64)
        return [
            TextRecord(
                position=0,
                prompt=self.prompt,
                text="",
                temperature=temperatures[0],
                top_k=None,
                top_p=None,
                seed=0,
                finish_reason="next",
                checkpoint_id=self.checkpoint_id,
                next_tokens=[self._tokens_at(each, found) for each in temperatures],
            )
        ]

    def _tokens_at(self, temperature: float, logits: Probabilities) -> dict[str, Any]:
        probabilities = distribution(logits, temperature)
        # Stable: of equally likely tokens the one with the lower id comes first.
        likeliest = np.argsort(-probabilities, kind="stable")[: self.wanted.top]
        texts = TokenTexts(self.model.vocabulary.decode)
        above = probabilities[probabilities > 0]
        return {
            "temperature": temperature,
            "entropy_bits": round(float(-(above * np.log2(above)).sum()) + 0.0, LOGPROB_DIGITS),
            "rest": _rounded(max(0.0, 1.0 - float(probabilities[likeliest].sum()))),
            "tokens": [
                (texts[id], _rounded(probability))
                for id, probability in zip(
                    likeliest.tolist(), probabilities[likeliest].tolist(), strict=True
                )
            ],
        }


def distribution(logits: Probabilities, temperature: float) -> Probabilities:
    """The probabilities [V] of logits [V] at a temperature; 0 leaves the likeliest token alone."""
    if not temperature:
        alone = np.zeros_like(logits)
        alone[int(np.argmax(logits))] = 1.0
        return alone
    with np.errstate(over="ignore"):
        weights = np.exp((logits - logits.max()) / temperature)
    found: Probabilities = weights / weights.sum()
    return found


def _rounded(probability: float) -> float:
    if probability <= 0:
        return 0.0
    digits = PROBABILITY_DIGITS - 1 - math.floor(math.log10(probability))
    return round(probability, digits)
