"""``from``: the checkpoint that a training starts from, and what it fixes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.errors import Invalid
from api.permissions import current_user, digests_of_visible, visible_checkpoint
from shared.specs.presets import PRESETS
from shared.specs.training import PresetName, TrainSpec
from shared.tables import Checkpoint, Corpus, Model

#: The fields that determine the shape and meaning of the weights. With `predict: last`, `window`
#: is one of them: such a network starts every window from an empty state.
SHAPE_FIELDS = ("tokenizer", "predict", "embedding", "tied_embedding", "units", "layers")
#: The fields that determine which pieces judge a training. On the same corpus they stay, or the
#: network would be judged on what it has learnt.
HOLDOUT_FIELDS = ("held_out", "holdout")


@dataclass(frozen=True, slots=True)
class BaseCheckpoint:
    """A checkpoint that the current user may start from, with its model and training spec.

    Attributes:
        checkpoint: The checkpoint.
        model: Its model.
        spec: The spec of its training.
        corpus_sha256: The text of its training; None if the user may not see it.
    """

    checkpoint: Checkpoint
    model: Model
    spec: TrainSpec
    corpus_sha256: str | None

    def resolve_fields(
        self, preset: PresetName | None, changes: dict[str, Any], corpus: Corpus
    ) -> tuple[PresetName, dict[str, Any]]:
        """Return the preset and the changed fields of a training that starts here.

        Args:
            preset: The preset of the request. None takes every field that `changes` leaves out
                from the checkpoint's training.
            changes: The fields of the request.
            corpus: The training's corpus.

        Raises:
            Invalid: A field contradicts the checkpoint's network, or changes which pieces of its
                corpus are held out.
        """
        own = self.spec.model_dump()
        fixed = self.fixed_fields
        if self.is_trained_on(corpus):
            fixed = (*fixed, *HOLDOUT_FIELDS)
        for name in fixed:
            if name in changes and changes[name] != own[name]:
                why = "train a new network without `from`"
                if name in HOLDOUT_FIELDS:
                    why = "choose another corpus: on the same one the held-out pieces stay"
                raise Invalid(
                    name,
                    changes[name],
                    f"must be {own[name]!r} as in checkpoint {self.checkpoint.id}. Leave it out, "
                    f"or {why}",
                )
        if preset is None:
            known = (*PRESETS["default"].model_dump(), "sample", "budget")
            ends = ("epochs", "budget") if {"epochs", "budget"} & changes.keys() else ()
            kept = {name: own[name] for name in known if name not in ends}
            return self.spec.preset, kept | changes
        return preset, {name: own[name] for name in fixed} | changes

    def is_trained_on(self, corpus: Corpus) -> bool:
        """Return whether the checkpoint's training had this very text, and the user may know."""
        return corpus.sha256 == self.corpus_sha256

    def extend_vocabulary(self, alphabet: str) -> str:
        """Return the checkpoint's characters, followed by the new ones of the alphabet."""
        known = self.model.vocabulary
        return known + "".join(sorted(set(alphabet) - set(known)))

    @property
    def fixed_fields(self) -> tuple[str, ...]:
        """The fields that a training from here can't change."""
        return (*SHAPE_FIELDS, "window") if self.spec.predict == "last" else SHAPE_FIELDS

    @property
    def word_count(self) -> int | None:
        """The number of words besides the characters; None until the training has chosen them."""
        if self.model.characters_per_token is None:
            return None
        return self.model.vocabulary_size - len(self.model.vocabulary)


def find_base_checkpoint(session: Session, reference: str | None) -> BaseCheckpoint | None:
    """Load the checkpoint that a request names and block its deletion until the commit.

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    if reference is None:
        return None
    checkpoint, model = visible_checkpoint(session, reference, use=True)
    sha256 = digests_of_visible(session, {model.corpus_id}).get(model.corpus_id)
    if model.origin is not None and model.user_id == current_user().id:
        sha256 = model.origin["corpus_sha256"]
    return BaseCheckpoint(checkpoint, model, TrainSpec.model_validate(model.spec), sha256)
