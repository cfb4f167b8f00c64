"""Texts that people bring to the command line: files, prompts and options given twice."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quire.client.requests.uploads import form
from quire.errors import ExitCode
from quire.main import run
from tests.api.harness import ENGLISH, record
from tests.quire.conftest import Served
from tests.services.waiting import until
from tests.texts_refused import REFUSED

Output = pytest.CaptureFixture[str]
PROSE = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 40


def quire(output: Output, *arguments: str) -> tuple[int, str, str]:
    """Run a command: its exit code, its output and its messages, each message in one line."""
    output.readouterr()
    code = run(arguments)
    captured = output.readouterr()
    assert "bug in Quire" not in captured.err
    return code, captured.out, captured.err


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_bytes("zwö\n".encode("utf-16"))
    (folder / ".hidden").write_bytes(b"\0")
    return folder


def test_several_files_or_a_folder_make_one_corpus(
    served: Served, files: Path, capsys: Output
) -> None:
    paths = [str(files / "a.txt"), str(files / "b.txt")]
    code, out, err = quire(capsys, "corpus", "add", *paths, "--name", "both")
    assert (code, "8 characters" in out) == (0, True), err
    assert "utf-16" in err
    code, out, _ = quire(capsys, "corpus", "show", "both", "--text")
    assert out == "one\nzwö\n"
    code, out, _ = quire(capsys, "corpus", "add", str(files), "--json")
    added = json.loads(out)
    assert (added["name"], [part["name"] for part in added["parts"]]) == (
        "texts",
        ["a.txt", "b.txt"],
    )
    (files / "long.txt").write_text(PROSE)
    for reference in (["--corpus", str(files)], ["--corpus", paths[0], "--corpus", str(files)]):
        code, _, err = quire(capsys, "train", *reference, "--no-wait", "--epochs", "1")
        assert code == 0, err
    code, _, err = quire(capsys, "train", *reference, "--no-wait", "--epochs", "1")
    assert "Already uploaded" in err
    code, _, err = quire(capsys, "train", "--corpus", "both", "--corpus", paths[0])
    assert (code, "--corpus is given 2 times" in err) == (ExitCode.USAGE, True)


def test_a_dry_run_keeps_nothing(served: Served, files: Path, capsys: Output) -> None:
    code, _, err = quire(capsys, "corpus", "add", str(files / "b.txt"), "--dry-run")
    assert (code, "Nothing was kept" in err, "utf-16-le" in err) == (0, True, True)
    assert served.ann.items("/v1/corpora") == []


def test_a_refused_text_is_told_with_the_ways_out(
    served: Served, tmp_path: Path, capsys: Output
) -> None:
    letters = tmp_path / "letters.txt"
    letters.write_bytes(("“Don’t – touch it…” said Zoë.\n" * 40).encode("cp1252"))
    code, _, err = quire(capsys, "corpus", "add", str(letters))
    assert (code, "encoding=cp1252" in err, "latin-1" in err) == (ExitCode.USAGE, True, False)
    assert quire(capsys, "corpus", "add", str(letters), "--encoding", "cp1252")[0] == 0
    stray = tmp_path / "stray.txt"
    stray.write_bytes("naïve café\n".encode() * 9 + b"a\xff")
    assert "on_invalid" in quire(capsys, "corpus", "add", str(stray))[2]
    assert quire(capsys, "corpus", "add", str(stray), "--on-invalid", "drop")[0] == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--prompt", "Ann \udcff"], "prompt"),
        (["--prompt", "a", "--stop", "\ud83d"], "stop"),
        (["--prompt", "a", "--name", "bad\udcff"], "name"),
        (["--prompt", "a", "--temperature", "nan"], "temperature"),
        (["--prompt", "a", "--temperature", "0.2,inf"], "temperature"),
        (["--prompt", "a", "--temperature", "1..nan"], "temperature"),
        (["--prompt", "a", "--top-p", "nan"], "top_p"),
        (["--prompt", "a\0b"], "prompt"),
        (["--prompt", "a\uffff"], "prompt"),
    ],
)
def test_what_json_can_not_hold_is_bad_usage(
    served: Served, capsys: Output, options: list[str], field: str
) -> None:
    served.world.model(served.ann, name="poet")
    code, _, err = quire(capsys, "generate", "poet", *options)
    assert code == ExitCode.USAGE
    assert field in err
    assert len(err.splitlines()) == 1


def test_train_and_corpus_names_that_are_no_utf_8_are_bad_usage(
    served: Served, tmp_path: Path, capsys: Output
) -> None:
    text = tmp_path / "a.txt"
    text.write_text(PROSE)
    bad = "bad\udcff"
    for arguments in (
        ["train", "--corpus", str(text), "--name", bad, "--no-wait", "--epochs", "1"],
        ["train", "--corpus", str(text), "--set", f"optimizer={bad}", "--no-wait"],
        ["train", "--corpus", str(text), "--seconds", "nan", "--no-wait"],
        ["corpus", "add", str(text), "--name", bad],
        ["corpus", "add", str(text), str(text), "--name", bad],
        ["corpus", "add", str(text), "--encoding", bad],
    ):
        code, _, err = quire(capsys, *arguments)
        assert code == ExitCode.USAGE, (arguments, err)


def test_an_option_given_twice_is_bad_usage_where_one_counts(
    served: Served, tmp_path: Path, capsys: Output
) -> None:
    served.world.model(served.ann, name="poet")
    for arguments in (
        ["generate", "poet", "--temperature", "0.2", "--temperature", "0.9"],
        ["generate", "poet", "--length=5", "--length", "6"],
        ["corpus", "add", "x", "--name", "a", "--name", "b"],
        ["generate", "poet", "--wait", "--no-wait"],
    ):
        code, _, err = quire(capsys, *arguments)
        assert code == ExitCode.USAGE
        assert "is given 2 times" in err
    stops = ["--stop", "It", "--stop", "was"]
    assert quire(capsys, "generate", "poet", "--prompt", "It", *stops, "--no-wait")[0] == 0


def test_a_score_reads_files_as_uploads_are_read(
    served: Served, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.world.model(served.ann, name="poet")
    sent: list[Any] = []
    monkeypatch.setattr(
        "quire.client.sync.routes.jobs.Jobs.submit_score",
        lambda _self, body, **_: sent.append(body["text"]) or sys.exit(0),
    )
    text = tmp_path / "a.txt"
    for data, options in (
        ("\ufeffcafé\r\n".encode(), []),
        ("\ufeffcafé\n".encode("utf-16-be"), []),
        ("café\n".encode("cp1252"), ["--encoding", "cp1252"]),
    ):
        text.write_bytes(data)
        with pytest.raises(SystemExit):
            run(["score", "poet", str(text), *options])
    assert sent == ["café\n"] * 3
    text.write_bytes("café\n".encode("cp1252"))
    code, _, err = quire(capsys, "score", "poet", str(text))
    assert (code, "encoding=cp1252" in err) == (ExitCode.USAGE, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"%PDF-1.4\n")))
    code, _, err = quire(capsys, "score", "poet")
    assert (code, "PDF" in err) == (ExitCode.USAGE, True)


def test_a_form_survives_cruel_file_names() -> None:
    kind, parts = form([('a"b\r\n\\c\udcff.txt', b"abc")], {"name": "n", "encoding": None})
    body = b"".join(part for part in parts if isinstance(part, bytes))
    assert b'filename="a%22b  _c?.txt"' in body
    assert kind.split("boundary=")[1].encode() in body


def test_a_long_text_is_uploaded_scored_and_deleted(
    served: Served, tmp_path: Path, capsys: Output
) -> None:
    served.world.model(served.ann, name="poet")
    before = served.ann.items("/v1/corpora")
    text = tmp_path / "long.txt"
    text.write_bytes((ENGLISH * (100_000 // len(ENGLISH) + 1)).encode("utf-16"))
    scored: list[Any] = []

    def write() -> None:
        [job] = until(lambda: served.ann.items("/v1/jobs?status=queued"), "the score")
        scored.append(served.ann.get(f"/v1/corpora/{job['corpus']}").json)
        claim = served.world.claim(job["id"], "generate")
        served.world.queue.succeed(claim, [record(0, "", None, bits_per_char=2.5)])

    for arguments in ([str(text)], ["--text", ENGLISH * 300]):
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            code, out, err = quire(capsys, "score", "poet", *arguments)
            writing.result()
        assert (code, out.split()[:1]) == (0, ["2.5000"]), err
    assert [each["name"] for each in scored] == ["long", "scored text"]
    assert scored[0]["encoding"].startswith("utf-16")
    assert served.ann.items("/v1/corpora") == before
    # One that was there before stays.
    assert quire(capsys, "corpus", "add", str(text))[0] == 0
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert quire(capsys, "score", "poet", str(text))[0] == 0
        writing.result()
    assert len(served.ann.items("/v1/corpora")) == len(before) + 1
    text.write_bytes(b"It was\xff\xfe" * 20_000)
    code, _, err = quire(capsys, "score", "poet", str(text))
    assert (code, "not utf-8" in err, "_utf_8)" in err) == (ExitCode.USAGE, True, True)


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_is_told_with_its_code_and_options(
    served: Served, tmp_path: Path, capsys: Output, code: str
) -> None:
    data, encoding = REFUSED[code]
    served.world.model(served.ann, name="poet")
    text = tmp_path / "a.txt"
    text.write_bytes(data)
    options = ["--encoding", encoding] if encoding else []
    for command in (["corpus", "add"], ["corpus", "add", "--dry-run"], ["score", "poet"]):
        failed, _, err = quire(capsys, *command, str(text), *options)
        first, *ways = err.splitlines()
        assert (failed, first.startswith("error: ")) == (ExitCode.USAGE, True)
        assert first.endswith(f" ({code})")
        if "encoding=" in first and code != "unknown_encoding":
            assert any(way.startswith("way out: ") and "--encoding " in way for way in ways)
