"""The saved login: private, whole or not there, and never sent to another server."""

import json
import stat
from pathlib import Path

import pytest

from quire import config
from quire.errors import InvalidInput, NotLoggedIn
from shared.settings import load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("QUIRE_URL", raising=False)
    monkeypatch.delenv("QUIRE_KEY", raising=False)
    return tmp_path


def test_the_login_is_kept_for_its_owner_only(home: Path) -> None:
    path = config.save_login(load_settings(), "http://one:8420", "quire_a_b")
    assert path == home / "config" / "quire" / "client.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert config.server() == config.Server("http://one:8420", "quire_a_b")


def test_an_open_file_of_before_is_replaced_by_a_private_one(home: Path) -> None:
    path = home / "config" / "quire" / "client.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.chmod(0o644)
    config.save_login(load_settings(), "http://one:8420", "key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"url": "http://one:8420", "key": "key"}
    assert [file.name for file in path.parent.iterdir()] == ["client.json"]


def test_the_default_place_is_below_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(home))
    assert config.client_file(load_settings()) == home / ".config" / "quire" / "client.json"


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login(load_settings(), "http://one:8420", "saved")
    monkeypatch.setenv("QUIRE_KEY", "given")
    assert config.server() == config.Server("http://one:8420", "given")
    monkeypatch.setenv("QUIRE_URL", "http://two:8420")
    assert config.server() == config.Server("http://two:8420", "given")


def test_a_saved_key_is_never_sent_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    config.save_login(load_settings(), "http://one:8420", "saved")
    monkeypatch.setenv("QUIRE_URL", "http://two:8420")
    with pytest.raises(NotLoggedIn, match="no key for http://two:8420"):
        config.server()


def test_without_a_login_the_way_in_is_told() -> None:
    with pytest.raises(NotLoggedIn, match="run `quire login URL`"):
        config.server()


@pytest.mark.parametrize("content", ["", "{", '{"url": "http://one"}', "[]"])
def test_a_broken_file_is_named(content: str) -> None:
    path = config.save_login(load_settings(), "http://one:8420", "key")
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"client\.json can't be used"):
        config.server()
