"""Adapt a prompt to the characters that a model knows."""

from api.errors import Invalid
from api.schemas.sampling import UnknownCharacters


def fit_to_vocabulary(
    prompt: str,
    vocabulary: str,
    *,
    lowercase: bool,
    unknown: UnknownCharacters,
    by_words: bool = False,
    field: str = "prompt",
) -> str:
    """Return the prompt as the model reads it.

    Args:
        prompt: The prompt from the request.
        vocabulary: The characters that the model knows. A word model spells unknown words.
        lowercase: Whether the corpus was lower-cased; the prompt is then lower-cased too.
        unknown: Whether to refuse unknown characters, leave them out, or replace them.
        field: The name of the field in the request.
        by_words: Whether the tokens are words. A word token includes the space before it, so a
            trailing space would belong to no token and is removed.

    Raises:
        Invalid: It has an unknown character, which the message names, or nothing is left.
    """
    prompt = normalize(prompt, lowercase=lowercase)
    known = frozenset(vocabulary)
    if unknown == "error":
        _refuse_unknown(field, prompt, known)
    substitute = "" if unknown == "skip" else replacement_character(vocabulary)
    fitted = "".join(character if character in known else substitute for character in prompt)
    if by_words and fitted.strip():
        fitted = fitted.rstrip(" ")
    if not fitted:
        raise Invalid(
            field,
            prompt,
            "no character of it is in the model's vocabulary. Use others, or leave it out",
        )
    return fitted


def normalize(text: str, *, lowercase: bool) -> str:
    """Return the text with line ends and letter case as in the model's corpus."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.lower() if lowercase else text


def replacement_character(vocabulary: str) -> str:
    """Return the substitute for an unknown character: a space, a line end, or the first one."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])


def _refuse_unknown(field: str, prompt: str, known: frozenset[str]) -> None:
    for position, character in enumerate(prompt):
        if character not in known:
            raise Invalid(
                field,
                prompt,
                f"character {character!r} (U+{ord(character):04X}) at position {position} is not "
                'in the model\'s vocabulary. Change it, or set unknown to "skip" or "replace"',
            )
