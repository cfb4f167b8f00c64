"""The texts that jobs read, kept in memory while they are asked for again and again."""

import codecs
import hashlib
import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from sqlalchemy import Engine, bindparam, select

from shared import blobs
from shared.database import reading
from shared.specs.estimates import INDEXED_CHARACTERS
from shared.tables import Corpus
from worker.ml.novelty import NoveltyIndex
from worker.ml.words import whole_words

#: Python keeps a text in 1 to 4 bytes a character; this bounds the characters, not the bytes.
KEPT_CHARACTERS = 64_000_000
PIECE_CHARACTERS = 60
#: The one letter whose small form depends on its neighbours: σ within a word, ς at its end.
FINAL_SIGMA = "\u03a3"

#: Built once: it lies between a request and its text.
_FOUND = select(Corpus.sha256, Corpus.characters).where(Corpus.id == bindparam("corpus"))

log = structlog.get_logger(__name__)


class Corpora:
    """Texts by their corpus, lower-cased or not; the least recently used go first."""

    def __init__(
        self,
        engine: Engine,
        kept_characters: int = KEPT_CHARACTERS,
        indexed_characters: int = INDEXED_CHARACTERS,
    ) -> None:
        self._engine = engine
        self._kept_characters = kept_characters
        self._indexed_characters = indexed_characters
        self._texts: OrderedDict[tuple[str, bool], str] = OrderedDict()
        self._indexes: OrderedDict[tuple[str, bool], NoveltyIndex] = OrderedDict()

    def text(self, corpus_id: str | None, *, lowercase: bool) -> str | None:
        """The whole text; None where the corpus is gone.

        Raises:
            shared.blobs.MissingBlob: Its bytes are not in the database.
            shared.blobs.CorruptBlob: They have changed.
        """
        sha256 = self._sha256(corpus_id)
        return None if sha256 is None else self._text(sha256, lowercase)

    def index(self, corpus_id: str | None, *, lowercase: bool) -> NoveltyIndex | None:
        """Where copies are looked for; None where the corpus is gone, broken or too long."""
        with reading(self._engine) as connection:
            found = connection.execute(_FOUND, {"corpus": corpus_id}).one_or_none()
        if found is None or found.characters > self._indexed_characters:
            return None
        key = (found.sha256, lowercase)
        if key in self._indexes:
            self._indexes.move_to_end(key)
            return self._indexes[key]
        try:
            index = NoveltyIndex(self._text(*key))
        except (blobs.MissingBlob, blobs.CorruptBlob) as error:
            # A text that begins from a prompt needs no corpus, and is written all the same.
            log.warning("novelty_unknown", corpus=corpus_id, reason=str(error))
            return None
        self._indexes[key] = index
        while sum(each.characters for each in self._indexes.values()) > self._indexed_characters:
            if len(self._indexes) == 1:
                break
            self._indexes.popitem(last=False)
        return index

    def _sha256(self, corpus_id: str | None) -> str | None:
        with reading(self._engine) as connection:
            sha256: str | None = connection.scalar(_FOUND, {"corpus": corpus_id})
        return sha256

    def _text(self, sha256: str, lowercase: bool) -> str:
        key = (sha256, lowercase)
        if key in self._texts:
            self._texts.move_to_end(key)
            return self._texts[key]
        text = blobs.load(self._engine, sha256).decode()
        self._texts[key] = text = text.lower() if lowercase else text
        while len(self._texts) > 1 and sum(map(len, self._texts.values())) > self._kept_characters:
            self._texts.popitem(last=False)
        return text


def novelty(index: NoveltyIndex | None, text: str) -> dict[str, Any]:
    """The fields of a `TextRecord` that tell what the text has from the corpus."""
    return {} if index is None else asdict(index.look_up(text))


@dataclass(frozen=True, slots=True)
class Streamed:
    """A corpus read piece by piece, so that a large one is never held whole.

    Attributes:
        sha256: What names its bytes.
        characters: How many it has; lower-cased, a few more perhaps.
        pieces: The text. They end at white space where a letter's small form depends on its
            neighbours. `shared.blobs.MissingBlob` is raised where bytes are not there, and
            `shared.blobs.CorruptBlob` at the end where they have changed.
    """

    sha256: str
    characters: int
    pieces: Iterator[str]


def stream(engine: Engine, corpus_id: str | None, *, lowercase: bool) -> Streamed | None:
    """A corpus, lower-cased or not; None where it is gone."""
    with reading(engine) as connection:
        row = connection.execute(
            select(Corpus.sha256, Corpus.characters, Corpus.alphabet).where(Corpus.id == corpus_id)
        ).one_or_none()
    if row is None:
        return None
    pieces = _decoded(engine, row.sha256)
    if lowercase:
        pieces = _lowered(pieces, keep_words=FINAL_SIGMA in row.alphabet)
    return Streamed(row.sha256, row.characters, pieces)


def _decoded(engine: Engine, sha256: str) -> Iterator[str]:
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    for chunk in blobs.chunks(engine, sha256):
        digest.update(chunk)
        yield decoder.decode(chunk)
    if digest.hexdigest() != sha256:
        raise blobs.CorruptBlob(sha256)


def _lowered(text: Iterator[str], *, keep_words: bool) -> Iterator[str]:
    if not keep_words:
        yield from (piece.lower() for piece in text)
        return
    rest = ""
    for piece in text:
        rest += piece
        end = 1 + max(rest.rfind(" "), rest.rfind("\n"))
        yield rest[:end].lower()
        rest = rest[end:]
    yield rest.lower()


def random_piece(text: str, seed: int, characters: int | None, *, by_words: bool = False) -> str:
    """A piece of a text to begin from, decided by a seed.

    Args:
        text: The corpus.
        seed: That of the text that is to be written.
        characters: How many; None takes `PIECE_CHARACTERS`. A shorter text is taken whole.
        by_words: Leave out the words that are cut in two at its ends.
    """
    piece = text[random_place(len(text), seed, characters)]
    return whole_words(piece) if by_words else piece


def random_place(length: int, seed: int, characters: int | None) -> slice:
    """Where `random_piece` finds its piece in a text of `length` characters."""
    wanted = characters or PIECE_CHARACTERS
    start = random.Random(seed).randrange(max(1, length - wanted + 1))  # noqa: S311 - no secret
    return slice(start, start + wanted)
