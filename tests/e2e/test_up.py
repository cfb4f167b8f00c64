"""`quire up` for real: train, generate, kill parts, stop, and start again with the same data."""

import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.home import STOP_SECONDS, TEXT, TINY, Home, Up, is_running, wait_until

KEY = r"quire_[0-9a-z]{8}_[0-9a-f]{64}"
#: Options of a training that never ends by itself.
LONG = ["--epochs", "10000", "--set", "patience=null", *TINY[2:]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "fox.txt").write_text(TEXT)
    return Home(tmp_path)


@pytest.mark.slow
def test_the_life_of_a_server(home: Home) -> None:
    with home.up() as up:
        assert not re.search(KEY, up.output), "the key stays out of a log"
        [path] = re.findall(r"The admin key is in (\S+)", up.output)
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert re.fullmatch(KEY, Path(path).read_text().strip())
        [link] = re.findall(r"signed in as an admin, .* it is in (\S+)", up.output)
        assert Path(link).stat().st_mode & 0o777 == 0o600
        address = rf"http://127.0.0.1:{home.port}/sign-in#\S{{43}}\n"
        assert re.fullmatch(address, Path(link).read_text())
        login = home.path / ".config" / "quire" / "client.json"
        assert login.stat().st_mode & 0o777 == 0o600
        assert home.json("whoami")["role"] == "admin"
        assert {device["lane"] for device in home.json("devices")} == {"train", "generate"}

        check_train_and_generate(home)
        check_refusals(home, up)
        check_restart(home, up)

        family = up.family()
        assert up.interrupt() == 0
        assert not [process for process in family if is_running(process)], "a process is left"

    with home.up() as up:
        assert "admin key" not in up.output
        assert [corpus["name"] for corpus in home.json("corpus", "list")] == ["fox"]
        assert [model["name"] for model in home.json("models")] == ["reynard"]
        # Four samples of the training, one at each temperature, and two generated texts.
        assert len(home.json("texts")) == 4 + 2
        assert {job["status"] for job in home.json("jobs")} == {"succeeded", "cancelled"}
        again = home.json("generate", "reynard", "--length", "30", "--seed", "7", "-n", "2")
        assert [text["text"] for text in again["texts"]] == home.first_texts
        check_kill(home, up)


def check_train_and_generate(home: Home) -> None:
    """Train on a file, generate texts, and run the commands that show both."""
    fox = str(home.path / "fox.txt")
    trained = home.json("train", "--corpus", fox, "--name", "reynard", *TINY, "--wait")
    assert trained["status"] == "succeeded"
    assert trained["progress"]["step"] == trained["progress"]["steps_total"]

    written = home.json("generate", "reynard", "--length", "30", "--seed", "7", "-n", "2")
    home.first_texts = [text["text"] for text in written["texts"]]
    assert [len(text) for text in home.first_texts] == [30, 30]

    plain = home.quire("job", "show", written["id"]).stdout
    assert "succeeded" in plain
    checkpoints = home.json("checkpoints", "reynard")
    assert checkpoints
    target = home.path / "weights.safetensors"
    home.quire("checkpoint", "download", "reynard", "-o", str(target))
    assert target.stat().st_size > 1000
    home.quire("job", "wait", trained["id"])

    # The same file again is the same corpus.
    job = home.quire("train", "--corpus", fox, "--name", "other", *LONG, "--no-wait")
    other = job.stdout.strip()
    home.quire("job", "cancel", other)
    home.quire("job", "wait", other, code=1)
    assert len(home.json("corpus", "list")) == 1
    home.quire("model", "rm", "other")


def check_refusals(home: Home, up: Up) -> None:
    """Check exit codes, and that each error is one readable line."""
    for code, arguments in (
        (3, ("generate", "nobody")),
        (3, ("job", "show", "019ab0c4-0000-7000-8000-000000000000")),
        (2, ("train", "--corpus", "fox", "--set", "units=1")),
        (2, ("train", "--corpus", "fox", "--set", "unitz=64")),
        (2, ("generate", "reynard", "--prompt", "\N{SNOWMAN}")),
        (2, ("corpus", "rm", "fox")),
        (4, ("login", f"http://127.0.0.1:{home.port}")),
    ):
        lines = home.quire(*arguments, code=code, stdin="quire_nope_nope\n").stderr.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
    second = home.quire("up", "--data-dir", str(home.data_dir), code=2)
    assert f"process {up.process.pid}" in second.stderr
    elsewhere = str(home.path / "elsewhere")
    taken = home.quire("up", "--data-dir", elsewhere, "--port", str(home.port), code=5)
    assert "another --port" in taken.stderr


def check_restart(home: Home, up: Up) -> None:
    """Kill the API: it is restarted."""
    api = up.child("api")
    api.send_signal(signal.SIGKILL)
    wait_until(lambda: "signal SIGKILL; restarting" in up.output, 20)
    wait_until(lambda: "restarted as process" in up.output, 60)
    assert up.child("api").pid != api.pid
    assert home.json("whoami")["name"] == "admin"


def check_kill(home: Home, up: Up) -> None:
    """Kill `quire up` itself: its parts end, and another `quire up` can start."""
    family = up.family()
    up.process.kill()
    up.process.wait()
    psutil.wait_procs(family, timeout=STOP_SECONDS)
    assert not [process for process in family if is_running(process)]
    with home.up():
        assert home.json("whoami")["name"] == "admin"
