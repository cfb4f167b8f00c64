"""Encodes text as token ids and back: characters by a table, words by a dictionary."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from worker.ml.words import NEWEST_RULES, RULES, blocks, frequent_words, pieces

Ids = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

CODE_POINTS = 0x110000
#: Characters encoded at a time, because their code points take 4 bytes each; the ids take less.
CHUNK_CHARACTERS = 1 << 16


class UnknownCharacter(ValueError):
    """Position {position} holds {character!r}, which is not in the vocabulary."""

    def __init__(self, character: str, position: int) -> None:
        super().__init__(
            f"position {position} holds {character!r} (U+{ord(character):04X}), "
            "which is not in the vocabulary"
        )
        self.character = character
        self.position = position


class Vocabulary:
    """The tokens of a network; immutable.

    The characters come first: the id of a character is its index in `characters`. The words of
    `tokenizer: "word"` follow in their own order. Any other word is spelled with characters, so
    every text of known characters has ids, and decoding them gives the text again.
    """

    def __init__(
        self, characters: str, words: Sequence[str] = (), word_rules: int = NEWEST_RULES
    ) -> None:
        """Take characters and words in the order of their ids.

        Args:
            characters: The characters.
            words: The words.
            word_rules: How texts are cut into words; a key of `worker.ml.words.RULES`.

        Raises:
            ValueError: There is no character, a character or word occurs twice, or a word is
                shorter than two characters or contains an unknown one; or no such rules exist.
        """
        if word_rules not in RULES:
            raise ValueError(f"{word_rules} is not a version of the rules for words")
        if not characters:
            raise ValueError("a vocabulary needs at least one character")
        if len(set(characters)) != len(characters):
            raise ValueError("a character occurs twice in the vocabulary")
        if len(set(words)) != len(words):
            raise ValueError("a word occurs twice in the vocabulary")
        known = set(characters)
        for word in words:
            if len(word) < 2 or not known.issuperset(word):
                raise ValueError(
                    f"{word!r} is not a word of at least two of the vocabulary's characters"
                )
        self._characters = characters
        self._words = tuple(words)
        self._word_rules = word_rules

    @classmethod
    def of(cls, text: str, words: int = 0) -> "Vocabulary":
        """The vocabulary of a text.

        Args:
            text: The corpus; its distinct characters are ordered by code point.
            words: The most of its most frequent words to use as tokens too.
        """
        # Flags by code point are several times faster than a set of one-character strings.
        seen = np.zeros(CODE_POINTS, bool)
        for start in range(0, len(text), CHUNK_CHARACTERS):
            # NumPy indexes twice as fast with its own index type.
            seen[_code_points(text[start : start + CHUNK_CHARACTERS]).astype(np.intp)] = True
        characters = "".join(map(chr, np.flatnonzero(seen)))
        return cls(characters, frequent_words([text], words) if words else ())

    @property
    def characters(self) -> str:
        """All characters, in the order of their ids."""
        return self._characters

    @property
    def words(self) -> tuple[str, ...]:
        """The words, whose ids follow the characters'; empty for a vocabulary of characters."""
        return self._words

    @property
    def word_rules(self) -> int:
        """How texts are cut into words; a key of `worker.ml.words.RULES`."""
        return self._word_rules

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(len(self) - 1)

    def encode(self, text: str) -> Ids:
        """The ids of a text, in the vocabulary's `dtype`: [len(text)], or fewer with words.

        Raises:
            UnknownCharacter: Names the first character that is not in the vocabulary.
        """
        return self._encode_words(text) if self._words else self._encode_characters(text)

    def encode_pieces(self, texts: Iterable[str], most: int) -> Iterator[Ids]:
        """The ids of a text that comes in pieces: the same as in one, at most `most` at a time.

        Raises:
            UnknownCharacter: Its position is within one piece.
        """
        for text in blocks(texts, self._word_rules) if self._words else texts:
            ids = self.encode(text)
            for start in range(0, len(ids), most):
                yield ids[start : start + most]

    def _encode_characters(self, text: str) -> Ids:
        table, unknown = self._table, len(self._characters)
        ids = np.empty(len(text), self.dtype)
        for start in range(0, len(text), CHUNK_CHARACTERS):
            points = _code_points(text[start : start + CHUNK_CHARACTERS])
            # Code points beyond the table read its last entry, which means "unknown".
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
            for batch in pieces(text, self._word_rules):
                ids = chain.from_iterable(map(known.__getitem__, batch))
                found.append(np.fromiter(ids, self.dtype))
        except KeyError:
            place = next(i for i, character in enumerate(text) if character not in known)
            raise UnknownCharacter(text[place], place) from None
        return np.concatenate(found)

    def decode(self, ids: npt.ArrayLike) -> str:
        """The text of ids of any shape, in flat order.

        Raises:
            IndexError: An id is not below the vocabulary's size.
        """
        places = np.asarray(ids, dtype=np.int64).ravel()
        if self._words:
            return "".join(self._tokens[places])
        return self._points[places].tobytes().decode("utf-32-le", "surrogatepass")

    @cached_property
    def token_lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each token, [tokens]."""
        lengths = [1] * len(self._characters) + [len(word) for word in self._words]
        return np.array(lengths, np.int64)

    @cached_property
    def _points(self) -> npt.NDArray[np.uint32]:
        return _code_points(self._characters)

    @cached_property
    def _spelling(self) -> "_Spelling":
        return _Spelling(self._characters, self._words)

    @cached_property
    def _tokens(self) -> npt.NDArray[np.object_]:
        return np.array([*self._characters, *self._words], dtype=object)

    @cached_property
    def _table(self) -> npt.NDArray[np.unsignedinteger]:
        """Ids by code point; the number of characters stands for an unknown one."""
        points = self._points
        size = len(points)
        table = np.full(int(points.max()) + 2, size, np.min_scalar_type(size))
        table[points] = np.arange(size)
        return table

    def __len__(self) -> int:
        return len(self._characters) + len(self._words)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return False
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, tuple[str, ...], int | None]:
        return self._characters, self._words, self._word_rules if self._words else None

    def __repr__(self) -> str:
        return f"Vocabulary({self._characters!r}, {self._words!r})"


class _Spelling(dict[str, tuple[int, ...]]):
    """The ids of every piece: one id for a known piece, else one for each of its characters."""

    def __init__(self, characters: str, words: Sequence[str]) -> None:
        super().__init__((token, (i,)) for i, token in enumerate([*characters, *words]))

    def __missing__(self, piece: str) -> tuple[int, ...]:
        if len(piece) == 1:
            raise KeyError(piece)
        # Not cached: most spelled pieces are rare.
        return tuple(self[character][0] for character in piece)


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
