"""Brings texts to the characters that a model knows: its spelling, and what to do with others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from unicodedata import category, normalize

from shared.texts.characters import FORMS, NormalForm, clusters, has_form, plain, spelled
from shared.texts.findings import RefusedText

OnUnknown = Literal["error", "skip", "replace"]


class UnknownLetter(RefusedText):
    """The text has a character that the model has never seen.

    Args:
        character: The character.
        position: Where it stands in the text.
        ways: What can be done about it.
    """

    def __init__(self, character: str, position: int, *ways: str) -> None:
        self.character, self.position = character, position
        super().__init__(
            "unknown_character",
            f"character {character!r} (U+{ord(character):04X}) at position {position} is not in "
            "the model's vocabulary",
            *(ways or ("change it", 'set unknown to "skip" or "replace"')),
        )


@dataclass(frozen=True, slots=True)
class Fitting:
    """How texts are brought to a vocabulary.

    Attributes:
        known: The characters of the vocabulary.
        lowercase: Whether the corpus was lower-cased; texts are then lower-cased too.
        unknown: Whether to refuse unknown characters, leave them out, or replace them. A letter
            goes with its combining marks, so that no other letter remains.
        substitute: What replaces them.
        forms: The normal form of the corpus, if it has one, which is tried first.
    """

    known: frozenset[str]
    lowercase: bool
    unknown: OnUnknown
    substitute: str
    forms: tuple[NormalForm, ...]

    @classmethod
    def to(
        cls, vocabulary: str, *, lowercase: bool, unknown: OnUnknown, normal_form: str | None
    ) -> "Fitting":
        """How texts are brought to these characters.

        Args:
            vocabulary: The characters that the model knows.
            lowercase: Whether the corpus was lower-cased.
            unknown: What to do with other characters.
            normal_form: NFC or NFD if the corpus is in that form.
        """
        return cls(
            frozenset(vocabulary),
            lowercase,
            unknown,
            "" if unknown == "skip" else replacement_character(vocabulary),
            tuple(form for form in FORMS if form == normal_form),
        )

    def fit(self, text: str, position: int = 0) -> str:
        """The text as the model reads it; it may be empty.

        Args:
            text: A text, or a piece of one that ends before a letter.
            position: Where the piece begins, for the error.

        Raises:
            UnknownLetter: It has an unknown character, and `unknown` is ``error``.
        """
        text = plain(text)
        if self.lowercase:
            text = text.lower()
        if self.known.issuperset(text) and all(has_form(text, form) for form in self.forms):
            return text
        fitted = []
        for cluster in clusters(text):
            spelling = spelled(cluster, self.known, self.forms)
            if spelling is None and self.unknown == "error":
                place = next(i for i, each in enumerate(cluster) if each not in self.known)
                raise UnknownLetter(cluster[place], position + place)
            fitted.append(self.substitute if spelling is None else spelling)
            position += len(cluster)
        return "".join(fitted)

    def fit_pieces(self, pieces: Iterable[str]) -> Iterator[str]:
        """A stored text that comes in pieces, as the model reads it.

        Raises:
            UnknownLetter: As for `fit`.
        """
        rest, position = "", 0
        for piece in pieces:
            rest += piece
            cut = len(rest) - 1
            # The next piece may begin with a mark on the last letter.
            while cut > 0 and category(rest[cut])[0] == "M":
                cut -= 1
            yield self.fit(rest[:cut], position)
            rest, position = rest[cut:], position + cut
        yield self.fit(rest, position)

    def never_fits(self, alphabet: str) -> str | None:
        """A character that no text of an alphabet can have fitted; None if there is none.

        It tells at once what reading a long text would tell at its end. A letter that the
        vocabulary has only together with a mark is left to the reading.
        """
        if self.unknown != "error":
            return None
        parts = self.known.union(*(normalize("NFD", each) for each in self.known))
        return next(
            (each for each in alphabet if not parts.issuperset(normalize("NFD", each))), None
        )


def replacement_character(vocabulary: str) -> str:
    """The substitute for an unknown character: a space, a line end, or the first one."""
    return next((character for character in " \n" if character in vocabulary), vocabulary[0])
