"""Lists on the command line: cut at the upload, and written one item a line."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from quire.client.replies import Job
from quire.main import run
from tests.api.harness import record
from tests.quire.conftest import Served

NAMES = [f"{a}{b}{c}" for a in "ABC" for b in "aeiou" for c in ("n", "lin", "rta")]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("\n".join(NAMES) + "\n")
    Path("names.csv").write_text("id,name\n" + "".join(f"1,{name}\n" for name in NAMES))


@contextmanager
def worker(served: Served, items: list[str]) -> Iterator[None]:
    """A worker that trains, and writes these items."""
    queue, done = served.world.queue, threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            for claim in queue.claim("train", "here/cpu/train"):
                served.epoch(claim, 1)
                queue.succeed(claim)
            for claim in queue.claim("generate", "here/cpu/generate"):
                count = claim.spec["n"]
                texts = [record(i, items[i % len(items)], None) for i in range(count)]
                prompt = claim.spec["prompt"]
                found = [prompt + text.text in NAMES for text in texts]
                queue.succeed(
                    claim,
                    [
                        replace(text, prompt=prompt, copy=copy)
                        for text, copy in zip(texts, found, strict=True)
                    ],
                )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_64_items_are_64_lines_and_nothing_else(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--corpus", "names.txt", "--items", "lines", "--name", "names", "--wait"]
    with worker(served, NAMES):
        assert run([*train, "--epochs", "1"]) == 0
        capsys.readouterr()
        assert run(["generate", "names", "-n", "64"]) == 0
        written = capsys.readouterr().out
        assert written.split("\n") == [*NAMES, *NAMES[:19], ""]
        assert run(["generate", "names", "-n", "2", "--prompt", "A"]) == 0
        assert capsys.readouterr().out == "AAan\nAAalin\n", "each with its prompt"
        job = served.ann.items("/v1/jobs?kind=generate")[-1]["id"]
        assert run(["job", "wait", job]) == 0
        assert capsys.readouterr().out == written
        assert run(["generate", "names", "-n", "1", "--json"]) == 0
        as_json = json.loads(capsys.readouterr().out)
        [text] = Job.model_validate(as_json).texts or []
        assert (as_json["texts"][0]["copy"], text.is_copy) == (True, True)
    with worker(served, ["a\nb", "c"]):
        assert run(["generate", "names", "-n", "3"]) == 0
        assert capsys.readouterr().out == "a\nb\n\nc\n\na\nb\n"


def test_a_list_is_uploaded_once_and_shown_as_a_list(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["corpus", "add", "names.csv", "--column", "name", "--name", "names"]) == 0
    told = capsys.readouterr()
    assert "45 items" in told.out
    assert "median 5 characters" in told.err
    assert run(["corpus", "show", "names", "--text"]) == 0
    assert capsys.readouterr().out.split() == NAMES
    train = ["train", "--corpus", "names.txt", "--items", "lines", "--no-wait", "--epochs", "1"]
    assert run(train) == 0
    assert "Already uploaded" in capsys.readouterr().err, "the same items, from another file"
    assert run(["corpus", "add", "names.txt", "--items", "lines", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"]["count"] == 45


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["corpus", "add", "names.csv", "--items", "words"], "'lines', 'blank'"),
        (["corpus", "add", "names.csv", "--column", "age"], "name one of 'id', 'name'"),
        (["corpus", "add", "names.csv", "--items", "column"], "give column"),
        (["train", "--corpus", "names.csv", "--items", "words"], "'lines', 'blank'"),
        (["train", "--corpus", "names.csv", "--column", "age"], "name one of 'id', 'name'"),
    ],
)
def test_what_can_not_be_cut_is_bad_usage(
    served: Served, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert says in " ".join(error.split())
    assert "bug in Quire" not in error


def test_a_corpus_of_the_server_is_not_cut_again(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.ann.upload("\n".join(NAMES), name="stored")
    assert run(["train", "--corpus", "stored", "--items", "lines"]) == 2
    assert "quire corpus add" in capsys.readouterr().err


def test_what_was_thrown_away_and_what_is_nearest_are_told(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--corpus", "names.txt", "--items", "lines", "--name", "names", "--wait"]
    with worker(served, NAMES):
        assert run([*train, "--epochs", "1"]) == 0
    queue = served.world.queue
    assert run(["generate", "names", "-n", "3", "--only-new", "--nearest", "--no-wait"]) == 0
    [claim] = queue.claim("generate", "here/cpu/generate")
    assert (claim.spec["only_new"], claim.spec["nearest"]) == (True, True)
    new, other = (
        replace(
            record(place, text, None),
            prompt="",
            copy=False,
            discarded=3,
            nearest="Aan",
            nearest_distance=distance,
        )
        for place, (text, distance) in enumerate([("Aano", 1), ("Ban", 1)])
    )
    empty = replace(record(2, "", None), prompt="", finish_reason="exhausted", discarded=20)
    queue.succeed(claim, [new, other, empty])
    capsys.readouterr()
    assert run(["job", "wait", claim.job_id]) == 0
    told = capsys.readouterr()
    assert told.out == "Aano\tAan\t1\nBan\tAan\t1\n"
    assert "26 thrown away" in told.err
    assert "No new one was found for 1" in told.err
    assert run(["job", "wait", claim.job_id, "--json"]) == 0
    text = (Job.model_validate(json.loads(capsys.readouterr().out)).texts or [])[0]
    assert text.nearest is not None
    assert (text.nearest.item, text.nearest.distance, text.discarded) == ("Aan", 1, 3)
