"""The shape of a compiled loop of sampling: everything that its graph depends on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.ml.sampling.report import Report

#: The most steps that one call can run; the actual number is an argument.
BLOCK = 256
#: A repetition penalty applies to this many last tokens, prompt included.
REPETITION_WINDOW = 64
#: Marks a token that is to be drawn, among the tokens that a call is to yield.
DRAWN = -1
#: The most work of a short call. Sequences come and go between calls, so it should not take much
#: longer than 10 ms on one core: 256 steps for one sequence of LSTM(128), 84 for 32 of them.
SHORT_MULTIPLY_ADDS_PER_CALL = 200_000_000
#: The same if nobody waits for its end: fewer, longer calls leave more time to the rest.
LONG_MULTIPLY_ADDS_PER_CALL = 600_000_000

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepShape:
    """Everything that a compiled graph depends on; checkpoints of equal shape share the graph.

    Attributes:
        vocabulary: Size of the padded vocabulary, V.
        units: Units of each layer, U.
        layers: LSTM layers.
        window: Windows in flight per row, W, for a network that starts each window from zero;
            None for one that carries its state.
        rows: Rows of the batch, B.
        filtered: Whether top-k, top-p and the repetition penalty are part of the graph.
        xla: Whether XLA compiles it; otherwise TensorFlow runs it op by op.
        stack: Checkpoints that share a step, K; each has B / K consecutive rows.
        logits: Whether the graph also returns the logits, so that their bits can be compared.
        report: What the graph returns beside the tokens; None costs nothing.
        gpu: Whether a GPU's rules hold: calls are long, rows are sorted to restrict draws, and the
            device makes the random numbers.
    """

    vocabulary: int
    units: int
    layers: int
    window: int | None
    rows: int
    filtered: bool
    xla: bool
    stack: int = 1
    logits: bool = False
    report: Report | None = None
    gpu: bool = False

    @property
    def states(self) -> int:
        """LSTM states per layer: one per row, or one per window in flight."""
        return self.rows * (self.window or 1)

    @property
    def short_steps_per_call(self) -> int:
        """How many steps a short call should run on a CPU: BLOCK, or fewer for a large network."""
        return self._steps_within(SHORT_MULTIPLY_ADDS_PER_CALL)

    @property
    def long_steps_per_call(self) -> int:
        """The same for a call whose end nobody waits for."""
        return self._steps_within(LONG_MULTIPLY_ADDS_PER_CALL)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of a step's products."""
        lstm = self.states * (2 * self.layers - 1) * 4 * self.units**2
        return lstm + self.rows * self.units * self.vocabulary

    def _steps_within(self, multiply_adds: int) -> int:
        return max(1, min(BLOCK, multiply_adds // self.multiply_adds))

    def new_state(self) -> FloatArray:
        """The state before the first token, [layers, 2 (h, c), states, U]."""
        return np.zeros((self.layers, 2, self.states, self.units), np.float32)
