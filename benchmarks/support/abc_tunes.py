"""Tunes in ABC notation, judged by a real parser (music21, for benchmarks only)."""

import io
import re
import signal
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from types import FrameType

#: Every tune of a collection begins with its number.
_NUMBER = re.compile(r"^X:", re.MULTILINE)
FEWEST_NOTES = 8
#: On nonsense the parser can take minutes.
PARSER_SECONDS = 10


def tunes(text: str) -> list[str]:
    """The tunes of a collection, each from its number on."""
    starts = [found.start() for found in _NUMBER.finditer(text)]
    return [
        text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]


def parser_version() -> str | None:
    """The parser by name and version; None where it is not installed."""
    try:
        return f"music21 {version('music21')}"
    except PackageNotFoundError:
        return None


def accepted(found: Sequence[str]) -> float:
    """The share of tunes that the parser accepts."""
    return sum(map(is_accepted, found)) / len(found)


def is_accepted(tune: str) -> bool:
    """Whether a tune is read without a complaint, and is one: a bar, and some notes.

    A warning is a complaint: without it the parser takes any letter for a note.
    """
    from music21 import converter

    said = io.StringIO()
    previous = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(PARSER_SECONDS)
    try:
        with warnings.catch_warnings(), redirect_stderr(said), redirect_stdout(said):
            warnings.simplefilter("error")
            score = converter.parse(tune, format="abc")
    except Exception:
        # Whatever it raises: music21 fails in many ways at what is no ABC.
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    bars = score.recurse().getElementsByClass("Measure")
    return not said.getvalue() and len(score.flatten().notes) >= FEWEST_NOTES and bool(bars)


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError
