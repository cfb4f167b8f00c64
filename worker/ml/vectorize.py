"""Text to what a trainer needs: ids, a held-out tail, and windows as index arithmetic.

No window is ever copied out of the corpus before its own step; an epoch is a list of starts.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig, held_out_characters, minimum_characters
from worker.ml.vocabulary import Ids, UnknownCharacter, Vocabulary

Starts = npt.NDArray[np.int32]

#: Characters that one validation reads at most.
VALIDATION_CHARACTERS = 1_000_000
#: Where TensorFlow takes an array as it lies, without a copy.
ALIGNED_BYTES = 64
#: Stands in a step for a window that is not there: the last step of an epoch may be short.
NO_WINDOW = -1


class TooShort(ValueError):
    """The text has {tokens} tokens; this training needs at least {minimum}."""

    def __init__(self, tokens: int, minimum: int) -> None:
        super().__init__(
            f"the text has {tokens:,} tokens (characters, or words where the tokenizer takes "
            f"words); this training needs at least {minimum:,}"
        )
        self.tokens = tokens
        self.minimum = minimum


def vectorize(text: str, words: int = 0) -> tuple[Vocabulary, Ids]:
    """The vocabulary of a text, and its ids in one, two or four bytes each.

    Args:
        text: The corpus.
        words: How many of its words are tokens beside its characters; 0 for characters alone.
    """
    vocabulary = Vocabulary.of(text, words)
    return vocabulary, vocabulary.encode(text)


def characters_per_token(vocabulary: Vocabulary, ids: Ids, config: TrainConfig) -> float:
    """How many characters of the held-out tail a token stands for: 1 where all are characters.

    Nats per token over this, over ln 2, are bits per character, which compare across tokenizers.
    """
    _, tail = split_held_out(ids, config)
    return len(vocabulary.decode(tail)) / len(tail) if vocabulary.words else 1.0


def encode_pieces(vocabulary: Vocabulary, pieces: Iterable[str], characters: int) -> Ids:
    """Ids of a text that comes in pieces, as TensorFlow takes them without a copy.

    So nothing of a large text is held but its ids: one, two or four bytes each.

    Args:
        vocabulary: What the ids mean.
        pieces: The text, parted where tokens end.
        characters: How long it is, as far as is known; more tokens than that cost a copy.

    Raises:
        UnknownCharacter: With its position in the whole text.
    """
    ids: Ids = empty_ids(characters, vocabulary.dtype)
    count = read = 0
    for piece in pieces:
        try:
            found = vocabulary.encode(piece)
        except UnknownCharacter as error:
            raise UnknownCharacter(error.character, read + error.position) from None
        read += len(piece)
        if count + len(found) > len(ids):
            longer: Ids = empty_ids((count + len(found)) * 9 // 8, vocabulary.dtype)
            longer[:count] = ids[:count]
            ids = longer
        ids[count : count + len(found)] = found
        count += len(found)
    return ids[:count]


def empty_ids(count: int, dtype: np.dtype[Any]) -> Any:
    """Room for ids that TensorFlow will take as it lies."""
    room = np.empty(count * dtype.itemsize + ALIGNED_BYTES, np.uint8)
    first = -room.ctypes.data % ALIGNED_BYTES
    return room[first : first + count * dtype.itemsize].view(dtype)


def split_held_out(ids: npt.NDArray[Any], config: TrainConfig) -> tuple[Any, Any]:
    """Views of the ids to learn from and of the contiguous tail to be judged by.

    Raises:
        TooShort: One of them would not hold a window and the character after it.
    """
    tail = held_out_characters(len(ids), config.held_out)
    if min(tail, len(ids) - tail) <= config.window:
        raise TooShort(len(ids), minimum_characters(config))
    return ids[: len(ids) - tail], ids[len(ids) - tail :]


def windows_per_epoch(config: TrainConfig, characters: int) -> int:
    """Windows in one pass over `characters` characters to learn from."""
    last_start = characters - config.window - 1
    stride = config.stride if config.predict == "last" else config.window
    return last_start // stride + 1


def steps_per_epoch(config: TrainConfig, characters: int) -> int:
    """Steps in one pass; the last one may be short."""
    return -(-windows_per_epoch(config, characters) // config.batch_size)


def epoch_starts(config: TrainConfig, characters: int, epoch: int) -> Starts:
    """Where the windows of each step of an epoch start: [steps, B], shuffled.

    The order is Philox(seed, epoch)'s own and needs no state: any step of any epoch can be
    found again. When every position is predicted, windows lie side by side from an offset that
    is drawn anew, so that each epoch cuts the text elsewhere.
    """
    random = np.random.Generator(np.random.Philox(key=[config.seed, epoch]))
    count = windows_per_epoch(config, characters)
    if config.predict == "last":
        stride, offset = config.stride, 0
    else:
        stride = config.window
        slack = characters - 1 - count * config.window
        offset = int(random.integers(0, slack, endpoint=True))
    starts = _in_steps(count, offset, stride, config.batch_size)
    random.shuffle(starts.reshape(-1)[:count])
    return starts


def validation_starts(
    config: TrainConfig, characters: int, most: int = VALIDATION_CHARACTERS
) -> Starts:
    """Where the windows of the tail start: [steps, B], in order.

    As the script's own, `stride` apart, when only the last character is predicted; else side by
    side, so that each position counts once.

    Args:
        config: The training's numbers.
        characters: Of the tail.
        most: Characters to read at most; of a longer tail, evenly spread windows are taken.
    """
    stride = config.stride if config.predict == "last" else config.window
    count = (characters - config.window - 1) // stride + 1
    every = -(-count * config.window // most)
    return _in_steps(-(-count // every), 0, stride * every, config.batch_size)


def _in_steps(count: int, first: int, stride: int, batch_size: int) -> Starts:
    starts = np.full((-(-count // batch_size), batch_size), NO_WINDOW, np.int32)
    # Summed up in place: with a large text, starts are the largest array of a training.
    flat = starts.reshape(-1)[:count]
    flat[:] = stride
    flat[0] = first
    np.cumsum(flat, out=flat)
    return starts
