"""``from``: the checkpoint that a training begins from, and what it decides."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.errors import Invalid
from api.permissions import visible_checkpoint
from shared.specs.presets import PRESETS, PresetName, TrainSpec
from shared.tables import Checkpoint, Model

#: What the weights' shapes and meaning hang on. `window` belongs to it where only the character
#: after a window is predicted: the network then always begins from nothing.
SHAPE = ("tokenizer", "predict", "embedding", "units", "layers")


@dataclass(frozen=True, slots=True)
class BaseCheckpoint:
    """A checkpoint that the caller may use, and how it was trained."""

    checkpoint: Checkpoint
    model: Model
    spec: TrainSpec

    def numbers(
        self, preset: PresetName | None, changes: dict[str, Any]
    ) -> tuple[PresetName, dict[str, Any]]:
        """The preset and the changes of a training that begins here.

        Args:
            preset: As asked for; None takes all that `changes` leaves open from the checkpoint.
            changes: As asked for.

        Raises:
            Invalid: A number is not that of the checkpoint's network.
        """
        mine = self.spec.model_dump()
        shape = self.shape
        for name in shape:
            if name in changes and changes[name] != mine[name]:
                raise Invalid(
                    name,
                    changes[name],
                    f"is {mine[name]!r} in the network of checkpoint {self.checkpoint.id}: leave "
                    "it out, or train a new network without `from`",
                )
        if preset is None:
            known = (*PRESETS["default"].model_dump(), "sample", "budget")
            ends = ("epochs", "budget") if {"epochs", "budget"} & changes.keys() else ()
            kept = {name: mine[name] for name in known if name not in ends}
            return self.spec.preset, kept | changes
        return preset, {name: mine[name] for name in shape} | changes

    def enlarged(self, alphabet: str) -> str:
        """The characters that the checkpoint knows, and then those of the alphabet that are new."""
        known = self.model.vocabulary
        return known + "".join(sorted(set(alphabet) - set(known)))

    @property
    def shape(self) -> tuple[str, ...]:
        """The numbers that a training from here can't change."""
        return (*SHAPE, "window") if self.spec.predict == "last" else SHAPE

    @property
    def words(self) -> int | None:
        """How many words the checkpoint knows beside its characters; None where nobody has said."""
        if self.model.characters_per_token is None:
            return None
        return self.model.vocabulary_size - len(self.model.vocabulary)


def find(session: Session, reference: str | None) -> BaseCheckpoint | None:
    """The checkpoint that somebody names, kept from being deleted until the commit.

    Raises:
        NotFound: There is none, or none that they may see.
    """
    if reference is None:
        return None
    checkpoint, model = visible_checkpoint(session, reference, use=True)
    return BaseCheckpoint(checkpoint, model, TrainSpec.model_validate(model.spec))
