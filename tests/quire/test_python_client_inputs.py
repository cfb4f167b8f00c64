"""What `Client` learns from: files, folders, texts and corpora, and what it refuses."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quire import (
    Client,
    InvalidInput,
)
from tests.api.harness import ENGLISH

TINY: dict[str, Any] = {"preset": "classic", "epochs": 4}


def test_what_a_training_learns_from(client: Client, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    one, two = texts / "one.txt", texts / "two.txt"
    one.write_bytes(b"\xef\xbb\xbf" + ENGLISH.replace("\n", "\r\n").encode())
    two.write_text(ENGLISH.upper())
    job = client.train(one, **TINY)
    assert client.train(str(one), **TINY).corpus == job.corpus, "the text is there already"
    assert client.train(client.corpus("one"), name="x", **TINY).corpus == job.corpus
    assert client.train(one, encoding="utf-8", **TINY).corpus != job.corpus
    both = client.train([one, str(two)], **TINY)
    corpus = client.corpus(both.corpus or "")
    assert corpus.characters > 2 * len(ENGLISH) - 10
    assert corpus.read().startswith("It was a bright")
    folder = client.train(texts, **TINY)
    assert client.corpus(folder.corpus or "").name == "texts"
    text = client.train(text=ENGLISH, name="said", **TINY)
    assert client.corpus(text.corpus or "").name == "said"
    listed = client.upload(one, name="list", items="lines")
    assert listed.items is not None
    assert listed.items.count == 60


REFUSED = {
    "nothing": ({}, "give one of both"),
    "both": ({"source": "a.txt", "text": "a text"}, "give one of both"),
    "no file": ({"source": "no such file.txt"}, r"no such file\.txt can't be read: .*text=…"),
    "a text as a path": ({"source": "It was\x00 a bright cold day"}, "can't be read"),
    "no paths": ({"source": []}, "no paths"),
    "a number": ({"source": [7]}, "7 is no path"),
    "half a character": ({"text": "a \ud800"}, "text: not valid UTF-8"),
    "no number": ({"text": ENGLISH, "learning_rate": float("nan")}, "learning_rate: nan"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_an_argument_that_can_not_be_used_is_named(
    client: Client, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        client.train(**arguments)  # type: ignore[arg-type]


def test_a_corpus_is_not_read_again(client: Client) -> None:
    corpus = client.upload(text=ENGLISH, name="orwell")
    for field in ("encoding", "items", "text"):
        with pytest.raises(InvalidInput, match=f"{field}: the corpus is at the server already"):
            client.train(corpus, **{field: "lines"})  # type: ignore[arg-type]


def test_a_large_file_is_never_in_memory_as_a_whole(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_text(ENGLISH * 2500)
    size = path.stat().st_size
    script = (
        "import resource, sys; from quire import Client; q = Client();"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print(q.upload(sys.argv[1]).bytes);"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    stored, grown = map(int, done.stdout.split())
    assert stored == size
    assert grown < size / 2
