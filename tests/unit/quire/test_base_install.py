"""The base install: the client works, and server commands say how to install the server."""

import subprocess
import sys
from pathlib import Path

import pytest

from quire.errors import ExitCode
from quire.main import run

ROOT = Path(__file__).parents[3]
SERVER_ONLY = {"sqlalchemy", "alembic", "celery", "kombu", "redis", "flask", "tensorflow", "numpy"}


def test_the_command_imports_no_server_package() -> None:
    script = "import sys, quire.main; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert SERVER_ONLY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [["up"], ["demo"], ["api"], ["worker"], ["migrate"], ["user", "add", "a", "--local"]],
)
def test_server_commands_say_how_to_install_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)  # as if it were not installed
    assert run(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert "Install them in a checkout of Quire: pip install '.[server]'" in captured.err
    assert captured.out == ""
