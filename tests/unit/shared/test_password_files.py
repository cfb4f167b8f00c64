"""A password in a file of its own becomes part of its server's URL, and is never shown."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from shared.settings import SettingsError, load_settings, variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("hunter2/@:é\n")
    return path


def test_the_password_is_inserted(monkeypatch: pytest.MonkeyPatch, password_file: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://quire@postgres:5432/quire?sslmode=require")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(password_file))
    monkeypatch.setenv("REDIS_URL", "redis://redis:6379/0")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(password_file))
    settings = load_settings()
    url = make_url(settings.database)
    assert (url.username, url.password, url.host) == ("quire", "hunter2/@:é", "postgres")
    assert url.query == {"sslmode": "require"}
    assert settings.broker == "redis://:hunter2%2F%40%3A%C3%A9@redis:6379/0"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("server", "url", "told"),
    [
        ("DATABASE", None, "DATABASE_URL names no server"),
        ("DATABASE", "sqlite:////x/quire.db", "DATABASE_URL names no server"),
        ("DATABASE", "postgresql://quire:other@h/quire", "DATABASE_URL has a password"),
        ("REDIS", None, "REDIS_URL names no server"),
        ("REDIS", "redis://:other@h", "REDIS_URL has a password"),
    ],
)
def test_a_url_that_takes_no_password_is_named(
    monkeypatch: pytest.MonkeyPatch, password_file: Path, server: str, url: str | None, told: str
) -> None:
    monkeypatch.setenv(f"{server}_PASSWORD_FILE", str(password_file))
    if url is not None:
        monkeypatch.setenv(f"{server}_URL", url)
    with pytest.raises(SettingsError, match=told) as error:
        load_settings()
    assert f"{server}_PASSWORD_FILE" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "other" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"\n", "empty"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_holds_no_password_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REDIS_URL", "redis://redis")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(path))
    with pytest.raises(SettingsError, match=told) as error:
        load_settings()
    assert f"REDIS_PASSWORD_FILE is '{path}'" in str(error.value)
