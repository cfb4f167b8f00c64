"""What is shown is what was written: on terminals, in pipes, and in any encoding."""

import json
import os
import pty
import shlex
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from quire.client.replies import Job, Progress
from quire.main import run
from quire.watch.wait import short_budget_text
from shared.hidden_characters import visible
from tests.quire.conftest import ESCAPES, Served

SECONDS = 60.0
#: A title, a clipboard, hidden and reversed text; what Rich takes for markup; white space.
WILD = (
    "\x1b]0;owned\x07\x1b]52;c;aGk=\x1b\\ \x9b31mred \u202etxt\u202c \u2066x\u2069 \x08\x7f\r"
    ":smile: [bold]loud[/bold] [/] [link=x]y[/link] \\[dim] \\\\ end\\\n"
    "\tcolumn\tcolumn   " + "long " * 60 + "\ntrailing   \n\u2028«ñ» “紅樓夢” 👩‍👩‍👧"
)
PROMPT = "It "
CONTROLS = ("\x07", "\x08", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028")


@pytest.fixture
def model(served: Served) -> str:
    """A model that wrote a wild text on request."""
    model = served.world.model(served.ann, served.ann.upload(WILD * 6, name="wild"))
    job = served.ann.post("/v1/generate", {"model": model["id"], "length": 10}).json
    served.world.write(job, [WILD])
    return str(model["name"])


def piped(*arguments: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    """Run the command with its output in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "quire", *arguments],
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )


def on_terminal(*arguments: str, encoding: str = "utf-8") -> str:
    """Run the command on a terminal; return what the terminal was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "quire", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONIOENCODING": encoding, "TERM": "xterm-256color"},
    ) as process:
        os.close(theirs)
        sent = b""
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # Linux says so at the end
                break
            if not block:
                break
            sent += block
    os.close(ours)
    assert process.returncode == 0, sent
    return sent.decode(encoding).replace("\r\n", "\n")


@pytest.mark.usefixtures("model")
def test_a_terminal_gets_the_text_with_marks_for_controls(served: Served) -> None:
    shown = ESCAPES.sub("", on_terminal("texts", "--full"))
    assert shown.partition("\n")[2] == f"{PROMPT}{visible(WILD)}\n\n"
    assert "␛]0;owned␇" in shown
    assert "\x1b]" not in shown
    corpus = served.ann.get("/v1/corpora").json["items"][0]["id"]
    text = served.ann.get(f"/v1/corpora/{corpus}/text").text
    assert ESCAPES.sub("", on_terminal("corpus", "show", "wild", "--text")) == visible(text)


@pytest.mark.parametrize(
    "arguments", [["texts"], ["texts", "--json"], ["job", "show", "wild"]], ids=" ".join
)
@pytest.mark.usefixtures("model")
def test_no_view_sends_a_terminal_a_control_of_a_text(arguments: list[str]) -> None:
    shown = ESCAPES.sub("", on_terminal(*arguments))
    assert "\x1b" not in shown
    assert not [character for character in CONTROLS if character in shown]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.usefixtures("model")
def test_a_pipe_gets_the_text_as_it_is(encoding: str) -> None:
    result = piped("texts", "--full", encoding=encoding)
    assert result.stdout.decode() == f"{PROMPT}{WILD}\n", result.stderr
    listed = piped("texts", "--json", encoding=encoding)
    assert json.loads(listed.stdout)[0]["text"] == WILD
    assert (result.returncode, listed.returncode) == (0, 0)


@pytest.mark.usefixtures("model")
def test_a_terminal_without_unicode_shows_escapes() -> None:
    shown = on_terminal("texts", "--full", encoding="cp1252")
    assert "«ñ» “\\u7d05\\u6a13\\u5922”" in shown


def test_a_name_is_no_markup(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    names = [":smile:", "[bold]x[/]", "[/]", "two\\\\", "one\\", "\\[dim]", "[link=a]b[/link]"]
    for name in names:
        served.ann.upload(name=name)
    assert run(["corpus", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name} " in listed for name in names), listed
    for name in names:
        assert run(["corpus", "rm", name]) == 0
        told = capsys.readouterr().err
        assert told.startswith(f"Deleted the corpus {name}.\n"), told
        assert told.endswith(f": quire corpus restore {shlex.quote(name)}\n"), told


def test_no_line_is_wrapped_or_cut_in_a_pipe(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a very long name " * 11 + "end"
    served.ann.upload(name=name)
    assert run(["corpus", "show", name]) == 0
    assert name in capsys.readouterr().out
    assert run(["corpus", "rename", name, f"{name}s"]) == 0
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["texts", "--full"], ["corpus", "list"]], ids=["a text", "a table"]
)
@pytest.mark.usefixtures("model")
def test_a_closed_pipe_is_no_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "quire", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_name_means_its_newest_training_or_job(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = served.ann.upload()
    trainings = [served.ann.train(corpus, preset="classic", epochs=1, name="same") for _ in "ab"]
    for training in trainings:
        served.world.queue.succeed(_with_checkpoint(served, training["id"]))
    generation = served.ann.post("/v1/generate", {"model": trainings[0]["model"], "length": 5})
    served.world.write(generation.json)
    assert run(["job", "show", "same", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == generation.json["id"]
    assert run(["job", "watch", "same"]) == 0
    assert trainings[1]["id"] in capsys.readouterr().err
    assert run(["job", "cancel", "same"]) == 2
    message = capsys.readouterr().err
    assert f"{trainings[0]['id']} (train, succeeded, " in message
    assert f"{generation.json['id']} (generate, succeeded, " in message


def _with_checkpoint(served: Served, job_id: str) -> object:
    claim = served.world.claim(job_id)
    served.world.checkpoint(claim, 100)
    return claim


def test_help_says_what_the_seed_holds_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "the same seed and --epochs give the same model" in text


def test_a_budget_that_is_over_at_once_is_told_of(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    job = served.ann.train(served.ann.upload(), budget={"seconds": 10}, name="short")
    claim = served.world.claim(job["id"])
    served.point(claim, 20, 3.0)
    served.world.checkpoint(claim, 20)
    served.world.queue.succeed(claim)
    assert run(["job", "show", "short"]) == 0
    assert "10 seconds were enough for 20 steps, 0.2 epochs" in capsys.readouterr().out
    assert run(["job", "watch", "short"]) == 0
    assert "10 seconds were enough for 20 steps" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("step", "speed", "spec", "told"),
    [
        # 168 steps of 3,072 characters took 2.8 of 10 seconds.
        (168, 186_758.0, {}, "168 steps, 12 epochs: compiling the network took most of them"),
        (1067, 300_000.0, {}, ""),
        (168, 186_758.0, {"tokenizer": "word"}, ""),
        (168, None, {}, ""),
        (168, 186_758.0, {"budget": None, "epochs": 6}, ""),
    ],
)
def test_a_budget_that_compiling_ate_is_told_of(
    step: int, speed: float | None, spec: dict[str, object], told: str
) -> None:
    numbers = {"tokenizer": "char", "preset": "default", "batch_size": 32, "window": 96}
    job = Job(
        id="1",
        kind="train",
        status="succeeded",
        created_at=datetime.now(UTC),
        spec={"budget": {"seconds": 10}, **numbers, **spec},
        progress=Progress(step=step, epoch=12.0, characters_per_second=speed),
    )
    said = short_budget_text(job)
    assert told in said
    assert bool(said) == bool(told)
