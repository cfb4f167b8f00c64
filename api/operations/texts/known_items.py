"""Generations that compare their texts with the items of a corpus: new items, nearest items."""

from api.errors import Invalid
from api.schemas.generation import MAX_COMPARED_CHARACTERS, GenerateRequest
from shared.specs.estimates import INDEXED_CHARACTERS


def refuse_unknown_items(body: GenerateRequest, *, items: bool, characters: int | None) -> None:
    """Refuse what needs the items of a corpus that has none, or too many.

    Args:
        body: The request.
        items: Whether the model learnt a list.
        characters: The length of its corpus; None if the corpus was deleted.

    Raises:
        Invalid: Names `only_new` or `nearest`, and the way out.
    """
    for field in ("only_new", "nearest"):
        if not getattr(body, field):
            continue
        if not items:
            why = "this model was trained on one text, which has no items"
        elif characters is None:
            why = "the corpus of this model was deleted"
        elif characters > INDEXED_CHARACTERS:
            why = (
                f"the corpus of this model is too long to be searched ({characters:,} characters; "
                f"at most {INDEXED_CHARACTERS:,} are)"
            )
        else:
            continue
        raise Invalid(field, True, f"not possible: {why}. Leave it out")
    texts = body.n * len(body.temperature)
    if body.nearest and characters and texts * characters > MAX_COMPARED_CHARACTERS:
        raise Invalid(
            "nearest",
            True,
            f"too much to compare ({texts:,} texts with {characters:,} characters each). Ask for "
            f"at most {MAX_COMPARED_CHARACTERS // characters:,} texts, or leave it out",
        )
