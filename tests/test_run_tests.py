"""The program behind `make test`: two pytest processes, one result."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.waiting import until
from tools.run_tests import ALONE, LOOKING, WAITING, Part, page_parts, parts, quick_parts, run

ROOT = Path(__file__).parents[1]
PASSES = "def test_passes(): pass"
MIXED = """
import pytest

def test_passes(): pass
def test_fails(): assert False, "as it should"
@pytest.mark.skip(reason="not today")
def test_skips(): pass
"""


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading them takes the processes seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def part(name: str, directory: Path, code: str) -> Part:
    file = directory / f"test_{name}.py"
    file.write_text(code)
    alone = ("-c", os.devnull, "--rootdir", str(directory))
    return Part(name, (*alone, str(file)))


def test_the_sum_of_both_is_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = part("good", tmp_path, PASSES)
    assert run([good, part("mixed", tmp_path, MIXED)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 1 failed, 1 skipped"
    results = [line for line in lines if line.startswith(("good: ", "mixed: "))]
    assert results[0].startswith("good: 1 passed in ")
    assert results[1].startswith("mixed: 1 failed, 1 passed, 1 skipped in ")
    # What failed has run once more, alone.
    assert results[2].startswith("mixed: 1 failed, ")
    assert "1 failed; running them again, alone" in lines
    assert not any("FLAKY" in line for line in lines)
    assert any(line.startswith("mixed     | ") and "test_mixed.py" in line for line in lines)
    reports = lines[lines.index("----- mixed -----") :]
    assert any("as it should" in line for line in reports)


def test_all_passed_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("one", "two")
    assert run([part(name, tmp_path, PASSES) for name in names]) == 0
    assert capsys.readouterr().out.endswith("\n2 passed, 0 failed, 0 skipped\n")


def test_a_flaky_test_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    met = tmp_path / "met"
    code = f"""
import pathlib

def test_passes(): pass
def test_is_late():
    met = pathlib.Path({str(met)!r})
    first = not met.exists()
    met.touch()
    assert not first, "too late"
"""
    assert run([part("good", tmp_path, PASSES), part("flaky", tmp_path, code)]) == 0
    output = capsys.readouterr().out
    assert "test_is_late" in output
    assert "FLAKY: 1 of 1 passed when run alone" in output
    assert "test_is_late PASSED" in output
    assert output.endswith("\n3 passed, 0 failed, 0 skipped\n")


def test_many_failures_are_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test(n): assert 0"
    assert run([part("bad", tmp_path, code)]) == 1
    output = capsys.readouterr().out
    assert "again, alone" not in output
    assert output.endswith("\n0 passed, 6 failed, 0 skipped\n")


def test_processes_that_run_no_test_are_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {"dies": "import os; os._exit(7)", "broken": "raise RuntimeError", "empty": "# none"}
    assert run([part(name, tmp_path, code) for name, code in codes.items()]) == 1
    assert capsys.readouterr().out.endswith("\n0 passed, 3 failed, 0 skipped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_both(number: signal.Signals, tmp_path: Path) -> None:
    code = "import pathlib, time\ndef test(): pathlib.Path({!r}).touch(); time.sleep(60)"
    started = [tmp_path / "one", tmp_path / "two"]
    made = [part(path.name, tmp_path, code.format(str(path))) for path in started]
    # Handlers that a shell or a test runner set to «ignore» would be inherited.
    program = "import sys; from tools.run_tests import Part, run; sys.exit(run({}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program.format(made)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        until(lambda: all(path.exists() for path in started), "both tests have started")
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "0 passed" in output.splitlines()[-1]


def test_every_folder_belongs_to_one_process() -> None:
    waiting, computing = parts()
    assert set(waiting.arguments) == set(WAITING)
    assert computing.arguments[0] == "tests"
    ignored = {argument.removeprefix("--ignore=") for argument in computing.arguments[1:]}
    assert ignored == {*WAITING, *ALONE}
    looking, using = page_parts()
    assert set(looking.arguments) == set(LOOKING)
    assert using.arguments == ("tests/page", *(f"--ignore={path}" for path in LOOKING))
    quick = {path for part in quick_parts() for path in part.arguments if "/" in path}
    for path in {*WAITING, *ALONE, *LOOKING, *quick}:
        assert (ROOT / path).exists(), path
