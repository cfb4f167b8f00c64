"""What may be asked of a training."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from api.schemas.fields import DescribedVisibility, Id, Name, without_default
from api.schemas.requests import SchedulingOptions
from api.schemas.sampling import Seed
from shared.specs.presets import Budget, PresetName, SampleSpec, TrainNumbers


class SampleRequest(SampleSpec):
    """Texts written while a network learns."""

    model_config = ConfigDict(strict=True)


class BudgetRequest(Budget):
    """How long to train, instead of `epochs`."""

    model_config = ConfigDict(strict=True)


class TrainBase(SchedulingOptions):
    """What a training is asked for beside its numbers."""

    corpus: Id
    from_checkpoint: Id | None = Field(
        None,
        alias="from",
        description="a checkpoint to begin from, of any model that you may use. Numbers that are "
        "not given are then its own, those of the network can't be others, and `epochs` count "
        "from there. On the same text with nothing changed but the length, and a constant rate, "
        "the training goes on to the bit; else it takes the weights and begins a new schedule. "
        "Characters of another text that are new get rows of their own.",
    )
    preset: PresetName = "default"
    name: Name | None = Field(None, description="of the model and of the job")
    visibility: DescribedVisibility = "private"
    seed: Seed | None = None
    budget: BudgetRequest | None = Field(
        None, description="instead of `epochs`", json_schema_extra=without_default
    )
    sample: SampleRequest | None = Field(
        None,
        description="texts to write while it learns; null for none; after every epoch if not given",
        json_schema_extra=without_default,
    )


def _optional(name: str, field: FieldInfo, annotation: Any = None) -> Any:
    # Left out it is the preset's, so it has no default that a schema could show.
    about = Field(
        description=field.description or name.replace("_", " "), json_schema_extra=without_default
    )
    return Annotated[annotation or field.annotation, *field.metadata, about], None


_NUMBERS = TrainNumbers.model_fields
#: Every number of a preset, each within the bounds that shared/specs/presets.py gives it.
TrainRequest = create_model(
    "TrainRequest",
    __base__=TrainBase,
    __doc__="A network to train on a corpus: a preset, and any of its numbers to change.",
    **{name: _optional(name, field) for name, field in _NUMBERS.items()}
    # Null would be a training without an end.
    | {"epochs": _optional("epochs", _NUMBERS["epochs"], int)},
)
