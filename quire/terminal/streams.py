"""Standard output and standard error as streams: their encoding, and what is written as it is."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from shared.hidden_characters import visible


class OutputClosed(Exception):
    """Who read the output has seen enough, as `head` has."""


def prepare_streams() -> None:
    r"""Make sure that no character is lost or fails in the encoding of an output stream.

    Files and pipes get UTF-8, whatever the locale is. A terminal keeps its encoding, and shows
    what that lacks as an escape, such as \u03b1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def write(text: str, *, end: str = "\n") -> None:
    """Write a text to standard output exactly as it is; on a terminal, controls become marks."""
    try:
        sys.stdout.write((visible(text) if sys.stdout.isatty() else text) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None


def flush_streams() -> None:
    """Flush the output streams, and let the interpreter's own flush at exit not fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            discard(stream)


def discard(stream: TextIO) -> None:
    """Send whatever is still written to a stream to nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
