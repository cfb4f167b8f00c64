"""Requests for texts, and what they need of their model."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from api.permissions import CurrentUser, model_for_use
from api.schemas.requests import SchedulingOptions
from shared.queue.types import Submission
from shared.specs.generation import GenerateSpec
from shared.texts.characters import NormalForm


@dataclass(frozen=True, slots=True)
class UsableModel:
    """What a text needs of its model, which can't be deleted before the commit.

    Attributes:
        normal_form: The form that accented letters have in the corpus, if they have one.
        shows_corpus: Whether the user may see the corpus.
        writes_items: Whether it learnt a list, of which it writes items.
        corpus_characters: The length of the corpus; None if it was deleted.
    """

    id: str
    name: str
    corpus_id: str | None
    vocabulary: str
    lowercase: bool
    by_words: bool
    normal_form: NormalForm | None
    shows_corpus: bool
    writes_items: bool
    corpus_characters: int | None


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A valid request for a generation or a score, before its model is looked up.

    Attributes:
        user: Who asks.
        model: The id from the request.
        checkpoint: ``best``, ``latest`` or an id.
        prompt: What the text continues, or what is scored; None for a piece of the corpus, or for
            an item's beginning.
        nearest: Whether it asks for items of the corpus, which not everybody may see.
        make_spec: Makes the spec, given the model; raises `Invalid` if they don't fit.
    """

    user: CurrentUser
    model: str
    checkpoint: str
    prompt: str | None
    name: str | None
    scheduling: SchedulingOptions | None
    make_spec: Callable[[UsableModel], GenerateSpec]
    nearest: bool = False

    def submission(self, model: UsableModel) -> Submission:
        """Return the job that the request asks for."""
        spec = self.make_spec(model).model_dump(mode="json")
        return Submission(
            "generate", self.user.id, self.name or model.name, spec, model.id, model.corpus_id
        )


def usable_model(connection: Connection, request: TextRequest) -> UsableModel:
    """Load the model of a request, and protect it from deletion until the commit.

    Raises:
        NotFound: It does not exist, or the user may not see it.
    """
    model = model_for_use(connection, request.model, request.user)
    return UsableModel(
        model.id,
        model.name,
        model.corpus_id,
        model.vocabulary,
        lowercase=model.spec["lowercase"],
        by_words=model.spec["tokenizer"] == "word",
        normal_form=model.normal_form,
        shows_corpus=bool(model.shows_corpus),
        writes_items=bool(model.spec.get("items")),
        corpus_characters=model.characters,
    )
