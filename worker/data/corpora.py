"""The texts that jobs read, cached in memory or streamed piece by piece."""

import codecs
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import structlog
from cachetools import LRUCache, TTLCache
from sqlalchemy import Engine, bindparam, select

from shared import blobs
from shared.database import reading
from shared.prepared import Prepared
from shared.queue.types import TextRecord
from shared.specs.estimates import INDEXED_CHARACTERS
from shared.tables import Corpus
from worker.data.lru import bounded_cache
from worker.ml.config import ITEM_BEGIN, ITEM_END
from worker.ml.novelty import NoveltyIndex
from worker.ml.words import whole_words

#: Bounds characters, not bytes: Python stores a character in 1 to 4 bytes.
CACHED_CHARACTERS = 64_000_000
PIECE_CHARACTERS = 60
#: The one letter whose lower case depends on its neighbours: σ within a word, ς at its end.
FINAL_SIGMA = "\u03a3"

#: For how long a corpus's row is believed: dozens of jobs that are claimed at once mostly have the
#: same one. Only its deletion changes it.
ROW_SECONDS, CACHED_ROWS = 0.1, 256
#: It delays every request's first text.
_CORPUS_BY_ID = Prepared(
    select(Corpus.sha256, Corpus.characters).where(Corpus.id == bindparam("corpus"))
)

log = structlog.get_logger(__name__)
#: The different items of a list, in its order.
Items = Mapping[str, None]
#: The SHA-256 of a text, and whether it is lower-cased.
TextKey = tuple[str, bool]


class Corpora:
    """Texts and novelty indexes by corpus, lower-cased or not, in caches of bounded size.

    Args:
        engine: The database.
        cached_characters: The most characters that all cached texts may have. One text is kept
            however long it is.
        indexed_characters: The most that all indexes may have; a longer text gets no index.
    """

    def __init__(
        self,
        engine: Engine,
        cached_characters: int = CACHED_CHARACTERS,
        indexed_characters: int = INDEXED_CHARACTERS,
    ) -> None:
        self._engine = engine
        self._indexed_characters = indexed_characters
        self._rows: TTLCache[str | None, Any] = TTLCache(CACHED_ROWS, ROW_SECONDS)
        self._texts: LRUCache[TextKey, str] = bounded_cache(cached_characters, len)
        self._items: LRUCache[TextKey, Items] = bounded_cache(
            indexed_characters, lambda items: sum(map(len, items))
        )
        self._indexes: LRUCache[TextKey, NoveltyIndex] = bounded_cache(
            indexed_characters, lambda index: index.characters
        )

    def text(self, corpus_id: str | None, *, lowercase: bool) -> str | None:
        """The whole text; None if the corpus was deleted.

        Raises:
            shared.blobs.MissingBlob: The text's bytes are not in the database.
            shared.blobs.CorruptBlob: The bytes have changed.
        """
        sha256 = self._sha256(corpus_id)
        return None if sha256 is None else self._text((sha256, lowercase))

    def stream(self, corpus_id: str | None, *, lowercase: bool) -> "CorpusStream | None":
        """A text piece by piece, which is not kept in memory; None if the corpus was deleted."""
        return stream(self._engine, corpus_id, lowercase=lowercase)

    def index(self, corpus_id: str | None, *, lowercase: bool) -> NoveltyIndex | None:
        """The index that finds copies; None if the corpus was deleted, is broken or too long."""
        row = self._row(corpus_id)
        if row is None or row.characters > self._indexed_characters:
            return None
        key = (row.sha256, lowercase)
        index = self._indexes.get(key)
        if index is None:
            try:
                index = NoveltyIndex(self._text(key))
            except (blobs.MissingBlob, blobs.CorruptBlob) as error:
                # A text with a prompt needs no corpus, so it is written without its novelty.
                log.warning("novelty_unknown", corpus=corpus_id, reason=str(error))
                return None
            self._indexes[key] = index
        return index

    def items(self, corpus_id: str | None, *, lowercase: bool) -> Items | None:
        """The items of a list; None if it was deleted, is broken or too long to be indexed."""
        if self.index(corpus_id, lowercase=lowercase) is None:
            return None
        key = (self._sha256(corpus_id) or "", lowercase)
        found = self._items.get(key)
        if found is None:
            # Each item is between its marks, and so is nothing else.
            marked = self._text(key).split(ITEM_END)
            found = dict.fromkeys(item.removeprefix(ITEM_BEGIN) for item in marked if item)
            self._items[key] = found
        return found

    def _sha256(self, corpus_id: str | None) -> str | None:
        row = self._row(corpus_id)
        return None if row is None else row.sha256

    def _row(self, corpus_id: str | None) -> Any:
        try:
            return self._rows[corpus_id]
        except KeyError:
            with reading(self._engine) as connection:
                row = _CORPUS_BY_ID.first(connection, {"corpus": corpus_id})
            self._rows[corpus_id] = row
            return row

    def _text(self, key: TextKey) -> str:
        text = self._texts.get(key)
        if text is None:
            sha256, lowercase = key
            text = blobs.load(self._engine, sha256).decode()
            self._texts[key] = text = text.lower() if lowercase else text
        return text


