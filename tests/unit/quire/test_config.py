"""The saved login: private, written atomically, and never sent to another server."""

import json
import stat
from pathlib import Path

import pytest

from quire import config
from quire.errors import ExitCode, InvalidInput, NotLoggedIn
from quire.main import run
from shared.settings import load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("QUIRE_URL", raising=False)
    monkeypatch.delenv("QUIRE_KEY", raising=False)
    monkeypatch.delenv("QUIRE_API_KEY", raising=False)
    return tmp_path


def test_the_login_file_is_private(home: Path) -> None:
    path = config.save_login(load_settings(), "http://one:8420", "quire_a_b")
    assert path == home / "config" / "quire" / "client.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert config.current_login() == config.Login(url="http://one:8420", key="quire_a_b")


def test_a_readable_file_is_replaced_by_a_private_one(home: Path) -> None:
    path = home / "config" / "quire" / "client.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.chmod(0o644)
    config.save_login(load_settings(), "http://one:8420", "key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "http://one:8420", "key": "key"}
    assert [file.name for file in path.parent.iterdir()] == ["client.json"]


def test_the_default_is_in_the_home_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert config.client_file(load_settings()) == home / ".config" / "quire" / "client.json"


def test_the_environment_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login(load_settings(), "http://one:8420", "saved")
    monkeypatch.setenv("QUIRE_KEY", "given")
    assert config.current_login() == config.Login(url="http://one:8420", key="given")
    monkeypatch.setenv("QUIRE_URL", "http://two:8420")
    assert config.current_login() == config.Login(url="http://two:8420", key="given")


def test_the_key_has_two_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIRE_URL", "http://one:8420")
    monkeypatch.setenv("QUIRE_API_KEY", "given")
    assert config.current_login() == config.Login(url="http://one:8420", key="given")
    monkeypatch.setenv("QUIRE_KEY", "given")
    assert config.current_login().key == "given"
    monkeypatch.setenv("QUIRE_KEY", "another")
    assert run(["jobs"]) == ExitCode.USAGE
    assert "QUIRE_KEY and QUIRE_API_KEY are both set, and differ: unset one" in (
        capsys.readouterr().err
    )


def test_the_commands_trust_the_authority_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("QUIRE_CA", str(tmp_path / "none.pem"))
    config.save_login(load_settings(), "https://one:8420", "key")
    assert run(["jobs"]) == ExitCode.USAGE
    assert "none.pem can't be used to check the server's certificate" in capsys.readouterr().err


def test_a_saved_key_is_never_sent_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login(load_settings(), "http://one:8420", "saved")
    monkeypatch.setenv("QUIRE_URL", "http://two:8420")
    with pytest.raises(NotLoggedIn, match="no key for http://two:8420"):
        config.current_login()


def test_without_a_login_the_error_says_how_to_log_in() -> None:
    with pytest.raises(NotLoggedIn, match="run `quire login URL`"):
        config.current_login()


@pytest.mark.parametrize("content", ["", "{", '{"url": "http://one"}', "[]"])
def test_a_broken_file_is_named(content: str) -> None:
    path = config.save_login(load_settings(), "http://one:8420", "key")
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"client\.json can't be used"):
        config.current_login()
