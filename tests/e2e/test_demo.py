"""`quire demo` for real, with a short corpus and a network that learns nothing."""

import re
from pathlib import Path

import psutil
import pytest

from tests.e2e.home import TEXT, TINY, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "nietzsche.txt").write_text(TEXT)
    found = Home(tmp_path)
    # The README's command runs with the defaults that its readers have.
    del found.environment["QUIRE_WARM_MODELS"]
    return found


def processes_of(home: Home) -> list[psutil.Process]:
    """All processes whose command line or HOME names this directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home.path) in " ".join(process.cmdline()) + str(process.environ().get("HOME")):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.slow
def test_the_demo_runs_twice(home: Home) -> None:
    environment = {"QUIRE_CORPUS_DIR": str(home.path / "corpora"), "QUIRE_API_PORT": str(home.port)}

    first = home.quire("demo", *TINY, **environment).stdout
    assert f"from {home.path / 'corpora' / 'nietzsche.txt'}" in first
    assert re.search(r"step ([\d,]+) of \1 · epoch 1.0 of 1 · loss [\d.]+ · validation", first)
    for temperature in ("0.2", "0.5", "1", "1.2"):
        assert f"temperature {temperature}, seed" in first
    assert re.search(
        r"At temperature 0.5 (the text has no words|\d+% of its [1-9]\d* words occur)", first
    )
    assert str(home.path / ".quire") in first
    assert "quire generate nietzsche-demo --prompt 'The quick'" in first
    assert not processes_of(home), "a process was not stopped"
    assert (home.path / ".config" / "quire" / "client.json").stat().st_mode & 0o777 == 0o600
    logs = "".join(log.read_text() for log in (home.path / ".quire" / "logs").glob("*.log"))
    assert not re.search(r"quire_[0-9a-z]{8}_[0-9a-f]{64}", first + logs), "a key was shown"

    # With `quire up` on the same directory, the demo uses it and leaves it alone.
    home.data_dir = home.path / ".quire"
    with home.up() as up:
        second = home.quire("demo", *TINY, **environment).stdout
        assert "which runs already" in second
        assert "quire generate nietzsche-demo-2 " in second
        assert not up.ended
        assert len(home.json("corpus", "list")) == 1
        assert {model["name"] for model in home.json("models")} == {
            "nietzsche-demo",
            "nietzsche-demo-2",
        }
