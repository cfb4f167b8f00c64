"""What the runners expect of the handlers that they are given."""

from collections import abc
from collections.abc import Callable
from typing import Any, Protocol

from shared.queue.types import Claim, ProgressReport, TextRecord
from worker.execution.lease import Lease
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

#: Runs one job and returns the texts it wrote.
Handler = Callable[[Lease], abc.Sequence[TextRecord]]


class Generation(Protocol):
    """A job's texts while they are generated, as the batch runner sees them."""

    @property
    def sampler(self) -> Sampler:
        """The network that all sequences are sampled from."""

    @property
    def sequences(self) -> abc.Sequence[Sequence]:
        """All sequences of the job."""

    @property
    def unfinished(self) -> abc.Sequence[Sequence]:
        """The sequences that still need steps."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done before it can be written down."""

    @property
    def seconds(self) -> float:
        """The device time that it has used."""

    def newly_stopped(self) -> abc.Sequence[Sequence]:
        """The sequences that have reached a stop string since the last call."""

    def drawn_again(self) -> abc.Sequence[Sequence]:
        """New sequences in place of those whose texts were thrown away since the last call."""

    def new_pieces(self) -> list[dict[str, Any]]:
        """What was written since the last call, as `piece` events."""

    def read_ahead(self) -> None:
        """Give the sequences what the next block will read."""

    def new_progress(self) -> ProgressReport | None:
        """How far a job is that writes nothing, from time to time; else None."""

    def check(self) -> None:
        """Raise the error that the engine met in one of the sequences, if any."""


class BatchHandler(Protocol):
    """Starts jobs, and writes down what they wrote."""

    def __call__(self, claim: Claim) -> Generation:
        """Load what a job needs and return its texts, none of them begun."""

    def records(
        self, ended: abc.Sequence[tuple[Any, str | None]]
    ) -> list[abc.Sequence[TextRecord]]:
        """The texts of ended generations as they are stored.

        Each generation comes with the `finish_reason` of its texts that were interrupted.
        """
