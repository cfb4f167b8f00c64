"""The page that all benchmarks together write."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as all_of_them
from benchmarks import gpu as gpu_rows
from benchmarks.peers.ngrams import KneserNey
from benchmarks.support.abc_tunes import tunes
from benchmarks.support.harness import machine, row, table
from shared.specs.presets import PRESETS
from worker.gpu_check import lines_of
from worker.gpu_measure import STREAMS
from worker.ml.checkpoint import cpu_features

ROW = {
    "name": "generate/one_stream",
    "ours": 0.0000251,
    "peer": 0.0581,
    "unit": "s",
    "ratio": 2314.7,
    "target": 2000,
    "met": True,
    "conditions": "peer: model.predict; 5 / 5 rounds; a machine",
}


def test_a_run_says_which_instruction_sets_it_had() -> None:
    assert all(feature in machine().split(",")[0] for feature in cpu_features())


def test_the_page_names_the_machine_once_and_the_peer_of_each_row() -> None:
    text = all_of_them.page([ROW, {**ROW, "name": "x/y", "met": False}], "a machine")
    assert "| `generate/one_stream` | 2.51e-05 | 0.0581 | s | 2,315 | 2,000 | yes |" in text
    assert "| `x/y` | 2.51e-05 | 0.0581 | s | 2,315 | 2,000 | **no** |" in text
    assert "- `x/y`: peer: model.predict; 5 / 5 rounds." in text
    assert text.count("a machine") == 1


@pytest.mark.parametrize(
    ("arguments", "broken", "code", "renewed"),
    [
        ([], (), 0, True),
        (["--quick"], (), 0, False),
        (["--only", "serve"], (), 0, False),
        ([], ("serve",), 1, False),
    ],
)
def test_the_readme_is_renewed_by_a_full_run_alone(
    arguments: list[str],
    broken: Sequence[str],
    code: int,
    renewed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readme = tmp_path / "README.md"
    monkeypatch.setattr(all_of_them, "README", readme)
    monkeypatch.setattr(all_of_them, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(all_of_them, "PLOT", tmp_path / "ratios.svg")
    monkeypatch.setattr(all_of_them, "measure", lambda name, **_: None if name in broken else [ROW])
    assert all_of_them.main(arguments) == code
    assert readme.exists() is renewed


def test_rows_that_a_run_leaves_out_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, plot = tmp_path / "README.md", tmp_path / "ratios.svg"
    monkeypatch.setattr(all_of_them, "README", readme)
    monkeypatch.setattr(all_of_them, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(all_of_them, "PLOT", plot)
    for script, name, ours in (
        ("serve", "serve/crowd_64", 1.0),
        ("classic", "classic/epoch", 2.0),
        ("serve", "serve/get_job", 4.0),
        ("serve", "serve/crowd_64", 3.0),
    ):
        row = {**ROW, "name": name, "ours": ours}
        monkeypatch.setattr(all_of_them, "measure", lambda _name, row=row, **_: [row])
        assert all_of_them.main(["--only", script, "--row", name, "--write"]) == 0
    text = readme.read_text()
    assert "| `serve/crowd_64` | 3 |" in text
    assert "| `serve/get_job` | 4 |" in text
    assert "| `classic/epoch` | 2 |" in text
    assert "Not measured: `vectorize/nietzsche`," in text
    ElementTree.fromstring(plot.read_text())  # noqa: S314  # our own
    assert "serve/crowd_64" in plot.read_text()


def test_a_row_that_could_not_be_measured_is_missed() -> None:
    every = [name for names in all_of_them.SCRIPTS.values() for name in names]
    rows = [{**ROW, "name": name} for name in every]
    assert "Not measured" not in all_of_them.page(rows, "a machine")
    text = all_of_them.page(rows[:-1], "a machine")
    assert f"\nNot measured: `{every[-1]}`.\n" in text


def test_without_a_gpu_its_rows_are_told_as_one() -> None:
    every = [name for names in all_of_them.SCRIPTS.values() for name in names]
    rows = [{**ROW, "name": name} for name in every]
    without = [row for row in rows if not str(row["name"]).startswith("gpu/")]
    text = all_of_them.page(without, "a machine")
    assert "\nNot measured: `gpu/…` (no GPU).\n" in text
    # A card that gave some rows lacks the others by their names.
    most = [row for row in rows if row["name"] != "gpu/two_slots"]
    assert "\nNot measured: `gpu/two_slots`.\n" in all_of_them.page(most, "a machine")


def test_without_a_gpu_the_script_says_so_and_gives_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--json", str(path)],
        # Also where there is a GPU: nothing is lent to this process.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "gpu/… is not measured: " in done.stdout
    assert json.loads(path.read_text()) == []


def measured(scale: float) -> dict[str, Any]:
    step = {"ms": 8.0 / scale, "characters_per_second": 1e5 * scale, "multiply_adds": 1e9}
    return {
        "steps": {name: step for name in PRESETS},
        "sampling": {str(streams): 1e4 * scale for streams in STREAMS},
        "checkpoint_seconds": 0.5,
    }


def test_a_gpu_gives_the_rows_of_gpu_check() -> None:
    card = {"device": "gpu:0", "name": "H100", "uuid": "GPU-0", "auto_slots": 4, "problems": []}
    limits = {"multiply_adds_per_second": 1e12}
    gpu = card | measured(4.0) | {"limits": limits, "two_slots": 1.5, "crossover_streams": 1}
    report = {"driver": "575.1", "mps": False, "cpu": measured(1.0), "gpus": [gpu]}
    rows = {each.name: each for each in gpu_rows.rows_of(report, quick=False)}
    assert tuple(rows) == all_of_them.SCRIPTS["gpu"]
    assert rows["gpu/step_large"].ratio == rows["gpu/streams_2048"].ratio == 4.0
    assert rows["gpu/two_slots"].ratio == 1.5
    assert all(each.met and "H100, driver 575.1" in each.conditions for each in rows.values())
    # What the command prints has a line for each of them, with the same figures.
    printed = "\n".join(lines_of(report))
    for each in (*PRESETS, "2048 streams", "at 1 streams", "1.50 × one", "checkpoint of large"):
        assert each in printed


def test_a_broken_gpu_gives_its_problem(capsys: pytest.CaptureFixture[str]) -> None:
    report = {"cpu": measured(1.0), "gpus": [{"problems": ["GPU is lost"]}]}
    assert list(gpu_rows.rows_of(report, quick=False)) == []
    assert "gpu/… is not measured: GPU is lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "peer", "told"),
    [
        ([2.0], [4.0], "; one round; "),
        ([2.0, 2.2], [4.0], "; 2 / 1 rounds, spread ours 10%, peer –; "),
    ],
)
def test_one_round_has_no_spread(ours: list[float], peer: list[float], told: str) -> None:
    made = row("x/y", ours, peer, "s", 1, "peer: a script")
    assert told in made.as_json()["conditions"]
    assert "0%" not in table([row("x/y", ours[:1], peer, "s", 1, "")])


def test_every_benchmark_that_runs_is_there_and_so_are_its_rows() -> None:
    folder = Path(all_of_them.__file__).parent
    for name, rows in all_of_them.SCRIPTS.items():
        code = (folder / f"{name}.py").read_text()
        assert "main(" in code
        for each in rows:
            start, _, end = each.partition("/")
            assert f"{start}/" in code, each
            assert end in code or f"{start}/{{" in code, each


def test_a_script_gives_its_rows_through_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(
        "import pathlib, sys\n"
        "assert '--quick' in sys.argv\n"
        f"pathlib.Path(sys.argv[2]).write_text({json.dumps([ROW])!r})\n"
    )
    (package / "bad.py").write_text("raise SystemExit('no such text')\n")
    monkeypatch.chdir(tmp_path)
    assert all_of_them.measure("good", quick=True) == [ROW]
    assert all_of_them.measure("bad", quick=True) is None


def test_the_peer_of_the_corpora_gives_probabilities() -> None:
    text = "the cat sat on the mat and the rat sat on the cat. " * 3
    model = KneserNey(text, 4, alphabet=len(set(text)))
    for before in ("", "q", "the", "on the"):
        total = sum(model.probability(before, character) for character in sorted(set(text)))
        assert total == pytest.approx(1)
    assert model.bits_per_char("the cat", "sat on ") < 1 < model.bits_per_char("tta.oth", "sat on ")


def test_a_collection_is_cut_into_its_tunes() -> None:
    assert tunes("% about\nX: 1\nK:G\nGAB\n\nX:2\nK:D\nd2\n") == ["X: 1\nK:G\nGAB", "X:2\nK:D\nd2"]


def test_rows_that_were_not_asked_for_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in (("README", "README.md"), ("RESULTS", "results.json"), ("PLOT", "plot.svg")):
        monkeypatch.setattr(all_of_them, name, tmp_path / path)
    before = [ROW, {**ROW, "name": "generate/64_streams"}, {**ROW, "name": "generate/gone"}]
    (tmp_path / "results.json").write_text(json.dumps({"generate": before}))
    now = {**ROW, "name": "generate/64_streams", "ours": 1.0}
    monkeypatch.setattr(all_of_them, "measure", lambda name, **_: [now])
    asked = ["--only", "generate", "--row", "generate/64_streams", "--write"]
    assert all_of_them.main(asked) == 0
    # One that its script knows no more is gone.
    assert json.loads((tmp_path / "results.json").read_text()) == {"generate": [ROW, now]}
