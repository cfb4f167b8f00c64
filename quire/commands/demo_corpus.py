"""The text that `quire demo` learns from, and how much of its words a text uses."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import httpx2

from shared.corpus_text import decode, normalise

FILE_NAME = "nietzsche.txt"
ADDRESS = "https://s3.amazonaws.com/text-datasets/nietzsche.txt"
DOWNLOAD_SECONDS = 10.0
#: The file has 600,901 bytes; a page that says «not here» has far fewer.
PLAUSIBLE_BYTES = range(500_000, 1_000_000)
PLAUSIBLE_WORDS = ("philosophy", "morality", "spirit")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # the typographic apostrophe


@dataclass(frozen=True, slots=True)
class DemoCorpus:
    """A text, what to call it, and where it came from."""

    name: str
    text: str
    source: str


def find(corpus_dir: Path | None) -> DemoCorpus:
    """`nietzsche` from a directory, else from its public address, else Python's own manual."""
    if corpus_dir is not None and (corpus_dir / FILE_NAME).is_file():
        path = corpus_dir / FILE_NAME
        return DemoCorpus("nietzsche", decode(path.read_bytes()).text, str(path))
    text = download(ADDRESS)
    if text is not None:
        return DemoCorpus("nietzsche", text, ADDRESS)
    manual = normalise("".join(topics.values())).text
    return DemoCorpus("python-manual", manual, "pydoc_data.topics, which every Python carries")


def download(address: str, seconds: float = DOWNLOAD_SECONDS) -> str | None:
    """The text at an address; None if it is not there in time, or is not that text."""
    deadline = time.monotonic() + seconds
    try:
        with httpx2.stream("GET", address, timeout=seconds, follow_redirects=True) as response:
            if response.is_error:
                return None
            data = bytearray()
            for piece in response.iter_bytes():
                data += piece
                if len(data) >= PLAUSIBLE_BYTES.stop or time.monotonic() > deadline:
                    return None
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return None
    return plausible(bytes(data))


def plausible(data: bytes) -> str | None:
    """The bytes as text if they can be the book, else None."""
    if len(data) not in PLAUSIBLE_BYTES:
        return None
    try:
        text = decode(data).text
    except ValueError:
        return None
    return text if all(word in text.lower() for word in PLAUSIBLE_WORDS) else None


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def written_words(prompt: str, text: str) -> list[str]:
    """The words that a model wrote: those of `text`, whole.

    The prompt may end, and the text does end, anywhere: a first word that began in
    the prompt counts as a whole, and a last one that was cut off does not count.
    """
    whole = prompt + text
    found = [match for match in WORD.finditer(whole) if match.end() > len(prompt)]
    if found and found[-1].end() == len(whole):
        found.pop()
    if found and found[0].start() == 0:
        found.pop(0)  # the prompt itself may have been cut out of a word
    return [match.group().lower() for match in found]


def share_known(written: Collection[str], corpus: str) -> float:
    """The share of the written words that occur in the corpus; 0 where none was written."""
    known = set(words(corpus))
    return sum(word in known for word in written) / len(written) if written else 0.0
