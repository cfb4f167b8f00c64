"""Generated texts, and what is told of them. Fields that a newer server adds are kept."""

from datetime import datetime

from pydantic import ConfigDict, Field

from quire.client import html
from quire.client.replies.base import Reply


class Novelty(Reply):
    """How much of a text was copied from its corpus."""

    copied_characters: int
    copied: str
    known_grams: float | None = None

    def line(self) -> str:
        """Return it as ``longest copy 18 characters, 54% of its 8-grams known``."""
        grams = "" if self.known_grams is None else f", {self.known_grams:.0%} of its 8-grams known"
        plural = "" if self.copied_characters == 1 else "s"
        return f"longest copy {self.copied_characters} character{plural}{grams}"


class LikelyToken(Reply):
    """A token that could have stood there, too."""

    token: str
    logprob: float


class CopiedSpan(Reply):
    """A piece of a text that stands in the corpus; `source` is the reply's `from`."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: int
    length: int
    source: int = Field(alias="from")


class NextToken(Reply):
    """A token that may follow."""

    token: str
    probability: float
    logprob: float | None = None


class NextTokens(Reply):
    """Which tokens may follow a prompt at one temperature, the likeliest first."""

    temperature: float
    entropy_bits: float
    rest: float
    tokens: list[NextToken]


class Nearest(Reply):
    """The item of the corpus that is nearest to a text.

    Attributes:
        distance: Characters to insert, delete or replace between the two.
    """

    item: str
    distance: int


class Text(Reply):
    """A generated text.

    Attributes:
        is_copy: The reply's `copy`: whether it is, prompt included, an item of the corpus. None
            for a text that is no item.
        discarded: Draws that were thrown away before it; None without `only_new`.
        nearest: The corpus's nearest item, if requested.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    job: str
    model: str | None = None
    checkpoint: str | None = None
    prompt: str
    text: str
    temperature: float
    seed: int | None = None
    index: int | None = None
    finish_reason: str | None = None
    step: int | None = None
    epoch: float | None = None
    temperature_to: float | None = None
    echo: bool = False
    mean_logprob: float | None = None
    bits_per_char: float | None = None
    logprobs: list[float] | None = None
    tokens: list[str] | None = None
    top_logprobs: list[list[LikelyToken]] | None = None
    copied_spans: list[CopiedSpan] | None = None
    next: list[NextTokens] | None = None
    kept: bool = False
    note: str | None = None
    novelty: Novelty | None = None
    is_copy: bool | None = Field(None, alias="copy")
    discarded: int | None = None
    nearest: Nearest | None = None
    created_at: datetime | None = None

    @property
    def whole(self) -> str:
        """The prompt and the text."""
        return self.text if self.echo else self.prompt + self.text

    @property
    def continuation(self) -> str:
        """What the model wrote, without the prompt."""
        return self.text.removeprefix(self.prompt) if self.echo else self.text

    def __str__(self) -> str:
        return self.whole

    def _repr_html_(self) -> str:
        """Show the text in a notebook, with what it copies underlined."""
        return html.text(self.prompt, self.continuation, self._copied(), self._caption())

    def _copied(self) -> list[tuple[int, int]]:
        """Where the continuation copies its corpus: all copies if they are told, or the longest."""
        before = len(self.text) - len(self.continuation)
        spans = self.as_json().get("copied_spans")
        if spans is not None:
            starts = [(span["start"] - before, span["length"]) for span in spans]
            return [(start, start + length) for start, length in starts]
        copied = self.novelty.copied if self.novelty is not None else ""
        at = self.continuation.find(copied) if copied else -1
        return [] if at < 0 else [(at, at + len(copied))]

    def _caption(self) -> str:
        parts = [f"temperature {self.temperature:g}"]
        parts += [] if self.seed is None else [f"seed {self.seed}"]
        parts += [] if self.bits_per_char is None else [f"{self.bits_per_char:.2f} bits/char"]
        parts += [] if self.novelty is None else [self.novelty.line()]
        return " · ".join(parts)
