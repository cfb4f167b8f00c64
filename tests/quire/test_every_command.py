"""What holds for every command: options given twice, closed pipes, terminals of little encoding."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from quire.errors import ExitCode
from quire.main import app, run
from tests.quire.conftest import Served

SECONDS = 60.0
NAME = "«ñandú» 紅樓夢 😀"
#: Commands that print more than a line.
LISTINGS = [
    ["corpus", "list"],
    ["corpus", "show", NAME, "--text"],
    ["models", "--json"],
    ["checkpoints", NAME],
    ["jobs"],
    ["jobs", "--json"],
    ["job", "show", f"{NAME}!"],
    ["job", "wait", f"{NAME}!"],
    ["texts", "--json"],
    ["queue"],
    ["usage"],
    ["key", "list"],
    ["train", "--help"],
]
#: Of these, what shows texts or names of users.
WRITINGS = [LISTINGS[number] for number in (0, 1, 5, 6, 7, 8)]


def options() -> Iterator[tuple[list[str], Any]]:
    """Every option of every command that takes one value, or is a flag."""
    pending: list[tuple[list[str], Any]] = [([], typer.main.get_command(app))]
    while pending:
        path, command = pending.pop()
        pending += [
            ([*path, name], inner) for name, inner in getattr(command, "commands", {}).items()
        ]
        for option in command.params:
            if option.param_type_name == "option" and not option.multiple:
                yield path, option


def test_no_option_that_counts_once_is_taken_twice(capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for path, option in options():
        if not path or option.is_eager:
            continue
        for name in option.opts:
            given = [name] if option.is_flag else [name, "1"]
            capsys.readouterr()
            assert run([*path, *given, *given]) == ExitCode.USAGE, (path, name)
            assert "is given 2 times" in capsys.readouterr().err, (path, name)
            count += 1
    assert count > 80


@pytest.fixture
def texts(served: Served) -> None:
    """Something to list, whose names and texts no page of Windows has."""
    corpus = served.ann.upload(f"{NAME} It was\n" * 400, name=NAME)
    model = served.world.model(served.ann, corpus, name=NAME)
    body = {"model": model["id"], "length": 10, "name": f"{NAME}!"}
    job = served.ann.post("/v1/generate", body).json
    served.world.write(job, [f"{NAME}\n" * 20])


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
@pytest.mark.usefixtures("texts")
def test_a_closed_pipe_ends_it_quietly(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "quire", *command],
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode in (0, 141), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"error" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "cp1252"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=["cp1252", "C"],
)
@pytest.mark.parametrize("command", WRITINGS, ids=" ".join)
@pytest.mark.usefixtures("texts")
def test_no_output_is_lost_in_a_pipe(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "quire", *command],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **environment},
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    shown = done.stdout.decode()
    assert NAME in shown or ascii(NAME)[1:-1] in shown or "\\u7d05" in shown, shown
