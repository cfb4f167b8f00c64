"""The corpus of `quire demo`, its prompt, and the share of known words in a text."""

import re
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import httpx2

from shared.texts.decoding import decode, normalise

FILE_NAME = "nietzsche.txt"
ADDRESS = "https://s3.amazonaws.com/text-datasets/nietzsche.txt"
DOWNLOAD_SECONDS = 10.0
#: The file has 600,901 bytes; an error page has far fewer.
PLAUSIBLE_BYTES = range(500_000, 1_000_000)
PLAUSIBLE_WORDS = ("philosophy", "morality", "spirit")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # with the typographic apostrophe
#: Two words at the start of a sentence.
SENTENCE_START = re.compile(r"(?:^|[.!?]\s+|\n\s*\n)([A-Z][a-z]+ [a-z]+)\b")

#: A shorter paragraph is a heading, a signature or a line of code.
MIN_PARAGRAPH_WORDS = 12
#: The least share of letters, spaces and plain punctuation in a paragraph of prose.
MIN_PROSE_SHARE = 0.85
#: Rulers and table borders, grammar rules, doctests, and columns of tables.
NOT_PROSE = re.compile(r"([=*~^+-])\1{3}|::=|^>>>|^\.\.\. |\|", re.MULTILINE)
BULLET = re.compile(r"^(?:[*-]|\d+\.) +")
SENTENCE = re.compile(r"[A-Z\"“*(].*[.!?:][\"”)*]*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DemoCorpus:
    """A corpus for the demo.

    Attributes:
        name: The name it gets on the server.
        text: The text itself.
        source: Where it came from, for people.
    """

    name: str
    text: str
    source: str


def find(corpus_dir: Path | None) -> DemoCorpus:
    """Find `nietzsche` in a directory or download it; fall back to Python's own manual."""
    if corpus_dir is not None and (corpus_dir / FILE_NAME).is_file():
        path = corpus_dir / FILE_NAME
        return DemoCorpus("nietzsche", decode(path.read_bytes()).text, str(path))
    text = download(ADDRESS)
    if text is not None:
        return DemoCorpus("nietzsche", text, ADDRESS)
    return DemoCorpus(
        "python-manual", python_manual(), "pydoc_data.topics, which comes with every Python"
    )


def python_manual() -> str:
    """Return the prose of Python's language reference, about 280,000 characters."""
    return prose(normalise("\n\n".join(topics.values())).text)


def prose(text: str) -> str:
    """Keep the paragraphs of a reStructuredText manual that consist of sentences.

    Headings, rulers, tables, grammar rules, doctests and code are left out, indentation and
    bullets are removed, and a paragraph that occurs twice is kept once.
    """
    paragraphs = (
        BULLET.sub("", "\n".join(line.strip() for line in block.splitlines()))
        for block in re.split(r"\n[^\S\n]*\n", text)
    )
    return "\n\n".join(dict.fromkeys(filter(_is_prose, paragraphs))) + "\n"


def _is_prose(paragraph: str) -> bool:
    if len(paragraph.split()) < MIN_PARAGRAPH_WORDS or NOT_PROSE.search(paragraph):
        return False
    plain = sum(character.isalpha() or character in " \n,.'’" for character in paragraph)
    return plain / len(paragraph) >= MIN_PROSE_SHARE and bool(SENTENCE.fullmatch(paragraph))


def download(address: str, seconds: float = DOWNLOAD_SECONDS) -> str | None:
    """Download the book; return None if it does not arrive in time or is another text."""
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
    """Return the bytes as text if they can be the book, else None."""
    if len(data) not in PLAUSIBLE_BYTES:
        return None
    try:
        text = decode(data).text
    except ValueError:
        return None
    return text if all(word in text.lower() for word in PLAUSIBLE_WORDS) else None


def suggest_prompt(text: str) -> str:
    """Return a prompt that fits a corpus: the two words that most often start a sentence.

    The first of several is taken, and the first two words of a text without sentences.
    """
    starts = Counter(SENTENCE_START.findall(text))
    if starts:
        return str(starts.most_common(1)[0][0])
    return " ".join(text.split()[:2])


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def written_words(prompt: str, text: str) -> list[str]:
    """Return the whole words that a model wrote, in lower case.

    Prompt and text may end within a word. A first word that began in the prompt counts; a
    last word that was cut off does not.
    """
    whole = prompt + text
    matches = [match for match in WORD.finditer(whole) if match.end() > len(prompt)]
    if matches and matches[-1].end() == len(whole):
        matches.pop()
    if matches and matches[0].start() == 0:
        matches.pop(0)  # the prompt itself may begin within a word of the corpus
    return [match.group().lower() for match in matches]


def share_known(written: Collection[str], corpus: str) -> float:
    """Return the share of the written words that occur in the corpus; 0 if there are none."""
    known = set(words(corpus))
    return sum(word in known for word in written) / len(written) if written else 0.0
