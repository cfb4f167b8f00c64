"""Text to ids and back: characters by one look-up table, words by a dictionary that spells."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from worker.ml.words import frequent_words, pieces

Ids = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

CODE_POINTS = 0x110000
#: Characters encoded at a time: the code points of a piece take 4 bytes each, the ids stay small.
PIECE_CHARACTERS = 1 << 16


class UnknownCharacter(ValueError):
    """Position {position} holds {character!r}, which the vocabulary does not know."""

    def __init__(self, character: str, position: int) -> None:
        super().__init__(
            f"position {position} holds {character!r} (U+{ord(character):04X}), "
            "which the vocabulary does not know"
        )
        self.character = character
        self.position = position


class Vocabulary:
    """The tokens a network knows; immutable.

    The characters come first: a character's id is its place in `characters`. The words of
    `tokenizer: "word"` follow them in their own order. A word that is not among them is spelled
    with characters, so every text of known characters has ids, and they give it back.
    """

    def __init__(self, characters: str, words: Sequence[str] = ()) -> None:
        """Take characters and words in the order of their ids.

        Raises:
            ValueError: There is no character, one occurs twice, or a word is no longer than a
                character, holds one that is not there, or occurs twice.
        """
        if not characters:
            raise ValueError("a vocabulary needs at least one character")
        if len(set(characters)) != len(characters):
            raise ValueError("a character occurs twice in the vocabulary")
        if len(set(words)) != len(words):
            raise ValueError("a word occurs twice in the vocabulary")
        known = set(characters)
        for word in words:
            if len(word) < 2 or not known.issuperset(word):
                raise ValueError(f"{word!r} is not a word of the vocabulary's characters")
        self._characters = characters
        self._words = tuple(words)

    @classmethod
    def of(cls, text: str, words: int = 0) -> "Vocabulary":
        """The vocabulary of a text.

        Args:
            text: The corpus, whose different characters come in the order of their code points.
            words: How many of its commonest words are tokens too, at most.
        """
        # Flags by code point: several times faster than a set of one-character strings.
        seen = np.zeros(CODE_POINTS, bool)
        for start in range(0, len(text), PIECE_CHARACTERS):
            # NumPy looks places up twice as fast when they already have its own type for them.
            seen[_code_points(text[start : start + PIECE_CHARACTERS]).astype(np.intp)] = True
        characters = "".join(map(chr, np.flatnonzero(seen)))
        return cls(characters, frequent_words([text], words) if words else ())

    @property
    def characters(self) -> str:
        """All characters, in the order of their ids."""
        return self._characters

    @property
    def words(self) -> tuple[str, ...]:
        """The words, whose ids follow those of the characters; none where characters are all."""
        return self._words

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    def encode(self, text: str) -> Ids:
        """Ids of a text's tokens, in the vocabulary's `dtype`: [len(text)], or fewer with words.

        Raises:
            UnknownCharacter: The text holds a character that the vocabulary lacks; the first one.
        """
        return self._encode_words(text) if self._words else self._encode_characters(text)

    def _encode_characters(self, text: str) -> Ids:
        table, unknown = self._table, len(self._characters)
        ids = np.empty(len(text), self.dtype)
        for start in range(0, len(text), PIECE_CHARACTERS):
            points = _code_points(text[start : start + PIECE_CHARACTERS])
            # Code points past the table's end read its last entry, which says "unknown".
            found = np.take(table, points, mode="clip")
            if found.max() == unknown:
                place = start + int(np.argmax(found == unknown))
                raise UnknownCharacter(text[place], place)
            ids[start : start + len(found)] = found
        return ids

    def _encode_words(self, text: str) -> Ids:
        known = self._spelling
        found = [np.empty(0, self.dtype)]
        try:
            for some in pieces(text):
                ids = chain.from_iterable(map(known.__getitem__, some))
                found.append(np.fromiter(ids, self.dtype))
        except KeyError:
            place = next(i for i, character in enumerate(text) if character not in known)
            raise UnknownCharacter(text[place], place) from None
        return np.concatenate(found)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of some ids, of any shape's flat order.

        Raises:
            IndexError: An id is not below the vocabulary's size.
        """
        places = np.asarray(ids, dtype=np.int64).ravel()
        if self._words:
            return "".join(self._tokens[places])
        points = _code_points(self._characters)[places]
        return points.tobytes().decode("utf-32-le", "surrogatepass")

    @cached_property
    def _spelling(self) -> "_Spelling":
        return _Spelling(self._characters, self._words)

    @cached_property
    def _tokens(self) -> npt.NDArray[np.object_]:
        return np.array([*self._characters, *self._words], dtype=object)

    @cached_property
    def _table(self) -> npt.NDArray[np.unsignedinteger]:
        """Ids by code point; what has no id holds the size of the vocabulary."""
        points = _code_points(self._characters)
        size = len(points)
        table = np.full(int(points.max()) + 2, size, np.min_scalar_type(size))
        table[points] = np.arange(size)
        return table

    def __len__(self) -> int:
        return len(self._characters) + len(self._words)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return False
        return (other._characters, other._words) == (self._characters, self._words)

    def __hash__(self) -> int:
        return hash((self._characters, self._words))

    def __repr__(self) -> str:
        return f"Vocabulary({self._characters!r}, {self._words!r})"


class _Spelling(dict[str, tuple[int, ...]]):
    """The ids of every piece: one for what is known, else one for each of its characters."""

    def __init__(self, characters: str, words: Sequence[str]) -> None:
        super().__init__((token, (i,)) for i, token in enumerate([*characters, *words]))

    def __missing__(self, piece: str) -> tuple[int, ...]:
        if len(piece) == 1:
            raise KeyError(piece)
        # Not kept: most of what is spelled is rare.
        return tuple(self[character][0] for character in piece)


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
