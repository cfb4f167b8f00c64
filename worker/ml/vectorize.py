"""Prepares text for training: ids, a held-out tail, and windows as index arithmetic.

No window is copied out of the corpus before its own step; an epoch is a list of start positions.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig, held_out_characters, minimum_characters
from worker.ml.vocabulary import Ids, UnknownCharacter, Vocabulary

Starts = npt.NDArray[np.int32]

#: The most characters that a validation reads.
VALIDATION_CHARACTERS = 1_000_000
#: Alignment with which TensorFlow uses an array without a copy.
ALIGNED_BYTES = 64
#: Marks a missing window: the last step of an epoch may be short.
NO_WINDOW = -1


class TooShort(ValueError):
    """The text has {tokens} tokens; this training needs at least {minimum}."""

    def __init__(self, tokens: int, minimum: int) -> None:
        super().__init__(
            f"the text has {tokens:,} tokens (characters, or words with the word tokenizer); "
            f"this training needs at least {minimum:,}"
        )
        self.tokens = tokens
        self.minimum = minimum


def vectorize(text: str, words: int = 0) -> tuple[Vocabulary, Ids]:
    """The vocabulary of a text, and its ids in one, two or four bytes each.

    Args:
        text: The corpus.
        words: The most words to use as tokens beside the characters; 0 uses characters alone.
    """
    vocabulary = Vocabulary.of(text, words)
    return vocabulary, vocabulary.encode(text)


def characters_per_token(vocabulary: Vocabulary, ids: Ids, config: TrainConfig) -> float:
    """Characters per token of the held-out tail; 1 for a vocabulary of characters.

    Nats per token divided by this and by ln 2 are bits per character, which are comparable across
    tokenizers.
    """
    _, tail = split_held_out(ids, config)
    return len(vocabulary.decode(tail)) / len(tail) if vocabulary.words else 1.0


def encode_pieces(vocabulary: Vocabulary, pieces: Iterable[str], characters: int) -> Ids:
    """Encode a text that comes in pieces, into an array that TensorFlow uses without a copy.

    Only the ids of a large text are held in memory: one, two or four bytes each.

    Args:
        vocabulary: The vocabulary.
        pieces: The text, split where tokens end.
        characters: Its expected length; more tokens than this cost a copy.

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
            larger: Ids = empty_ids((count + len(found)) * 9 // 8, vocabulary.dtype)
            larger[:count] = ids[:count]
            ids = larger
        ids[count : count + len(found)] = found
        count += len(found)
    return ids[:count]


def empty_ids(count: int, dtype: np.dtype[Any]) -> Any:
    """An uninitialized array of ids, aligned so that TensorFlow uses it without a copy."""
    buffer = np.empty(count * dtype.itemsize + ALIGNED_BYTES, np.uint8)
    first = -buffer.ctypes.data % ALIGNED_BYTES
    return buffer[first : first + count * dtype.itemsize].view(dtype)


def split_held_out(ids: npt.NDArray[Any], config: TrainConfig) -> tuple[Any, Any]:
    """Views of the ids to train on and of the contiguous tail to validate on.

    Raises:
        TooShort: One of them would not hold a window and the token after it.
    """
    tail = held_out_characters(len(ids), config.held_out)
    if min(tail, len(ids) - tail) <= config.window:
        raise TooShort(len(ids), minimum_characters(config))
    return ids[: len(ids) - tail], ids[len(ids) - tail :]


def windows_per_epoch(config: TrainConfig, characters: int) -> int:
    """Windows in one pass over `characters` characters to train on."""
    last_start = characters - config.window - 1
    stride = config.stride if config.predict == "last" else config.window
    return last_start // stride + 1


def steps_per_epoch(config: TrainConfig, characters: int) -> int:
    """Steps in one pass; the last one may be short."""
    return -(-windows_per_epoch(config, characters) // config.batch_size)


def epoch_starts(config: TrainConfig, characters: int, epoch: int) -> Starts:
    """Start positions of the windows of each step of an epoch: [steps, B], shuffled.

    The order depends only on Philox(seed, epoch), so any step of any epoch can be recomputed
    without state. If every position is predicted, windows lie side by side from a random offset,
    so each epoch cuts the text at other places.
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
    """Start positions of the windows of the tail: [steps, B], in order.

    Windows are `stride` apart, as in the classic script, if only the last token is predicted.
    Otherwise they lie side by side, so that each position counts once.

    Args:
        config: The training's config.
        characters: Length of the tail.
        most: The most characters to read; a longer tail is sampled with evenly spaced windows.
    """
    stride = config.stride if config.predict == "last" else config.window
    count = (characters - config.window - 1) // stride + 1
    every = -(-count * config.window // most)
    return _in_steps(-(-count // every), 0, stride * every, config.batch_size)


def _in_steps(count: int, first: int, stride: int, batch_size: int) -> Starts:
    starts = np.full((-(-count // batch_size), batch_size), NO_WINDOW, np.int32)
    # Summed in place: for a large text, the starts are the largest array of a training.
    flat = starts.reshape(-1)[:count]
    flat[:] = stride
    flat[0] = first
    np.cumsum(flat, out=flat)
    return starts
