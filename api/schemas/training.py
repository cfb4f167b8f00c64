"""The request body of a training."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from api.schemas.fields import DescribedFirstVisibility, Id, Name, without_default
from api.schemas.notifications import Notify
from api.schemas.requests import SchedulingOptions
from api.schemas.sampling import Seed
from shared.specs.training import Budget, PresetName, SampleSpec, TrainNumbers


class SampleRequest(SampleSpec):
    """Sample texts during training."""

    model_config = ConfigDict(strict=True)


class BudgetRequest(Budget):
    """A time budget, instead of `epochs`."""

    model_config = ConfigDict(strict=True)


class TrainBase(SchedulingOptions):
    """The fields of a training request besides the preset's numbers."""

    corpus: Id
    from_checkpoint: Id | None = Field(
        None,
        alias="from",
        description="the checkpoint to start from, of any model that you may use. Numbers that you "
        "leave out are taken from its training, the network's shape is fixed, and `epochs` count "
        "from there. If only the length changes, on the same text and at a constant learning rate, "
        "the training continues bit for bit. Otherwise it takes the weights and starts a new "
        "schedule. New characters of another text get rows of their own.",
    )
    preset: PresetName = "default"
    name: Name | None = Field(None, description="name of the model and the job")
    visibility: DescribedFirstVisibility = "private"
    seed: Seed | None = None
    budget: BudgetRequest | None = Field(
        None, description="instead of `epochs`", json_schema_extra=without_default
    )
    notify: Notify = Field([])
    sample: SampleRequest | None = Field(
        None,
        description="texts to write during training; after every epoch by default, null for none",
        json_schema_extra=without_default,
    )


def _optional(name: str, field: FieldInfo, annotation: Any = None) -> Any:
    # The default is the preset's value, so the schema shows none.
    about = Field(
        description=field.description or name.replace("_", " "), json_schema_extra=without_default
    )
    return Annotated[annotation or field.annotation, *field.metadata, about], None


_NUMBERS = TrainNumbers.model_fields
#: Every number of a preset, with the bounds from shared/specs/training.py.
TrainRequest = create_model(
    "TrainRequest",
    __base__=TrainBase,
    __doc__="Train a network on a corpus, with a preset and changes to its numbers.",
    **{name: _optional(name, field) for name, field in _NUMBERS.items()}
    # Null would train forever.
    | {"epochs": _optional("epochs", _NUMBERS["epochs"], int)},
)
