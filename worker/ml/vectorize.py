"""Prepares text for training: ids, and windows as index arithmetic.

No window is copied out of the corpus before its own step; an epoch is a list of start positions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout, Span, least_windows
from worker.ml.items import ItemHoldout, Spans, item_starts, windows_of
from worker.ml.vocabulary import Ids, UnknownCharacter, Vocabulary

Starts = npt.NDArray[np.int32]
#: The parts of a text to train on, or the items of a list.
Parts = Sequence[Span] | Spans

#: The most characters that a validation reads.
VALIDATION_CHARACTERS = 1_000_000
#: Ids counted at a time.
COUNTED_IDS = 1 << 20
#: Alignment with which TensorFlow uses an array without a copy.
ALIGNED_BYTES = 64
#: Marks a missing window: the last step of an epoch may be short.
NO_WINDOW = -1


def vectorize(text: str, words: int = 0) -> tuple[Vocabulary, Ids]:
    """The vocabulary of a text, and its ids in one, two or four bytes each.

    Args:
        text: The corpus.
        words: The most words to use as tokens beside the characters; 0 uses characters alone.
    """
    vocabulary = Vocabulary.of(text, words)
    return vocabulary, vocabulary.encode(text)


def characters_per_token(vocabulary: Vocabulary, ids: Ids, holdout: Holdout | ItemHoldout) -> float:
    """Characters per token of the held-out pieces; 1 for a vocabulary of characters.

    Nats per token divided by this and by ln 2 are bits per character, which are comparable across
    tokenizers.
    """
    if not vocabulary.words or isinstance(holdout, ItemHoldout):
        return 1.0
    pieces = [ids[first:end] for first, end in holdout.pieces]
    return sum(len(vocabulary.decode(piece)) for piece in pieces) / sum(map(len, pieces))


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


def epoch_windows(config: TrainConfig, parts: Parts) -> int:
    """Windows in one pass over the parts of a text, or the items of a list, to train on."""
    if isinstance(parts, np.ndarray):
        return int(windows_of(parts, config.window).sum())
    return sum(windows_in(config, part) for part in parts)


def windows_in(config: TrainConfig, span: Span) -> int:
    """Windows in one pass over a span of tokens to train on."""
    first, end = span
    return max(0, (end - first - config.window - 1) // _stride(config) + 1)


def fill(config: TrainConfig, parts: Parts) -> float:
    """The share of the positions of all windows that count: all of a text's."""
    if not isinstance(parts, np.ndarray):
        return 1.0
    predictions = int((parts[:, 1] - parts[:, 0] - 1).sum())
    return predictions / (epoch_windows(config, parts) * config.window)


def token_counts(ids: Ids, parts: Parts, size: int) -> npt.NDArray[np.int64]:
    """How often each of `size` tokens occurs in the parts to train on, [size]."""
    counts = np.zeros(size, np.int64)
    for first, end in parts:
        # Piece by piece, because NumPy counts a copy of 8 bytes an id.
        for start in range(first, end, COUNTED_IDS):
            counts += np.bincount(ids[start : min(end, start + COUNTED_IDS)], minlength=size)
    return counts


def steps_per_epoch(config: TrainConfig, parts: Parts) -> int:
    """Steps in one pass over what is trained on; the last one may be short."""
    return -(-epoch_windows(config, parts) // config.batch_size)


def epoch_starts(config: TrainConfig, parts: Parts, epoch: int) -> Starts:
    """Start positions of the windows of each step of an epoch: [steps, B], shuffled.

    The order depends only on Philox(seed, epoch), so any step of any epoch can be recomputed
    without state. If every position is predicted, windows lie side by side from a random offset
    in each part, so each epoch cuts the text at other places. No window leaves its part; what a
    window holds behind its item does not count.
    """
    random = np.random.Generator(np.random.Philox(key=[config.seed, epoch]))
    if isinstance(parts, np.ndarray):
        starts, flat = _no_windows(epoch_windows(config, parts), config.batch_size)
        flat[:] = item_starts(parts, config.window, random)
        random.shuffle(flat)
        return starts
    stride = _stride(config)
    counts = [windows_in(config, part) for part in parts]
    starts, flat = _no_windows(sum(counts), config.batch_size)
    done = 0
    for (first, end), count in zip(parts, counts, strict=True):
        if not count:
            continue
        if config.predict == "every":
            slack = end - first - 1 - count * stride
            first += int(random.integers(0, slack, endpoint=True))
        _fill(flat[done : done + count], first, stride)
        done += count
    random.shuffle(flat)
    return starts


def validation_starts(
    config: TrainConfig, pieces: Sequence[Span] | Sequence[Spans], most: int = VALIDATION_CHARACTERS
) -> list[Starts]:
    """Start positions of the windows of each held-out piece: [steps, B], in order.

    Windows are `stride` apart, as in the classic script, if only the last token is predicted.
    Otherwise they lie side by side, so that each position counts once.

    Args:
        config: The training's config.
        pieces: The held-out pieces, or groups of held-out items; one without a window has no
            steps.
        most: The most characters to read; of longer pieces, evenly spaced windows are read.
    """
    found = []
    if config.items:
        places = [item_starts(np.asarray(piece), config.window) for piece in pieces]
        every = -(-sum(map(len, places)) * config.window // most)
        for kept in (each[::every] for each in places):
            starts, flat = _no_windows(len(kept), config.batch_size)
            flat[:] = kept
            found.append(starts)
        return found
    spans = cast("Sequence[Span]", pieces)
    counts = [windows_in(config, piece) for piece in spans]
    every = -(-sum(counts) * config.window // most)
    for (first, _), count in zip(spans, counts, strict=True):
        starts, flat = _no_windows(-(-count // every), config.batch_size)
        if count:
            _fill(flat, first, _stride(config) * every)
        found.append(starts)
    return found


def _stride(config: TrainConfig) -> int:
    return config.stride if config.predict == "last" else config.window


def _no_windows(count: int, batch_size: int) -> tuple[Starts, Starts]:
    """Steps for some windows, [steps, B], and a flat view of the places of these windows."""
    starts = np.full((-(-count // batch_size), batch_size), NO_WINDOW, np.int32)
    return starts, starts.reshape(-1)[:count]


def _fill(places: Starts, first: int, stride: int) -> None:
    # Summed in place: for a large text, the starts are the largest array of a training.
    places[:] = stride
    places[0] = first
    np.cumsum(places, out=places)


def find_holdout(
    meta: Mapping[str, Any], config: TrainConfig, ids: Ids, vocabulary: Vocabulary
) -> Holdout | ItemHoldout:
    """What is held out of a text or a list: as its checkpoint's `meta` names it, or drawn.

    Raises:
        TooShort: The text is too short to be split.
        WindowTooLong: The window is too long for the pieces that the checkpoint names.
    """
    if config.items:
        return ItemHoldout.from_meta(meta, config, ids, vocabulary)
    windows = least_windows(ids, vocabulary, config.window)
    return Holdout.from_meta(meta, config, len(ids), windows)
