"""A sequence: a request being generated, with its inputs to the loop and the outputs so far."""

import numpy as np
import numpy.typing as npt

from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.rng import SMALLEST_UNIFORM, uniforms
from worker.ml.sampling.shape import REPETITION_WINDOW, FloatArray

#: Bounds of 1/temperature as a float32. At the upper one, temperature 0, every logit but the
#: largest is out of reach.
INVERSE_TEMPERATURES = (1e-30, 3e38)
#: Random numbers are generated for this many tokens at once: starting a generator costs more than
#: continuing it.
UNIFORMS_AHEAD = 1024

IdArray = npt.NDArray[np.int32]


class Sequence:
    """A request in progress. It keeps its own state, so it can wait between calls for any time.

    Step t feeds token t of prompt and text and yields the next one: the prompt's own, or after
    the prompt the one that was drawn.

    Attributes:
        request: What to generate.
        computed_tokens: Tokens fed so far; the sequence's clock.
        state: State of the network after them, [layers, 2 (h, c), windows in flight or 1, U].
        seconds: Device time used so far; of a batch, its share.
        error: Why it cannot continue, if it cannot.
        followed: Whether somebody reads it while it is written, so that its blocks must be short.
        distribution: The logits of the first draw minus the largest [V], if they were requested
            and it was made.
    """

    def __init__(self, request: SamplingRequest, window: int | None, state: FloatArray) -> None:
        # A network with a window sees only the end of a longer prompt once the text begins.
        kept = window if window is not None and request.length else 0
        prompt = np.asarray(request.prompt)[-(kept or 0) :]
        self.request = request
        self.computed_tokens = 0
        self.state = state
        self.seconds = 0.0
        self.error: Exception | None = None
        # Tokens that an extended score has forgotten; `_ids` begins after them.
        self._forgotten = 0
        self.followed = False
        self.distribution: FloatArray | None = None
        # Of each step from the first draw on, if they were requested.
        self._likeliest: list[tuple[IdArray, FloatArray]] = []
        self._prompt_length = len(prompt)
        self._ids = np.empty(len(prompt) + request.length, np.int32)
        self._ids[: len(prompt)] = prompt
        self._logprobs = np.empty(len(self._ids), np.float32)
        self._uniforms, self._uniforms_from = np.empty(0, np.float32), 0

    @property
    def remaining_steps(self) -> int:
        """Steps until the sequence is complete."""
        return len(self._ids) - 1 - self._place

    @property
    def remaining_prompt_steps(self) -> int:
        """Steps until the first token of the text; 0 once it is there."""
        return max(0, self._prompt_length - self._place)

    @property
    def input_token(self) -> int:
        """The token to feed next."""
        return int(self._ids[self._place])

    @property
    def output_ids(self) -> IdArray:
        """The text so far, without the prompt."""
        return self._ids[self._prompt_length : self._place + 1].copy()

    @property
    def logprobs(self) -> FloatArray:
        """Natural log of the probability that the network gave each token so far.

        Taken from its own distribution, before temperature and limits. A request of length 0 has
        those of its prompt, from the second token on, or since it was last extended.
        """
        start = self._prompt_length if self.request.length else 1
        return self._logprobs[start : self._place + 1].copy()

    def likeliest(self, start: int, end: int) -> list[tuple[IdArray, FloatArray]]:
        """The likeliest tokens at some places of the text, most likely first, [K] each.

        With the natural log of the probability that the network gave each of them.
        """
        return self._likeliest[start:end]

    def add_likeliest(self, ids: IdArray, logprobs: FloatArray) -> None:
        """Store the likeliest tokens of the next steps [steps, K], before their outputs."""
        first = max(0, self._prompt_length - 1 - self._place)
        steps = slice(first, max(first, min(len(ids), self.remaining_steps)))
        self._likeliest += zip(ids[steps], logprobs[steps], strict=True)

    def set_distribution(self, logits: FloatArray, steps: int) -> None:
        """Store the logits of the first draw [V] if it is among the next steps."""
        if self.distribution is None and self._place + steps >= self._prompt_length:
            self.distribution = logits

    def extend(self, prompt: npt.NDArray[np.integer]) -> None:
        """Let a request of length 0 read on, and forget what it has read.

        The state goes on, so that a text gets the same log-probabilities in pieces as at once.

        Args:
            prompt: The tokens that follow.
        """
        self._ids = np.concatenate([self._ids[self._place :], prompt.astype(np.int32)])
        self._forgotten = self.computed_tokens
        self._prompt_length = len(self._ids)
        self._logprobs = np.empty(len(self._ids), np.float32)

    @property
    def draw_position(self) -> int:
        """Position in the text of what the next step yields; below 0 in the prompt."""
        return self._place + 1 - self._prompt_length

    def fill_inputs(self, known: IdArray, uniform: FloatArray | None, inverse: FloatArray) -> None:
        """Fill one row of the next steps' inputs.

        Args:
            known: Prompt tokens that the steps must yield, [steps].
            uniform: Random numbers of the draws, [steps]; None if a device makes them.
            inverse: 1/temperature of the draws, [steps]. Without `uniform` it is negative where
                the temperature is 0.
        """
        start = self._place + 1
        prompt = self._ids[start : min(self._prompt_length, start + len(known))]
        known[: len(prompt)] = prompt
        draws = slice(len(prompt), min(len(known), self.remaining_steps))
        count = draws.stop - draws.start
        if count <= 0:
            return
        position = start + len(prompt) - self._prompt_length
        last = self.request.temperature_to
        if last is None:
            self._fill_draws(inverse[draws], uniform, draws, position)
            return
        temperatures = self._temperatures_until(last, position, count)
        least, most = INVERSE_TEMPERATURES
        with np.errstate(divide="ignore", over="ignore"):
            inverse[draws] = np.clip(1 / temperatures, least, most)
        if uniform is None:
            inverse[draws] *= np.where(temperatures > 0, 1, -1)
            return
        numbers = self._uniforms_at(position, count)
        uniform[draws] = np.where(temperatures > 0, numbers, SMALLEST_UNIFORM)

    def _fill_draws(
        self, inverse: FloatArray, uniform: FloatArray | None, draws: slice, position: int
    ) -> None:
        """Do what `fill_inputs` does, for draws of one temperature: there is no array of these."""
        temperature = self.request.temperature
        least, most = INVERSE_TEMPERATURES
        value = min(max(1 / temperature, least), most) if temperature else most
        inverse[:] = value if uniform is not None or temperature > 0 else -value
        if uniform is not None:
            # At temperature 0 nothing is random, and the first of the largest logits is drawn.
            uniform[draws] = (
                self._uniforms_at(position, len(inverse)) if temperature > 0 else SMALLEST_UNIFORM
            )

    def append_outputs(self, yielded: IdArray, logprobs: FloatArray, state: FloatArray) -> None:
        """Store what the steps yielded; steps past the end of the text are discarded."""
        count = min(len(yielded), self.remaining_steps)
        place = slice(self._place + 1, self._place + 1 + count)
        self._ids[place], self._logprobs[place] = yielded[:count], logprobs[:count]
        self.computed_tokens += count
        self.state = state

    def fill_last_seen(self, last_seen: IdArray) -> None:
        """Write into a row [V] when each of the recent tokens was last fed."""
        # Only texts have a penalty, and no text is ever extended.
        start = max(0, self.computed_tokens - REPETITION_WINDOW)
        last_seen[self._ids[start : self.computed_tokens]] = np.arange(start, self.computed_tokens)

    @property
    def _place(self) -> int:
        """Where the next token to feed stands in `_ids`."""
        return self.computed_tokens - self._forgotten

    def _temperatures_until(
        self, last: float, position: int, count: int
    ) -> npt.NDArray[np.float64]:
        """The temperatures of draws under a schedule that ends with `last`."""
        first = self.request.temperature
        share = np.arange(position, position + count) / max(self.request.length - 1, 1)
        return first + (last - first) * share

    def _uniforms_at(self, position: int, count: int) -> FloatArray:
        start = position - self._uniforms_from
        if start < 0 or start + count > len(self._uniforms):
            ahead = min(max(count, UNIFORMS_AHEAD), self.request.length - position)
            self._uniforms = uniforms(self.request.seed, position, ahead)
            self._uniforms_from, start = position, 0
        return self._uniforms[start : start + count]