def novelty(index: NoveltyIndex | None, text: str) -> dict[str, Any]:
    """The fields of a `TextRecord` that say how much of the text the corpus holds."""
    return {} if index is None else asdict(index.look_up(text))


def add_novelty(
    records: Sequence[Sequence[TextRecord]], indexes: Sequence[NoveltyIndex | None]
) -> list[Sequence[TextRecord]]:
    """Add to texts how much of each its corpus holds; all texts of a corpus are looked up at once.

    Args:
        records: The texts of each job.
        indexes: Of each job; None leaves its texts as they are.
    """
    texts: dict[NoveltyIndex, list[str]] = {}
    for index, of_job in zip(indexes, records, strict=True):
        if index is not None:
            texts.setdefault(index, []).extend(record.text for record in of_job)
    found = {index: iter(index.look_up_all(all_)) for index, all_ in texts.items()}
    return [
        of_job
        if index is None
        else [replace(record, **asdict(next(found[index]))) for record in of_job]
        for index, of_job in zip(indexes, records, strict=True)
    ]


def add_copied_spans(
    records: Sequence[Sequence[TextRecord]],
    indexes: Sequence[NoveltyIndex | None],
    asked: Sequence[bool],
) -> list[Sequence[TextRecord]]:
    """Add to the texts of jobs that ask for it which of their pieces stand in the corpus."""
    return [
        [
            replace(
                record, copied_spans=[astuple(span) for span in index.copied_spans(record.text)]
            )
            for record in of_job
        ]
        if wanted and index is not None
        else of_job
        for of_job, index, wanted in zip(records, indexes, asked, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class CorpusStream:
    """A corpus read piece by piece, so that a large one is never in memory as a whole.

    Attributes:
        sha256: Names the corpus's bytes.
        characters: Its length; the lower-cased text may be a few characters longer.
        pieces: The text. If the lower case of a letter depends on its neighbours, pieces end at
            white space. Raises `shared.blobs.MissingBlob` where bytes are missing, and
            `shared.blobs.CorruptBlob` at the end if they have changed.
    """

    sha256: str
    characters: int
    pieces: Iterator[str]


def stream(engine: Engine, corpus_id: str | None, *, lowercase: bool) -> CorpusStream | None:
    """A corpus as a stream, lower-cased or not; None if it was deleted."""
    with reading(engine) as connection:
        row = connection.execute(
            select(Corpus.sha256, Corpus.characters, Corpus.alphabet).where(Corpus.id == corpus_id)
        ).one_or_none()
    if row is None:
        return None
    pieces = _decoded(engine, row.sha256)
    if lowercase:
        pieces = _lowered(pieces, keep_words=FINAL_SIGMA in row.alphabet)
    return CorpusStream(row.sha256, row.characters, pieces)


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
    """A piece of a text for a prompt, chosen by a seed.

    Args:
        text: The corpus.
        seed: The seed of the text to be written.
        characters: The piece's length; None means `PIECE_CHARACTERS`. A shorter text is taken
            whole.
        by_words: Leave out the words that are cut in two at the piece's ends.
    """
    piece = text[random_slice(len(text), seed, characters)]
    return whole_words(piece) if by_words else piece


def random_slice(length: int, seed: int, characters: int | None) -> slice:
    """Where `random_piece` takes its piece from a text of `length` characters."""
    wanted = characters or PIECE_CHARACTERS
    start = random.Random(seed).randrange(max(1, length - wanted + 1))  # noqa: S311 - no secret
    return slice(start, start + wanted)
