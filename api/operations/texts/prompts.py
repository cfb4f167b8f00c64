"""Adapt a prompt to the characters that a model knows."""

from api.errors import Invalid
from shared.texts.characters import plain
from shared.texts.vocabulary import Fitting, OnUnknown, UnknownLetter

#: What people write who mean a line end or a tab.
ESCAPES = {r"\n": "a line end", r"\r": "a line end", r"\t": "a tab"}
SHOWN_CHARACTERS = 100
NEVER_WRITTEN = "The model can never write it, so it would stop nothing"


def fit_to_vocabulary(
    prompt: str,
    vocabulary: str,
    *,
    lowercase: bool,
    unknown: OnUnknown,
    normal_form: str | None = None,
    by_words: bool = False,
    field: str = "prompt",
) -> str:
    """Return the prompt as the model reads it.

    Args:
        prompt: The prompt from the request.
        vocabulary: The characters that the model knows. A word model spells unknown words.
        lowercase: Whether the corpus was lower-cased; the prompt is then lower-cased too.
        unknown: Whether to refuse unknown characters, leave them out, or replace them.
        normal_form: NFC or NFD if the corpus is in that form; the prompt is brought to it.
        field: The name of the field in the request.
        by_words: Whether the tokens are words. A word token includes the space before it, so a
            trailing space would belong to no token and is removed.

    Raises:
        Invalid: It has an unknown character, which the message names, or nothing is left.
    """
    fitting = Fitting.to(vocabulary, lowercase=lowercase, unknown=unknown, normal_form=normal_form)
    try:
        fitted = fitting.fit(prompt)
    except UnknownLetter as error:
        raise _unknown_character(field, prompt, error) from None
    if by_words and fitted.strip():
        fitted = fitted.rstrip(" ")
    if not fitted:
        raise Invalid(
            field,
            _shown(prompt),
            "no character of it is in the model's vocabulary. Use others, or leave it out",
            code="unknown_character",
            ways=["use others", "leave it out"],
        )
    return fitted


def _unknown_character(field: str, text: str, error: UnknownLetter) -> Invalid:
    """The error for a letter that is not in the vocabulary, with ways out."""
    reason, ways = error.finding.message, list(error.finding.ways)
    if field == "stop":
        reason, ways = f"{reason}. {NEVER_WRITTEN}", ["change it", "leave it out"]
    sentence = " or ".join(ways)
    escape = plain(text)[error.position : error.position + 2]
    if escape in ESCAPES:
        ways.append(f"write {ESCAPES[escape]} as $'{escape}' in a shell")
        sentence += (
            f". If {escape} is meant as {ESCAPES[escape]}: JSON has it within a string, and a "
            f"shell writes $'{escape}'"
        )
    return Invalid(
        field,
        _shown(text),
        f"{reason}. {sentence[:1].upper()}{sentence[1:]}",
        code=error.finding.code,
        ways=ways,
    )


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
