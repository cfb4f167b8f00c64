"""Tunes in ABC notation, checked by a real parser (music21, used in benchmarks only)."""

import io
import re
import signal
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from types import FrameType

#: Every tune of a collection starts with its number.
_NUMBER = re.compile(r"^X:", re.MULTILINE)
FEWEST_NOTES = 8
#: The parser can take minutes on nonsense.
PARSER_SECONDS = 10


def tunes(text: str) -> list[str]:
    """Split a collection into tunes, each starting with its number."""
    starts = [found.start() for found in _NUMBER.finditer(text)]
    return [
        text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]


def parser_version() -> str | None:
    """Return the name and version of the parser; None if it is not installed."""
    try:
        return f"music21 {version('music21')}"
    except PackageNotFoundError:
        return None


def accepted(found: Sequence[str]) -> float:
    """Return the share of tunes that the parser accepts."""
    return sum(map(is_accepted, found)) / len(found)


def is_accepted(tune: str) -> bool:
    """Whether the parser reads a tune without complaints, and finds a bar and enough notes.

    Warnings count as complaints: otherwise the parser takes any letter for a note.
    """
    from music21 import converter

    complaints = io.StringIO()
    previous = signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(PARSER_SECONDS)
    try:
        with warnings.catch_warnings(), redirect_stderr(complaints), redirect_stdout(complaints):
            warnings.simplefilter("error")
            score = converter.parse(tune, format="abc")
    except Exception:
        # Any exception: music21 fails in many ways on text that is not ABC.
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    bars = score.recurse().getElementsByClass("Measure")
    return not complaints.getvalue() and len(score.flatten().notes) >= FEWEST_NOTES and bool(bars)


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError
