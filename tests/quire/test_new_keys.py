"""A new key is shown on a terminal alone. Elsewhere, as in a container's log, it is in a file."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quire.commands.server.up import offer_login
from quire.main import run
from shared.settings import load_settings
from tests.api.harness import Person
from tests.quire.conftest import Served

KEY = re.compile(r"quire_[0-9a-z]{8}_[0-9a-f]{64}")
ADD = (sys.executable, "-m", "quire", "user", "add", "ada", "--role", "admin", "--local")


@pytest.fixture
def environment(settings_env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**settings_env, "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "80"}


def test_a_pipe_gets_the_name_of_a_private_file(environment: dict[str, str]) -> None:
    added = subprocess.run(ADD, env=environment, capture_output=True, text=True, check=False)
    assert added.returncode == 0, added.stderr
    assert not KEY.search(added.stdout + added.stderr)
    path = Path(added.stdout.strip())
    assert KEY.fullmatch(path.read_text().strip())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_terminal_shows_the_key(environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    added = subprocess.Popen(ADD, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux ends a terminal whose programs have exited with EIO
        pass
    os.close(ours)
    assert added.wait(60) == 0, shown
    assert KEY.search(shown.decode())
    assert list(tmp_path.rglob("keys")) == []


def test_json_holds_the_key_for_a_script(environment: dict[str, str]) -> None:
    added = subprocess.run(
        (*ADD, "--json"), env=environment, capture_output=True, text=True, check=True
    )
    assert KEY.fullmatch(json.loads(added.stdout)["key"])


def test_a_file_that_cannot_be_written_is_named(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "quire").write_text("in the way")
    added = subprocess.run(ADD, env=environment, capture_output=True, text=True, check=False)
    assert added.returncode == 2
    assert "XDG_CONFIG_HOME" in added.stderr
    assert not KEY.search(added.stderr)


def test_keys_of_a_running_server_are_saved_too(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIRE_KEY", served.world.person("root", "admin").key)
    for command in (["user", "add", "bea"], ["key", "add", "--user", "bea"]):
        assert run(command) == 0
        captured = capsys.readouterr()
        assert not KEY.search(captured.out + captured.err)
        key = Path(captured.out.strip()).read_text().strip()
        reply = Person(served.world.app.test_client(), "", key).get("/v1/me")
        assert reply.json["name"] == "bea"


def test_up_says_how_to_log_in_if_another_login_is_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("QUIRE_URL", "http://elsewhere")
    key = f"quire_0123abcd_{'0' * 64}"
    offer_login(load_settings(), "http://127.0.0.1:8420", key)
    shown = capsys.readouterr().out
    assert not KEY.search(shown)
    assert "quire login http://127.0.0.1:8420" in shown
