"""Adapt a prompt to the characters that a model knows."""

from api.errors import Invalid
from api.schemas.sampling import UnknownCharacters
from shared.texts.characters import FORMS, NormalForm, clusters, plain, spelled

#: What people write who mean a line end or a tab.
ESCAPES = {r"\n": "a line end", r"\r": "a line end", r"\t": "a tab"}


def fit_to_vocabulary(
    prompt: str,
    vocabulary: str,
    *,
    lowercase: bool,
    unknown: UnknownCharacters,
    normal_form: str | None = None,
    by_words: bool = False,
    field: str = "prompt",
) -> str:
    """Return the prompt as the model reads it.

    Args:
        prompt: The prompt from the request.
        vocabulary: The characters that the model knows. A word model spells unknown words.
        lowercase: Whether the corpus was lower-cased; the prompt is then lower-cased too.
        unknown: Whether to refuse unknown characters, leave them out, or replace them. A letter
            goes with its combining marks, so that no other letter remains.
        normal_form: NFC or NFD if the corpus is in that form; the prompt is brought to it.
        field: The name of the field in the request.
        by_words: Whether the tokens are words. A word token includes the space before it, so a
            trailing space would belong to no token and is removed.

    Raises:
        Invalid: It has an unknown character, which the message names, or nothing is left.
    """
    prompt = normalize(prompt, lowercase=lowercase)
    known = frozenset(vocabulary)
    substitute = "" if unknown == "skip" else replacement_character(vocabulary)
    forms: list[NormalForm] = [form for form in FORMS if form == normal_form]
    fitted, position = "", 0
    for cluster in clusters(prompt):
        spelling = spelled(cluster, known, forms)
        if spelling is None and unknown == "error":
            raise _unknown_character(field, prompt, position, known)
        fitted += substitute if spelling is None else spelling
        position += len(cluster)
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
    text = plain(text)
    return text.lower() if lowercase else text


def replacement_character(vocabulary: str) -> str:
    """Return the substitute for an unknown character: a space, a line end, or the first one."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])


def _unknown_character(field: str, text: str, position: int, known: frozenset[str]) -> Invalid:
    """The error for the letter at a position, which is not in the vocabulary."""
    while text[position] in known:  # the letter itself is known, but not the mark on it
        position += 1
    character = text[position]
    way = 'Change it, or set unknown to "skip" or "replace"'
    if field == "stop":
        way = "The model can never write it, so it would stop nothing. Change it, or leave it out"
    escape = text[position : position + 2]
    if escape in ESCAPES:
        way += (
            f". If {escape} is meant as {ESCAPES[escape]}: JSON has it within a string, and a "
            f"shell writes $'{escape}'"
        )
    return Invalid(
        field,
        text,
        f"character {character!r} (U+{ord(character):04X}) at position {position} is not in the "
        f"model's vocabulary. {way}",
    )
