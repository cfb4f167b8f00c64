"""A prompt in the characters that a model knows."""

from api.errors import Invalid
from api.schemas.sampling import Unknown


def fit(
    prompt: str,
    vocabulary: str,
    *,
    lowercase: bool,
    unknown: Unknown,
    by_words: bool = False,
    field: str = "prompt",
) -> str:
    """The prompt as the model reads it.

    Args:
        prompt: As somebody gave it.
        vocabulary: The characters that the model knows; it spells words that it does not.
        lowercase: Whether its corpus was lower-cased, as the prompt then is too.
        unknown: Refuse a character that it does not know, leave it out, or replace it.
        field: What the request calls it.
        by_words: Whether it reads words. These bring the space before them along, so a space
            after the last one would be none of any word's, and is taken off.

    Raises:
        Invalid: Naming the first unknown character, or because nothing is left.
    """
    prompt = normal(prompt, lowercase=lowercase)
    known = frozenset(vocabulary)
    if unknown == "error":
        _refuse_unknown(field, prompt, known)
    instead = "" if unknown == "skip" else replacement(vocabulary)
    fitted = "".join(character if character in known else instead for character in prompt)
    if by_words and fitted.strip():
        fitted = fitted.rstrip(" ")
    if not fitted:
        raise Invalid(
            field,
            prompt,
            "has no character that the model knows: begin with others, or leave the prompt out",
        )
    return fitted


def normal(text: str, *, lowercase: bool) -> str:
    """A text with line ends and cases as the model's corpus has them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.lower() if lowercase else text


def replacement(vocabulary: str) -> str:
    """What stands for an unknown character: a space, else a line end, else the first known."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])


def _refuse_unknown(field: str, prompt: str, known: frozenset[str]) -> None:
    for position, character in enumerate(prompt):
        if character not in known:
            raise Invalid(
                field,
                prompt,
                f"character {character!r} (U+{ord(character):04X}) at position {position} is not "
                'in the vocabulary of the model: change it, or say unknown: "skip" or "replace"',
            )
