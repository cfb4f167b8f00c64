"""A text while it is written: what it feeds to the loop, and what came back."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from worker.ml.sampling.rng import uniforms
from worker.ml.sampling.step import REPETITION_WINDOW, FloatArray

if TYPE_CHECKING:
    from worker.ml.sampling.sampler import SamplingRequest

#: Bounds of 1/temperature as a float32. At the upper one, temperature 0, every logit but the
#: largest is out of reach.
INVERSE_TEMPERATURES = (1e-30, 3e38)
#: The smallest random number, which picks the first of several largest logits.
FIRST = np.float32(2.0**-24)
#: Random numbers are made for so many characters ahead: to begin costs more than to go on.
NUMBERS_AHEAD = 1024

IdArray = npt.NDArray[np.int32]


class Stream:
    """A draft on its way. It lives between two calls of the loop and can wait for any time.

    Step t feeds character t of prompt and text and yields the next: the prompt's own, or after
    it what was drawn.

    Attributes:
        draft: What is asked for.
        fed: Characters that were fed: the stream's clock.
        state: Of the network after them, [layers, 2 (h, c), windows in flight or 1, U].
        seconds: Time on the device that it has used; of a batch, its share.
        error: Why it can't go on, if it can't.
    """

    def __init__(self, draft: "SamplingRequest", window: int | None, state: FloatArray) -> None:
        # Of a longer prompt a window never sees more when it comes to the text.
        seen = window if window is not None and draft.length else 0
        prompt = np.asarray(draft.prompt)[-(seen or 0) :]
        self.draft = draft
        self.fed = 0
        self.state = state
        self.seconds = 0.0
        self.error: Exception | None = None
        self._prompt = len(prompt)
        self._ids = np.empty(len(prompt) + draft.length, np.int32)
        self._ids[: len(prompt)] = prompt
        self._logprobs = np.empty(len(self._ids), np.float32)
        self._numbers, self._numbers_from = np.empty(0, np.float32), 0

    @property
    def left(self) -> int:
        """Steps to its end."""
        return len(self._ids) - 1 - self.fed

    @property
    def left_to_begin(self) -> int:
        """Steps to the first character of the text; 0 once it is there."""
        return max(0, self._prompt - self.fed)

    @property
    def last(self) -> int:
        """The character to feed next."""
        return int(self._ids[self.fed])

    @property
    def written(self) -> IdArray:
        """The text so far, without the prompt."""
        return self._ids[self._prompt : self.fed + 1].copy()

    @property
    def logprobs(self) -> FloatArray:
        """Of each character written so far: ln of the probability that the network gave it.

        Of its own distribution, before temperature and limits. A draft of length 0 has those of
        its prompt, from the second character on.
        """
        start = self._prompt if self.draft.length else 1
        return self._logprobs[start : self.fed + 1].copy()

    def feed(self, known: IdArray, uniform: FloatArray, inverse: FloatArray) -> None:
        """Fill a row of the next steps: characters to yield, random numbers, 1/temperatures."""
        given = self._ids[self.fed + 1 : min(self._prompt, self.fed + 1 + len(known))]
        known[: len(given)] = given
        draws = slice(len(given), min(len(known), self.left))
        count = draws.stop - draws.start
        if count <= 0:
            return
        position = self.fed + 1 + len(given) - self._prompt
        temperatures = self._temperatures(position, count)
        least, most = INVERSE_TEMPERATURES
        with np.errstate(divide="ignore", over="ignore"):
            inverse[draws] = np.clip(1 / temperatures, least, most)
        numbers = self._uniforms(position, count)
        uniform[draws] = np.where(temperatures > 0, numbers, FIRST)

    def take(self, yielded: IdArray, logprobs: FloatArray, state: FloatArray) -> None:
        """Keep what the steps yielded; those after the text's end were for nothing."""
        count = min(len(yielded), self.left)
        place = slice(self.fed + 1, self.fed + 1 + count)
        self._ids[place], self._logprobs[place] = yielded[:count], logprobs[:count]
        self.fed += count
        self.state = state

    def mark_recent(self, seen: IdArray) -> None:
        """Write into a row [V] when each of the last characters was fed."""
        start = max(0, self.fed - REPETITION_WINDOW)
        seen[self._ids[start : self.fed]] = np.arange(start, self.fed)

    def _temperatures(self, position: int, count: int) -> npt.NDArray[np.float64]:
        first, last = self.draft.temperature, self.draft.temperature_to
        if last is None:
            return np.full(count, first)
        share = np.arange(position, position + count) / max(self.draft.length - 1, 1)
        return first + (last - first) * share

    def _uniforms(self, position: int, count: int) -> FloatArray:
        start = position - self._numbers_from
        if start < 0 or start + count > len(self._numbers):
            ahead = min(max(count, NUMBERS_AHEAD), self.draft.length - position)
            self._numbers = uniforms(self.draft.seed, position, ahead)
            self._numbers_from, start = position, 0
        return self._numbers[start : start + count]
