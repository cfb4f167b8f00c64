"""The commands of README.md and the hints of commands work, in their order."""

import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quire.main import run
from tests.api.harness import record
from tests.quire.conftest import Served

README = Path(__file__).parents[2] / "README.md"
LETTER = "Dear Ada, the engine weaves patterns as the loom weaves flowers and leaves.\n"


@pytest.fixture(autouse=True)
def _at_home(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log in as an admin, in a directory with a text file."""
    monkeypatch.setenv("QUIRE_KEY", served.world.person("root", "admin").key)
    monkeypatch.chdir(tmp_path)
    Path("letters.txt").write_text(LETTER * 60)


@contextmanager
def worker(served: Served) -> Iterator[None]:
    """A worker whose every job succeeds."""
    queue, done = served.world.queue, threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            for claim in queue.claim("train", "here/cpu/train"):
                served.epoch(claim, 1)
                queue.succeed(claim)
            for claim in queue.claim("generate", "here/cpu/generate"):
                temperatures = claim.spec["temperatures"]
                queue.succeed(claim, [record(i, "a text", None) for i in range(len(temperatures))])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def commands(heading: str) -> list[list[str]]:
    """Parse the commands of the first code block under a heading of the README."""
    section = README.read_text().partition(f"\n## {heading}\n")[2]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def test_the_commands_of_the_readme_work_in_order(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = commands("Use it")
    with worker(served):
        for program, *arguments in lines:
            assert program == "quire"
            wait = ["--wait"] if arguments[0] == "train" else []  # the default on a terminal
            assert run([*arguments, *wait]) == 0, (arguments, capsys.readouterr().err)
    assert Path("report.html").read_text().startswith("<!doctype html>")
    key_file = Path(capsys.readouterr().out.splitlines()[-1])
    monkeypatch.setenv("QUIRE_KEY", key_file.read_text().strip())
    assert run(["whoami"]) == 0
    assert "ada" in capsys.readouterr().out


def test_hints_can_be_pasted_whatever_the_name(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "Ada's old letters"
    Path("letters.txt").rename(f"{name}.txt")

    def hint() -> list[str]:
        found: list[str] = re.findall(r": (quire (?:train|generate) .+)", capsys.readouterr().err)
        return shlex.split(found[-1])[1:]

    assert run(["corpus", "add", f"{name}.txt"]) == 0
    assert (train := hint()) == ["train", "--corpus", name]
    with worker(served):
        assert run([*train, "--wait"]) == 0
        assert hint() == ["generate", name]
        assert run(["job", "watch", name]) == 0
        assert run(hint()) == 0
    assert "a text" in capsys.readouterr().out
