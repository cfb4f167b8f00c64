"""Which windows fit into a text, and into the pieces of it that are held out."""

#: The most held-out pieces of a corpus, and the least windows of one, as in worker/ml/holdout.py.
MAX_PIECES, MIN_PIECE_WINDOWS = 20, 4


def minimum_characters(window: int, held_out: float) -> int:
    """Return the least N so that `held_out` · N and the rest each hold a window and a character.

    The held-out tail has ``floor(N · held_out)`` characters, as in worker/ml/holdout.py.
    """
    # worker/ml/config.py has a copy, because the pipeline imports nothing from here.
    needed = window + 1
    count = int(needed / min(held_out, 1 - held_out))
    while int(count * held_out) < needed or count - int(count * held_out) < needed:
        count += 1
    return count


def largest_window(characters: int, held_out: float) -> int:
    """Return the largest window for a text; below `SMALLEST_WINDOW` there is none."""
    tail = int(characters * held_out)
    return min(tail, characters - tail) - 1


def longest_piece(characters: int, window: int, held_out: float) -> int:
    """Return the length of the longest held-out piece with `holdout: spread`, at most.

    Those of a list of short lines are shorter, which only the worker finds out.

    Args:
        characters: The length of the corpus.
        window: The window that the pieces were drawn for.
        held_out: The share that is held out.
    """
    # worker/ml/holdout.py draws them.
    count = int(characters * held_out)
    return -(-count // max(1, min(MAX_PIECES, count // (MIN_PIECE_WINDOWS * window + 1))))
