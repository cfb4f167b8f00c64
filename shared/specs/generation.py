"""A fully resolved generation, as its job stores it."""

from pydantic import ConfigDict, Field

from shared.specs.presets import SEED_LIMIT, Frozen, Temperature
from shared.texts.characters import NormalForm
from shared.texts.vocabulary import OnUnknown


class Schedule(Frozen):
    """A temperature that changes from a text's first token to its last, in equal steps."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    first: Temperature = Field(alias="from")
    last: Temperature = Field(alias="to")


class CorpusFitting(Frozen):
    """How the text of a corpus is brought to the characters of a model that scores it."""

    unknown: OnUnknown
    normal_form: NormalForm | None = Field(description="of the corpus that the model learnt from")


class NextSpec(Frozen):
    """What is wanted of the tokens that may follow a prompt."""

    top: int = Field(ge=1, description="how many of the likeliest")


class GenerateSpec(Frozen):
    """A fully resolved generation, stored in `jobs.spec` for kind `generate`.

    With `score` it writes no text: it reads its prompt and computes the likelihood of the prompt.
    With `next` it writes none either: it tells which tokens may follow, at each temperature.
    With `fitting` it reads the job's corpus instead, piece by piece.
    """

    checkpoint: str = Field(description="best, latest or the id of a checkpoint")
    prompt: str | None = Field(description="null: a random passage of the corpus")
    length: int = Field(ge=0)
    temperatures: list[Temperature | Schedule]
    top_k: int | None
    top_p: float | None
    n: int = Field(ge=1)
    seed: int = Field(ge=0, lt=SEED_LIMIT)
    repetition_penalty: float = Field(1.0, gt=0)
    stop: list[str] = Field([])
    echo: bool = False
    logprobs: bool = False
    score: bool = False
    #: This and the next are left out where they are not used, so that workers of an earlier
    #: version run everything else.
    fitting: CorpusFitting | None = Field(None, exclude_if=lambda fitting: fitting is None)
    items: bool = Field(
        False,
        exclude_if=lambda items: not items,
        description="write items of a list, each to its end",
    )
    top_logprobs: int = Field(0, ge=0, exclude_if=lambda count: not count)
    copied_spans: bool = Field(False, exclude_if=lambda asked: not asked)
    next: NextSpec | None = Field(None, exclude_if=lambda wanted: wanted is None)
