"""One text of a `generate` job while it is written."""

from collections import abc
from dataclasses import dataclass

from worker.ml.config import ITEM_BEGIN, ITEM_END
from worker.ml.sampling.sequence import Sequence
from worker.ml.vocabulary import Vocabulary

#: No item holds either, and a network draws the first only where it goes astray.
ITEM_MARKS = (ITEM_END, ITEM_BEGIN)


@dataclass(slots=True)
class GeneratedText:
    """One text of a job.

    Attributes:
        prompt: What the text continues.
        sequence: Its tokens.
        searched_tokens: Tokens that are known to hold no stop string.
        stopped: Whether it has reached a stop string.
        published_tokens: Tokens that the job's followers have received.
        published_characters: Characters that they have received.
        discarded: Draws of it that were thrown away.
        exhausted: Whether as many were as may be, so that it stays empty.
    """

    prompt: str
    sequence: Sequence
    searched_tokens: int = 0
    stopped: bool = False
    published_tokens: int = 0
    published_characters: int = 0
    discarded: int = 0
    exhausted: bool = False

    @property
    def ended(self) -> bool:
        """Whether it needs no more steps."""
        return self.stopped or not self.sequence.remaining_steps

    def written(self, vocabulary: Vocabulary, stops: abc.Sequence[str]) -> str:
        """What it has so far, without the prompt, up to the first of the stop strings."""
        if self.exhausted:
            return ""
        whole = vocabulary.decode(self.sequence.output_ids)
        return before_stop(whole, stops) if self.stopped else whole


def before_stop(text: str, stops: abc.Sequence[str]) -> str:
    """The text before its first stop string."""
    return text[: min(text.find(stop) for stop in stops if stop in text)]
