"""What the page can do, in a terminal: sessions of browsers, and what a training would take."""

import json
from pathlib import Path

import pytest

from quire.errors import ExitCode
from quire.main import run
from tests.quire.conftest import Served


def test_sessions_are_listed_and_ended(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    browser = served.world.app.test_client()
    session = browser.post("/v1/session", json={"key": served.ann.key}).json
    assert session is not None
    capsys.readouterr()
    assert run(["key", "sessions"]) == 0
    assert session["id"] in capsys.readouterr().out
    assert run(["key", "sessions", "--json"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [session["id"]]
    assert run(["key", "sign-out", session["id"]]) == 0
    assert browser.get("/v1/me").status_code == 401
    assert run(["key", "sign-out", session["id"]]) == ExitCode.NOT_FOUND
    capsys.readouterr()
    assert run(["key", "sessions"]) == 0
    assert "No browser is signed in." in capsys.readouterr().err


def test_a_dry_run_of_a_training_submits_nothing(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sea.txt"
    path.write_text("And the sea was calm, and the moon was full. " * 200)
    assert run(["train", "--corpus", str(path), "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "sea: " in shown.out
    assert "of memory" in shown.out
    assert "Place 1 in the line" in shown.out
    assert "Nothing was submitted." in shown.err
    assert served.ann.items("/v1/jobs") == []
    assert run(["train", "--corpus", "sea", "--dry-run", "--json", "--set", "units=64"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["units"] == 64
