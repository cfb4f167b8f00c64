"""Every error is one readable line, with an exit code that scripts can rely on."""

import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import httpx2
import pytest

from quire.client import ApiError, Client
from quire.client.problems import checked, error_of
from quire.client.replies import Problem
from quire.config import save_login
from quire.errors import ExitCode, ServerUnreachable
from quire.main import run
from shared.settings import load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("QUIRE_URL", raising=False)
    monkeypatch.delenv("QUIRE_KEY", raising=False)


@pytest.fixture
def nowhere() -> str:
    """An address without a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 2),
        (401, 4),
        (403, 4),
        (404, 3),
        (409, 2),
        (413, 2),
        (422, 2),
        (429, 2),
        (500, 5),
        (503, 5),
    ],
)
def test_the_exit_code_follows_from_the_status(status: int, code: int) -> None:
    assert error_of(status)(Problem(title="No"), status).exit_code == code


def test_a_problem_is_one_line() -> None:
    problem = Problem.model_validate(
        {
            "type": "/problems/invalid",
            "title": "Invalid request",
            "status": 422,
            "detail": "units is 7:\nit must be 8 or more",
            "errors": [
                {"field": "units", "value": 7, "message": "it must be 8 or more"},
                {"field": "layers", "value": 9, "message": "at most 4"},
            ],
        }
    )
    # A message that the detail already contains is not repeated.
    assert problem.line() == (
        "Invalid request: units is 7: it must be 8 or more; layers: at most 4"
    )


def test_a_response_of_another_server_is_recognized() -> None:
    response = httpx2.Response(404, html="<h1>nginx</h1>")
    with pytest.raises(ApiError, match=r"404 Not Found: the response is not from a Quire server"):
        checked(response)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nope"], "error: No such command 'nope'."),
        (["train"], "error: Missing option '--corpus'."),
        (["corpus", "add"], "error: Missing argument 'FILE'."),
        (["jobs", "--limit", "0"], "error: Invalid value for '--limit'"),
        (["generate", "m", "--temperature", "hot"], "error: --temperature hot: give one number"),
        (["train", "--corpus", "c", "--set", "units"], "error: --set units: write it as"),
        (["train", "--corpus", "c", "--set", "seed=1"], "error: --set seed=1: use the option"),
        (["corpus", "add", "/no/such/file"], "error: /no/such/file can't be read: no such file"),
        (
            ["corpus", "add", "-"],
            "error: standard input has no file name: give the corpus a --name",
        ),
        (["login", "127.0.0.1:8420"], "error: the address is '127.0.0.1:8420'"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert error_lines(capsys)[0].startswith(line)


def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIRE_URL", "ftp://x")
    assert run(["jobs"]) == ExitCode.USAGE
    assert error_lines(capsys)[0].startswith("error: QUIRE_URL is 'ftp://x'")


def test_without_a_login_the_code_is_not_authorised(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["whoami"]) == ExitCode.NOT_AUTHORISED
    assert error_lines(capsys) == [
        "error: no server is configured: run `quire login URL`, or set QUIRE_URL and QUIRE_KEY"
    ]


@pytest.mark.parametrize("command", [["jobs"], ["models"], ["corpus", "list"], ["devices"]])
def test_an_unreachable_server_has_its_own_code(
    command: list[str], nowhere: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_login(load_settings(), nowhere, "key")
    assert run(command) == ExitCode.UNREACHABLE
    assert error_lines(capsys) == [
        f"error: {nowhere} can't be reached: connection refused. Is the server running "
        "(`quire up`)?"
    ]


def test_a_login_is_saved_only_if_it_works(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("quire_x_y\n"))
    assert run(["login", nowhere]) == ExitCode.UNREACHABLE
    assert not (tmp_path / "quire").exists()


def test_an_invalid_address_is_reported(nowhere: str) -> None:
    with Client("http://[", "key") as client, pytest.raises(ServerUnreachable, match="be reached"):
        client.me()


def test_interruption_has_its_own_code() -> None:
    script = "import os, signal, quire.config, quire.main; quire.config.connect = (lambda: " + (
        "os.kill(os.getpid(), signal.SIGINT)); quire.main.main(['train', '--corpus', 'c'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in done.stderr


def test_help_promises_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitCode.OK
    text = " ".join(capsys.readouterr().out.split())
    for code in ExitCode:
        assert f"{int(code)} " in text
