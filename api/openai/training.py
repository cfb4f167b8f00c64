"""What a request for fine-tuning may say, and the training that it asks for."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from api.errors import Invalid, NoCheckpointYet
from api.http.openapi import validate
from api.openai.model_ids import find_model
from api.openai.requests import MAX_MODEL_CHARACTERS, Ignored, OpenAiRequest, none_if, only
from api.schemas.fields import Name
from api.schemas.sampling import Seed
from api.schemas.training import TrainBase, TrainRequest
from shared.checkpoint_aliases import resolve
from shared.specs.presets import PRESETS
from shared.tables import Checkpoint

#: The key of what OpenAI's API has no field for, in the body or, as JSON, in `metadata`.
OWN_KEY = "quire"
MOST_METADATA = 16


class Hyperparameters(OpenAiRequest):
    """Numbers of a training; `auto` takes that of the preset, or of the model's own training."""

    n_epochs: Annotated[int | None, Field(ge=1), none_if("auto")] = None
    batch_size: Annotated[int | None, Field(ge=1), none_if("auto")] = None
    learning_rate_multiplier: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False), none_if("auto")
    ] = None


class Supervised(OpenAiRequest):
    """The method's numbers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Method(OpenAiRequest):
    """How to train: there is one way."""

    type: Literal["supervised"] = "supervised"
    supervised: Supervised = Supervised()


class FineTuningRequest(OpenAiRequest):
    """The body of ``POST /fine_tuning/jobs``."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARACTERS)]
    training_file: Annotated[str, Field(min_length=1, max_length=100)]
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: Name | None = None
    seed: Seed | None = None
    quire: Annotated[dict[str, Any], Field(default_factory=dict)]
    metadata: Annotated[dict[str, str], Field(default_factory=dict, max_length=MOST_METADATA)]
    integrations: Annotated[Any, only([])] = None
    validation_file: Annotated[Any, only()] = None
    user: Ignored = None

    def training(self, session: Session) -> TrainBase:
        """Return the request for `POST /v1/train` that this one stands for.

        Raises:
            NoSuchModel: There is no such preset or model, or the user may not see it.
            Invalid: A field is not valid, or contradicts another one.
        """
        fields = self._own_fields()
        if self.model in PRESETS:
            fields["preset"] = self.model
            rate = PRESETS[self.model].learning_rate
        else:
            fields["from"], rate = _base(session, self.model)
        numbers = self._hyperparameters()
        asked: dict[str, Any] = {
            "epochs": numbers.n_epochs,
            "batch_size": numbers.batch_size,
            "name": self.suffix,
            "seed": self.seed,
        }
        if numbers.learning_rate_multiplier is not None:
            asked["learning_rate"] = rate * numbers.learning_rate_multiplier
        for name, value in asked.items():
            if value is None:
                continue
            if name in fields:
                raise Invalid(
                    f"{OWN_KEY}.{name}", fields[name], "is given twice. Leave one of them out"
                )
            fields[name] = value
        found: TrainBase = validate(TrainRequest, {"corpus": self.training_file, **fields})
        return found

    def _hyperparameters(self) -> Hyperparameters:
        in_method = None if self.method is None else self.method.supervised.hyperparameters
        if self.hyperparameters is not None and in_method not in (None, Hyperparameters()):
            raise Invalid("hyperparameters", None, "are in `method` as well. Leave one of them out")
        return self.hyperparameters or in_method or Hyperparameters()

    def _own_fields(self) -> dict[str, Any]:
        """The fields of `POST /v1/train` under the key of our own."""
        fields: Any = self.quire
        field = OWN_KEY
        if OWN_KEY in self.metadata:
            if fields:
                raise Invalid(f"metadata.{OWN_KEY}", None, f"is given twice, as {OWN_KEY} as well")
            field = f"metadata.{OWN_KEY}"
            try:
                fields = json.loads(self.metadata[OWN_KEY])
            except (ValueError, RecursionError):
                fields = None
            if not isinstance(fields, dict):
                raise Invalid(field, self.metadata[OWN_KEY], "must be a JSON object, as a string")
        for name in ("corpus", "from", "from_checkpoint"):
            if name in fields:
                raise Invalid(f"{field}.{name}", None, "is what model and training_file say")
        return dict(fields)


def _base(session: Session, reference: str) -> tuple[str, float]:
    """Return the checkpoint to go on from, and the learning rate of its training."""
    found = find_model(session, reference)
    connection = session.connection()
    checkpoint = resolve(connection, found.model.id, found.checkpoint or "best")
    if checkpoint is None or session.get(Checkpoint, checkpoint) is None:
        raise NoCheckpointYet(
            f"model {reference!r} has no checkpoint to go on from. Wait for its training"
        )
    return checkpoint, float(found.model.spec["learning_rate"])
