"""What jobs have in common that read one sequence and write nothing."""

from typing import Any

from worker.data.model_cache import LoadedModel
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence


class ReadingRun:
    """One attempt at a job whose only sequence is read.

    Attributes:
        model: The loaded checkpoint.
        sequence: What it reads.
    """

    __slots__ = ()

    model: LoadedModel
    sequence: Sequence

    @property
    def sampler(self) -> Sampler:
        """The network that reads."""
        return self.model.sampler

    @property
    def sequences(self) -> list[Sequence]:
        """The one sequence."""
        return [self.sequence]

    @property
    def unfinished(self) -> list[Sequence]:
        """The sequence, until all of it is read."""
        return [] if self.finished else [self.sequence]

    @property
    def finished(self) -> bool:
        """Whether all of it is read."""
        return not self.sequence.remaining_steps

    @property
    def seconds(self) -> float:
        """The device time that it has used."""
        return self.sequence.seconds

    def newly_stopped(self) -> list[Sequence]:
        """Nothing stops what writes nothing."""
        return []

    def drawn_again(self) -> list[Sequence]:
        """It draws nothing."""
        return []

    def new_pieces(self) -> list[dict[str, Any]]:
        """It writes nothing."""
        return []

    def check(self) -> None:
        """Raise the error that the engine met, if any."""
        if self.sequence.error is not None:
            raise self.sequence.error
